package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"usher.example/bench/sink"
)

// sinkGC is the collector's percentage in the sink: its heap is small, and what
// it spends on collecting is taken from the target on the same processors.
const sinkGC = 400

// newSinkCommand is the back end of all targets as a process of its own. It
// prints "ready" and its addresses, IMAP first, and then, for each line on its
// standard input, its counts as one line of JSON. It ends with that input.
func newSinkCommand() *cobra.Command {
	var o sink.Options
	cmd := &cobra.Command{
		Use:    "sink",
		Short:  "run the back end that the targets are measured with",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			debug.SetGCPercent(sinkGC)
			s, err := sink.Listen(o)
			if err != nil {
				return err
			}
			ctx, stop := context.WithCancel(cmd.Context())
			defer stop()
			ended := make(chan error, 1)
			go func() { ended <- s.Run(ctx) }()
			out := cmd.OutOrStdout()
			fmt.Fprintln(out, "ready", strings.Join(append(s.IMAP(), s.POP3()...), " "))
			go func() {
				defer stop()
				answerCounts(out, cmd.InOrStdin(), s)
			}()
			return <-ended
		},
	}
	cmd.Flags().StringArrayVar(&o.IMAP, "imap", nil, "address to serve IMAP on; may be repeated")
	cmd.Flags().StringArrayVar(&o.POP3, "pop3", nil, "address to serve POP3 on; may be repeated")
	cmd.Flags().BoolVar(&o.SendFile, "sendfile", false, "send messages by sendfile(2) instead of by writes")
	cmd.Flags().StringVar(&o.Wrong, "wrong", "", "a password to refuse")
	return cmd
}

// answerCounts answers each line with the sink's counts, until there are no more.
func answerCounts(out io.Writer, in io.Reader, s *sink.Server) {
	encoder := json.NewEncoder(out)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if encoder.Encode(s.Stats()) != nil {
			return
		}
	}
}
