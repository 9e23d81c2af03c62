package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"usher.example/bench/peers"
	"usher.example/bench/scenario"
)

// newListCommand is `bench list`.
func newListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "say which targets there are, and which scenarios",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "TARGET\tVERSION\tNOTE")
			for _, p := range peers.All() {
				version, err := p.Version()
				if err != nil {
					version = err.Error()
				}
				fmt.Fprintf(w, "%s\t%s\t%s\n", p.Name, version, p.Note)
			}
			if err := w.Flush(); err != nil { // the tables' columns have nothing in common
				return err
			}
			fmt.Fprintln(w, "\nSCENARIO\tCOURSE\tTIMES\tWHAT")
			for _, c := range scenario.Catalogue(scenario.Default()) {
				for _, part := range c.Parts {
					doc := part.Doc
					if c.Named {
						doc += " (only when named)"
					}
					fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", part.Name, c.Name, c.Repetitions, doc)
				}
			}
			return w.Flush()
		},
	}
}
