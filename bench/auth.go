package main

import (
	"github.com/spf13/cobra"

	"usher.example/bench/peers"
)

// newAuthCommand is the server that nginx's mail module asks about users, as a
// process of its own, so that its cost is told apart from nginx's. Hidden: a run
// starts it.
func newAuthCommand() *cobra.Command {
	auth := new(peers.Auth)
	cmd := &cobra.Command{
		Use:    "auth",
		Short:  "answer nginx where users live",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return peers.RunChild(cmd.Context(), auth, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&auth.Address, "listen", "", "address to listen on; empty lets the kernel choose a port")
	flags.StringVar(&auth.IMAP, "imap", "", "back end of IMAP, address and port")
	flags.StringVar(&auth.POP3, "pop3", "", "back end of POP3, address and port")
	return cmd
}
