package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
	"usher.example/cluster"
)

func nodeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "node",
		Short: "see the nodes of the fleet, drain them, forget them",
		Long:  "node has the commands about the nodes of the fleet. Any node can be asked.",
	}
	c.AddCommand(nodeList(), nodeDrain(), nodeResume(), nodeForget())
	return c
}

func nodeList() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "show the nodes with their users and sessions",
		Long: `list shows the nodes: the role (voter, witness or member); the state, which is alive or
absent as this node sees it, and drained for one that should get no new clients;
whether it leads; whether the others wait for it when users are moved (COUNTED); and
its users and sessions. Nodes that did not answer are named on standard error.` + exitText,
		Example: "  usher node list",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := askNodes(cmd.Context(), cmd)
			if err != nil {
				return err
			}
			warnMissing(cmd, all.Missing)
			if asJSON {
				return printJSON(cmd.OutOrStdout(), all)
			}
			return printNodes(cmd.OutOrStdout(), all.Nodes)
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

func askNodes(ctx context.Context, cmd *cobra.Command) (*admin.Nodes, error) {
	client, err := adminOf(cmd)
	if err != nil {
		return nil, err
	}
	var all admin.Nodes
	return &all, client.get(ctx, admin.NodesPath, nil, &all)
}

func printNodes(out io.Writer, nodes []cluster.FleetNode) error {
	t := newTable(out, "NODE", "ADDRESS", "ROLE", "STATE", "LEADS", "COUNTED", "USERS", "SESSIONS")
	yes := map[bool]string{true: "yes", false: "-"}
	for _, n := range nodes {
		state, users, holds := n.State, "-", "-"
		if n.Drained {
			state = "drained"
		}
		if n.Answered {
			users, holds = strconv.Itoa(n.Users), strconv.Itoa(n.Holds)
		}
		t.row(cell(n.Node), cell(n.Address), cell(n.Role), cell(state), yes[n.Leads], yes[n.Counted], users, holds)
	}
	return t.print()
}

func nodeDrain() *cobra.Command {
	var order admin.NodeDrain
	var wait, asJSON bool
	c := &cobra.Command{
		Use:   "drain NODE",
		Short: "have no new clients sent to a node",
		Long: `drain has a node say on /readyz that it is not ready, so that whoever spreads clients
over the nodes (keepalived, a balancer, DNS checks) sends it no new ones. Its sessions
go on, and clients that come nevertheless are served. It lasts until usher node resume
(the same as --undo) or a restart of that node. To stop a node, stop its service: that drains as well.

--wait waits until the node has no session left, and tells how many there are and at what
rate they end. Interrupted, it ends with status 75, and the drain goes on.` + dryText + exitText,
		Example: "  usher node drain usher2 --wait && ssh usher2 apt upgrade usher",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			order.Node = args[0]
			if wait && order.Undo {
				return usageError("--wait and --undo exclude each other")
			}
			if wait && order.DryRun {
				return usageError("--wait and --dry-run exclude each other")
			}
			if !wait {
				return giveOrPlan(cmd, admin.NodeDrainPath, order, order.DryRun, asJSON)
			}
			return emptyNode(cmd, order.Node).order(admin.NodeDrainPath, order, asJSON)
		},
	}
	c.Flags().BoolVar(&order.Undo, "undo", false, "let the node get clients again")
	c.Flags().BoolVar(&order.DryRun, "dry-run", false, "say what would be done, and do nothing")
	c.Flags().BoolVar(&wait, "wait", false, "wait until the node has no session left, with progress; ^C ends the wait only")
	jsonFlag(c, &asJSON)
	return c
}

// emptyNode waits until a node has no sessions.
func emptyNode(cmd *cobra.Command, name string) *emptying {
	return &emptying{
		cmd: cmd, what: "session",
		goesOn: fmt.Sprintf("the drain goes on; usher node list shows how many sessions are left, usher node resume %s takes it back", name),
		look: func(ctx context.Context) (l left, err error) {
			all, err := askNodes(ctx, cmd)
			if err != nil {
				return l, err
			}
			for _, n := range all.Nodes {
				switch {
				case n.Node != name:
				case !n.Answered && n.State == "alive":
					return left{unheard: "node " + name + " does not answer"}, nil
				case !n.Answered:
					return l, &exitError{exitTemporary, fmt.Errorf("node %q cannot be seen any more: it was stopped, or this node does not reach it", name)}
				case !n.Drained:
					return l, &exitError{exitTemporary, fmt.Errorf("node %q is drained no more: it was restarted, or somebody has undone it", name)}
				default:
					return left{users: n.Users, sessions: n.Holds}, nil
				}
			}
			return l, &exitError{exitNotFound, fmt.Errorf("node %q is not in the list any more", name)}
		},
	}
}

func nodeForget() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "forget NODE",
		Short: "take a node out of the fleet that is gone for good",
		Long: `forget takes a node out of the fleet's table. It has to be stopped, and for half a
minute, since its leases have to end first. One that is started again comes back. A
node that votes also has to be taken out of voters, on all nodes.` + exitText,
		Example: "  usher node forget usher4",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return give(cmd, admin.NodeForgetPath, admin.NodeForget{Node: args[0]}, asJSON)
		},
	}
	jsonFlag(c, &asJSON)
	return c
}
