package main

import (
	"github.com/spf13/cobra"

	"usher.example/bench/peers"
)

// newNaiveCommand is the proxy that anybody would write in Go, as a process of its
// own: a reference of what Go costs, no peer. Hidden: a run starts it.
func newNaiveCommand() *cobra.Command {
	naive := new(peers.Naive)
	cmd := &cobra.Command{
		Use:    "naive",
		Short:  "run the naive proxy in Go",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return peers.RunChild(cmd.Context(), naive, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	naive.Flags(cmd.Flags().StringVar)
	return cmd
}
