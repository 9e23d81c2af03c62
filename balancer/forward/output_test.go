package forward

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// outputs is of how many descriptors a loop hears when they take output, by what the kernel says.
func outputs(t *testing.T, l *loop) (n int) {
	t.Helper()
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", l.ep))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(info)) {
		f := strings.Fields(line) // tfd: N events: HEX …
		if len(f) < 4 || f[0] != "tfd:" {
			continue
		}
		mask, err := strconv.ParseUint(f[3], 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		if mask&unix.EPOLLOUT != 0 {
			n++
		}
	}
	return n
}

// TestOutputIsHeardOfOnceFull holds that a loop asks for events of room for output only after there
// was none, and then misses none.
func TestOutputIsHeardOfOnceFull(t *testing.T) {
	t.Parallel()
	const size = 32 << 20
	r, _ := runReactor(t)
	l := r.loops[0]
	for _, tls := range []bool{false, true} {
		s := start(t, r, tls, false, "hello", "")
		if _, err := io.ReadFull(s.client, make([]byte, len("hello"))); err != nil {
			t.Fatal(err)
		}
		if n := outputs(t, l); n != 0 {
			t.Errorf("events of output of %d descriptors, none of which was full", n)
		}
		wrote := make(chan error, 1)
		go func() {
			_, err := s.server.Write(make([]byte, size))
			wrote <- err
		}()
		await(t, "the client's side is full", func() bool { return outputs(t, l) == 1 })
		if _, err := io.CopyN(io.Discard, s.client, size); err != nil {
			t.Errorf("with TLS %t: %v", tls, err)
		}
		if err := <-wrote; err != nil {
			t.Error(err)
		}
		s.flow.Kill()
		s.result(t)
	}
}
