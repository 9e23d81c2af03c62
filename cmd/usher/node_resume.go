package main

import (
	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
)

func nodeResume() *cobra.Command {
	order := admin.NodeDrain{Undo: true}
	var asJSON bool
	c := &cobra.Command{
		Use:   "resume NODE",
		Short: "have clients sent to a node again",
		Long: `resume takes the drain of a node back: its /readyz says again that it takes clients. The
same is usher node drain NODE --undo. A restart of the node does it too.` + dryText + exitText,
		Example: "  usher node resume usher2",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			order.Node = args[0]
			return giveOrPlan(cmd, admin.NodeDrainPath, order, order.DryRun, asJSON)
		},
	}
	c.Flags().BoolVar(&order.DryRun, "dry-run", false, "say what would be done, and do nothing")
	jsonFlag(c, &asJSON)
	return c
}
