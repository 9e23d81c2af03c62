// Command usher is a load balancer that knows mail: it terminates TLS, reads
// the login, and shows every user to his own back end.
//
// Laws: main does nothing but run the command tree; wire.go is the only file
// that knows every package; errors are printed once, here, and say what to do
// next where that is known.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
)

func main() {
	runtime.MemProfileRate = 0 // nobody reads that profile, whose tables take 1.4 MB
	err := newRoot().ExecuteContext(context.Background())
	if err == nil {
		return
	}
	code := exitFailed
	var exit *exitError
	if errors.As(err, &exit) {
		code = exit.code
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(os.Stderr, "usher:", lines(text))
	}
	os.Exit(code)
}
