package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
	"usher.example/cluster"
)

func backendCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "backend",
		Short: "see the back ends, and take them out of service and back",
		Long: `backend has the commands about back ends, as the whole fleet sees them. What they
set holds on all nodes and over restarts, until it is set again.`,
	}
	c.AddCommand(
		backendList(),
		backendState("drain", "drain", "let a back end keep its users and get no new ones",
			`drain has a back end get no new users. Those who are live there stay until their last
session has ended and retention is over; then they go elsewhere.`),
		backendState("evacuate", "evacuate", "move a back end's users away, bit by bit",
			`evacuate is drain, and the users who are live on the back end are moved away too, a few
at a time, so that the others are not run over: their mail clients connect again.`),
		backendState("active", "activate", "let a back end get users again",
			`activate takes drain, evacuate or down back. Users whose home the back end is come back
when their last session elsewhere has ended.`),
		backendState("down", "down", "take a back end out of service at once",
			`down closes all sessions on a back end. Where storage is shared its users log in on the
others; where it is local they are refused until it is active again.`),
		backendWeight(), backendAdd(), backendRemove(),
	)
	return c
}

func backendList() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "show the back ends with their users on all nodes",
		Long: `list shows the back ends of all pools: the weight ("*" if an administrator has set it);
ADMIN, what an administrator wants; HEALTH, what most nodes see; STATE, which comes of
both and holds for new users, with "..." while nodes are brought in line with it; the
users that are live on all nodes and their sessions; where it is defined, in the file or
by command; since when it is so, and by whom. Below stands what is wrong with those that
were added by command.
Nodes whose users are not counted are named on standard error.` + exitText,
		Example: "  usher backend list",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := adminOf(cmd)
			if err != nil {
				return err
			}
			var all admin.Backends
			if err := client.get(cmd.Context(), admin.BackendsPath, nil, &all); err != nil {
				return err
			}
			warnMissing(cmd, all.Missing)
			if asJSON {
				return printJSON(cmd.OutOrStdout(), all)
			}
			if err := printFleetBackends(cmd.OutOrStdout(), all.Backends); err != nil {
				return err
			}
			return printAdditions(cmd.OutOrStdout(), all.Additions)
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

func printFleetBackends(out io.Writer, list []cluster.FleetBackend) error {
	t := newTable(out, "POOL", "BACK END", "WEIGHT", "ADMIN", "HEALTH", "STATE", "USERS", "SESSIONS", "FROM", "SINCE", "BY")
	for _, b := range list {
		weight, health, state, since := strconv.Itoa(b.Weight), "down", cell(b.State), "-"
		if b.Override {
			weight += "*"
		}
		if b.Up {
			health = up
		}
		if b.Changing {
			state += "..."
		}
		if b.Since > 0 {
			since = moment(time.Unix(b.Since, 0))
		}
		t.row(cell(b.Pool), cell(b.Name), weight, cell(b.Admin), health, state, strconv.Itoa(b.Users), strconv.Itoa(b.Holds), cell(b.From), since, text(b.By))
	}
	return t.print()
}

func backendState(state, verb, short, long string) *cobra.Command {
	var order admin.BackendState
	var asJSON, wait bool
	waits := ""
	empties := state == "drain" || state == "evacuate"
	if empties {
		waits = `

With --wait it tells how many are left and at what rate they go, and ends when nobody is.
Interrupted, it ends with status 75, and what was ordered goes on.`
	}
	c := &cobra.Command{
		Use:   verb + " BACKEND",
		Short: short,
		Long: long + `

It returns when all nodes go by it, which takes kick_delay and more if sessions have to
be closed first.` + waits + dryText + exitText,
		Example: "  usher backend " + verb + " mail2",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			order.Backend, order.State, order.By = args[0], state, whoAmI()
			if wait && order.DryRun.DryRun {
				return usageError("--wait and --dry-run exclude each other")
			}
			if !wait {
				return giveOrPlan(cmd, admin.BackendStatePath, order, order.DryRun.DryRun, asJSON)
			}
			return emptyBackend(cmd, verb, order).order(admin.BackendStatePath, order, asJSON)
		},
	}
	poolFlag(c, &order.Pool)
	dryFlags(c, &order.DryRun, true)
	jsonFlag(c, &asJSON)
	if empties {
		c.Flags().BoolVar(&wait, "wait", false, "wait until no user is left on any node, with progress; ^C ends the wait only")
	}
	return c
}

// emptyBackend waits until a back end has no users on any node, all of which have
// answered.
func emptyBackend(cmd *cobra.Command, verb string, o admin.BackendState) *emptying {
	what := "the drain"
	if verb == "evacuate" {
		what = "the evacuation"
	}
	return &emptying{
		cmd: cmd, what: "user",
		goesOn: fmt.Sprintf("%s goes on; usher backend list shows who is left, usher backend activate %s takes it back", what, o.Backend),
		look: func(ctx context.Context) (l left, err error) {
			client, err := adminOf(cmd)
			if err != nil {
				return l, err
			}
			var all admin.Backends
			if err := client.get(ctx, admin.BackendsPath, nil, &all); err != nil {
				return l, err
			}
			state := ""
			for _, b := range all.Backends {
				if b.Name == o.Backend && (o.Pool == "" || b.Pool == o.Pool) {
					l.users += b.Users
					l.sessions += b.Holds
					if b.State != "removed" {
						state = b.Admin
					}
				}
			}
			if state == "active" {
				return l, &exitError{exitTemporary, fmt.Errorf("back end %q is active again: somebody has taken the order back", o.Backend)}
			}
			if len(all.Missing) > 0 {
				l.unheard = all.Missing[0]
			}
			return l, nil
		},
	}
}

func backendWeight() *cobra.Command {
	var order admin.Weight
	var asJSON bool
	c := &cobra.Command{
		Use:   "weight BACKEND (NUMBER | config)",
		Short: "set how many users a back end gets",
		Long: `weight sets a back end's share of users, in relation to the weights of the others. 0 is
none. It comes before the weight of the configuration, until "config" takes it back.
Only users whose home changes are moved, each when his last session has ended.` + dryText + exitText,
		Example: "  usher backend weight mail2 50\n  usher backend weight mail2 config",
		Args:    usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			n := -1
			if args[1] != "config" {
				var err error
				if n, err = strconv.Atoi(args[1]); err != nil || n < 0 {
					return usageError("weight %q: want a number from 0, or \"config\"", args[1])
				}
			}
			order.Backend, order.Weight, order.By = args[0], &n, whoAmI()
			return giveOrPlan(cmd, admin.WeightPath, order, order.DryRun.DryRun, asJSON)
		},
	}
	dryFlags(c, &order.DryRun, true)
	poolFlag(c, &order.Pool)
	jsonFlag(c, &asJSON)
	return c
}
