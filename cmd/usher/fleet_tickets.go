package main

import (
	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
)

func fleetTickets() *cobra.Command {
	var order admin.Tickets
	var asJSON bool
	c := &cobra.Command{
		Use:   "rotate-tickets",
		Short: "make new keys of TLS session tickets at once",
		Long: `rotate-tickets makes two new keys of session tickets: one that all nodes use from now on,
and the next one. Without it the leader does so every twelve hours, and there is no need
to. By a session ticket a client that comes again saves a part of the handshake, at any
node.

What was sealed with the keys before is still accepted, for a day at most: clients notice
nothing. With --drop it is not: that is for when keys may have leaked, as with an image of
a node's memory, or with a state directory and the secret together; exchange the secret
as well then, with usher fleet secret --rotate. All clients do a full handshake at their
next connection, and sessions go on. A node that the fleet does not reach follows when it
is back; stop it, if that is too late.` + exitText,
		Example: "  usher fleet rotate-tickets\n  usher fleet rotate-tickets --drop",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return give(cmd, admin.TicketsPath, order, asJSON)
		},
	}
	c.Flags().BoolVar(&order.Drop, "drop", false, "accept nothing that was sealed with the keys before")
	jsonFlag(c, &asJSON)
	return c
}
