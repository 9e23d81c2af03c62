package main

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
	"usher.example/cluster"
)

// exitText ends the help of the commands that steer a fleet.
const exitText = `

The exit status is 0 if it is done, 75 if it could not be done now and a later try
may help (nobody answered, no quorum, the user is being moved), 68 if there is no
such pool, back end or node, 1 for other faults and 2 for a command line that was
not understood.`

func userCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "user",
		Short: "see where users are, move them, pin them, end their sessions",
		Long: `user has the commands about single users. A name may be written in any way in which
the user could log in. They ask one node and act on the whole fleet.`,
	}
	c.AddCommand(userWhere(), userList(), userKick(), userMove(), userPin(), userUnpin())
	return c
}

func poolFlag(c *cobra.Command, pool *string) {
	c.Flags().StringVar(pool, "pool", "", "the pool, where there are several")
}

// whoAmI is told to others as who gave an order.
func whoAmI() string {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

func userWhere() *cobra.Command {
	var pool string
	var asJSON bool
	c := &cobra.Command{
		Use:   "where USER...",
		Short: "show where a user's next login would go, and why",
		Long: `where shows for each user where a login would go now, and why: "stay", as he is live
there; "pin", as an administrator wants it; "home", by the hash of his name. PIN,
HOME and LIVE ON are what each of these says. It changes nothing, and it also
answers for users whom nobody knows.` + exitText,
		Example: "  usher user where joe@example.org",
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, users []string) error {
			client, err := adminOf(cmd)
			if err != nil {
				return err
			}
			list := make([]cluster.Whereabouts, len(users))
			for i, u := range users {
				if err := client.where(cmd, pool, u, &list[i]); err != nil {
					return err
				}
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), list)
			}
			t := newTable(cmd.OutOrStdout(), "USER", "POOL", "BACK END", "WHY", "PIN", "HOME", "LIVE ON", "NOTE")
			for _, w := range list {
				t.row(cell(w.User), cell(w.Pool), cell(w.Place), cell(w.Why), cell(w.Pin), cell(w.Home), cell(w.Stay), text(w.Error))
			}
			return t.print()
		},
	}
	poolFlag(c, &pool)
	jsonFlag(c, &asJSON)
	return c
}

func (c *adminClient) where(cmd *cobra.Command, pool, name string, w *cluster.Whereabouts) error {
	q := url.Values{"user": {name}}
	if pool != "" {
		q.Set("pool", pool)
	}
	return c.get(cmd.Context(), admin.UserPath, q, w)
}

func userList() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list USER...",
		Short: "show the sessions of users on all nodes",
		Long: `list shows where users are connected, on all nodes of the fleet, with columns as
usher sessions has them. Nodes that do not answer are named on standard error.

The exit status is 67 if none of the users has a session; else it is as for the
other commands: 0 done, 75 nobody answered, 1 other faults, 2 usage.`,
		Example: "  usher user list joe@example.org",
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, users []string) error {
			client, err := adminOf(cmd)
			if err != nil {
				return err
			}
			all := admin.UserSessions{Sessions: []admin.FleetSession{}, Missing: []string{}}
			for _, u := range users {
				var one admin.UserSessions
				if err := client.get(cmd.Context(), admin.UserSessionsPath, url.Values{"user": {u}}, &one); err != nil {
					return err
				}
				all.Sessions = append(all.Sessions, one.Sessions...)
				all.Missing = one.Missing
			}
			warnMissing(cmd, all.Missing)
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), all)
			} else if len(all.Sessions) > 0 {
				err = printUserSessions(cmd.OutOrStdout(), all.Sessions, time.Now())
			}
			if err == nil && len(all.Sessions) == 0 {
				err = &exitError{exitNoUser, fmt.Errorf("no session of %s; usher user where shows where a login would go", strings.Join(users, ", "))}
			}
			return err
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

func printUserSessions(out io.Writer, sessions []admin.FleetSession, now time.Time) error {
	t := newTable(out, "NODE", "SESSION", "USER", "PROTO", "CLIENT", "BACK END", "PHASE", "AGE", "IDLE")
	for _, s := range sessions {
		t.row(cell(s.Node), cell(s.ID), cell(s.User), cell(s.Protocol), cell(s.Client), cell(s.Backend),
			cell(string(s.Phase)), age(now.Sub(s.Since)), age(seconds(s.Idle)))
	}
	return t.print()
}

// warnMissing tells of nodes that are not in an answer.
func warnMissing(cmd *cobra.Command, missing []string) {
	for _, m := range missing {
		fmt.Fprintln(cmd.ErrOrStderr(), "usher: not in the answer:", safe(m))
	}
}

func userKick() *cobra.Command {
	var asJSON, dry bool
	c := &cobra.Command{
		Use:   "kick USER...",
		Short: "end the sessions of users on all nodes",
		Long: `kick ends all sessions that users have, on all nodes of the fleet, and prints how
many that were. Mail clients connect again by themselves: to keep somebody out, lock
the account where passwords are checked first.

The exit status is 0 if a session was ended, 67 if there was none, and 75 if a node
did not answer, where the user may still be connected.` + dryText,
		Example: "  usher user kick joe@example.org",
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, users []string) error {
			client, err := adminOf(cmd)
			if err != nil {
				return err
			}
			for _, u := range users {
				if !dry {
					break
				}
				if err := giveOrPlan(cmd, admin.UserKickPath, admin.UserKick{User: u, DryRun: true}, true, asJSON); err != nil {
					return err
				}
			}
			if dry {
				return nil
			}
			all := admin.UserKicked{Missing: []string{}}
			for _, u := range users {
				var one admin.UserKicked
				if err := client.post(cmd.Context(), admin.UserKickPath, admin.UserKick{User: u}, &one); err != nil {
					return err
				}
				all.Kicked += one.Kicked
				all.Missing = one.Missing
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), all)
			} else if all.Kicked > 0 {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s ended\n", plural(all.Kicked, "session"))
			}
			switch {
			case err != nil:
				return err
			case len(all.Missing) > 0:
				return &exitError{exitTemporary, fmt.Errorf("not every node answered, and there he may still be connected: %s; try again", safe(strings.Join(all.Missing, "; ")))}
			case all.Kicked == 0:
				return &exitError{exitNoUser, fmt.Errorf("no session of %s", strings.Join(users, ", "))}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "say what would be done, and do nothing")
	jsonFlag(c, &asJSON)
	return c
}
