package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"usher.example/cmd/internal/demo"
)

const (
	// demoTries bounds the starts that find a port taken which was free a
	// moment ago.
	demoTries = 3
	// demoTail is how much of usher's log is shown when a step failed.
	demoTail = 4 << 10
)

func demoCommand() *cobra.Command {
	var o demoOptions
	c := &cobra.Command{
		Use:   "demo",
		Short: "show usher at work on this machine",
		Long: "demo starts three small IMAP servers and a fleet of three ushers in front of them, logs a dozen\n" +
			"users in, kills an usher, moves a user, drains a server, stops another, and shows who landed\n" +
			"where. It needs no root, no network and no files but those in a temporary folder, which it\n" +
			"removes. After the tour it serves until Ctrl-C, so that you can look around with the lines that\n" +
			"it prints.",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, end := untilSignal(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			defer end()
			// "demo | head" must not leave the folder behind: let the write
			// fail. Being told of the signal is no way, since it is also of
			// every socket that breaks.
			signal.Ignore(syscall.SIGPIPE)
			defer signal.Reset(syscall.SIGPIPE)
			return runDemo(ctx, o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	c.Flags().BoolVar(&o.once, "once", false, "end after the tour; the exit status is 0 only if every step held")
	c.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "usher's log on standard error rather than in a file")
	return c
}

type demoOptions struct {
	once    bool
	verbose bool
}

// runDemo makes the site, shows it, and leaves nothing behind.
func runDemo(ctx context.Context, o demoOptions, stdout, stderr io.Writer) (err error) {
	site, err := demo.Open()
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, site.Close()) }()
	log := stderr
	if !o.verbose {
		file, err := os.OpenFile(site.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		defer file.Close()
		log = file
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t := newTourOf(site, &tourWriter{to: stdout, failed: cancel}, log, o)
	defer t.leave()
	if err := t.walk(ctx); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("demo: interrupted (%w) in %w", context.Cause(ctx), err)
		}
		if !o.verbose {
			fmt.Fprintf(stderr, "The last of usher's log:\n%s\n", tail(site.LogFile()))
		}
		return fmt.Errorf("demo: %w", err)
	}
	if o.once {
		t.out.say("\nEvery step held.\n")
		return nil
	}
	t.out.say("\nEvery step held. The ushers serve until Ctrl-C.\n")
	<-ctx.Done()
	t.out.say("\nStopping, and removing %s.\n", site.Dir)
	return nil
}

// leave logs everybody out and stops the ushers that run.
func (t *tour) leave() {
	for _, l := range t.live {
		l.Cut()
	}
	t.stopAll()
}

// tail is the end of a file, in whole lines.
func tail(path string) []byte {
	text, err := os.ReadFile(path)
	if err != nil {
		return []byte(err.Error())
	}
	if len(text) > demoTail {
		text = text[len(text)-demoTail:]
		text = text[bytes.IndexByte(text, '\n')+1:]
	}
	return text
}
