package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
	"usher.example/cluster"
)

// drainTick is the time between two looks at a back end that is being emptied.
const drainTick = time.Second

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
		backendWeight(),
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
users that are live on all nodes and their sessions; since when it is so, and by whom.
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
			return printFleetBackends(cmd.OutOrStdout(), all.Backends)
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

func printFleetBackends(out io.Writer, list []cluster.FleetBackend) error {
	t := newTable(out, "POOL", "BACK END", "WEIGHT", "ADMIN", "HEALTH", "STATE", "USERS", "SESSIONS", "SINCE", "BY")
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
		t.row(cell(b.Pool), cell(b.Name), weight, cell(b.Admin), health, state, strconv.Itoa(b.Users), strconv.Itoa(b.Holds), since, text(b.By))
	}
	return t.print()
}

func backendState(state, verb, short, long string) *cobra.Command {
	var order admin.BackendState
	var asJSON, wait bool
	c := &cobra.Command{
		Use:   verb + " BACKEND",
		Short: short,
		Long: long + `

It returns when all nodes go by it, which takes kick_delay and more if sessions have to
be closed first.` + exitText,
		Example: "  usher backend " + verb + " mail2",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			order.Backend, order.State, order.By = args[0], state, whoAmI()
			if err := give(cmd, admin.BackendStatePath, order, asJSON); err != nil || !wait {
				return err
			}
			return awaitEmpty(cmd, order.Pool, order.Backend)
		},
	}
	poolFlag(c, &order.Pool)
	jsonFlag(c, &asJSON)
	if state == "drain" || state == "evacuate" {
		c.Flags().BoolVar(&wait, "wait", false, "wait until no user is left on any node; ^C ends the wait only")
	}
	return c
}

// awaitEmpty waits until a back end has no users on any node, all of which have
// answered.
func awaitEmpty(cmd *cobra.Command, pool, backend string) error {
	client, err := adminOf(cmd)
	if err != nil {
		return err
	}
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	told := ""
	for {
		var all admin.Backends
		if err := client.get(cmd.Context(), admin.BackendsPath, nil, &all); err != nil {
			return err
		}
		users, sessions := 0, 0
		for _, b := range all.Backends {
			if b.Name == backend && (pool == "" || b.Pool == pool) {
				users += b.Users
				sessions += b.Holds
			}
		}
		if users == 0 && len(all.Missing) == 0 {
			fmt.Fprintln(cmd.ErrOrStderr(), "no user is left")
			return nil
		}
		line := fmt.Sprintf("%s left, %s", plural(users, "user"), plural(sessions, "session"))
		if n := len(all.Missing); n > 0 {
			line += fmt.Sprintf("; %s did not answer: %s", plural(n, "node"), safe(all.Missing[0]))
		}
		if line != told {
			fmt.Fprintln(cmd.ErrOrStderr(), line)
			told = line
		}
		select {
		case <-tick.C:
		case <-cmd.Context().Done():
			return cmd.Context().Err()
		}
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
Only users whose home changes are moved, each when his last session has ended.` + exitText,
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
			return give(cmd, admin.WeightPath, order, asJSON)
		},
	}
	poolFlag(c, &order.Pool)
	jsonFlag(c, &asJSON)
	return c
}
