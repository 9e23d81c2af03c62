// Command bench measures usher beside its peers: the same load, on the same
// machine, in one run. README.md says how.
//
// Laws: main does nothing but run the command tree, which has one file for each
// command; the benchmark uses usher as everybody does, by its program and its
// configuration, and imports none of its packages; errors are printed once,
// here, and say what to do next where that is known.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes. A figure that got worse has its own, so that a pipeline can tell
// it from a benchmark that did not work.
const (
	exitWorse  = 1
	exitFailed = 2
)

// commands are what this program can do; each has its own file.
var commands = []func() *cobra.Command{
	newCompareCommand,
	newAuthCommand,
	newListCommand,
	newNaiveCommand,
	newReportCommand,
	newRunCommand,
	newSinkCommand,
}

// errWorse ends `bench compare --worse` when something got worse by more than
// was allowed.
var errWorse = errors.New("worse than allowed")

func main() {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it, who wants a run to outlive his terminal
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	err := newRoot().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	os.Exit(exitCode(err))
}

// exitCode is what an error ends the program with.
func exitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errWorse):
		return exitWorse
	default:
		return exitFailed
	}
}

// newRoot is the command tree.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "bench",
		Short:         "measure usher beside its peers",
		Args:          cobra.NoArgs,
		SilenceErrors: true, // printed once, by main
		SilenceUsage:  true,
	}
	for _, command := range commands {
		root.AddCommand(command())
	}
	return root
}
