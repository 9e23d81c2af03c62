package main

import (
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"usher.example/balancer"
	"usher.example/balancer/admin"
)

func sessionsCommand() *cobra.Command {
	var user string
	var asJSON bool
	var fleet sought
	c := &cobra.Command{
		Use:   "sessions",
		Short: "show who is connected",
		Long: `sessions lists the connections of this node, oldest first: the session's id, which
is also in the log and which usher kick takes; the user; the protocol; the
client's address; the version of TLS ("proxy" if a trusted proxy has taken it
off); the back end; the phase, which is "forward" once he is logged in; the age
and the time without data from the client; and the octets from and to the client.

With --user only the sessions of one user are listed. His name may be written in
any way in which he could log in.

With --all-nodes all nodes of the fleet are asked, and the first 100 of all are shown, the
oldest first: --top says how many, --by what makes them the first. --pool, --backend,
--node and --older choose among those of all nodes. However many there are, no node keeps
more in memory for it than are shown. Nodes that do not answer are named on standard error.

Names that are not plain text are quoted, and cut when they are long; --json has
them whole, and more columns.

The exit status is 0 if usher answered, also with no session, 75 if nobody
answered and a later try may help, 1 for other faults and 2 for a command line
that was not understood.`,
		Example: "  usher sessions --all-nodes --backend mail2 --older 1h --top 20\n  usher sessions --user joe@example.org\n  usher sessions --json | jq '.sessions | group_by(.backend) | map({(.[0].backend): length}) | add'",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := adminOf(cmd)
			if err != nil {
				return err
			}
			query := url.Values{}
			if cmd.Flags().Changed("user") {
				if user == "" {
					return usageError("--user is empty; leave it out to see everybody")
				}
				query.Set("user", user)
			}
			if fleet.wanted(cmd) {
				fleet.user = user
				return fleet.show(cmd, client, asJSON)
			}
			var answer admin.Sessions
			if err := client.get(cmd.Context(), admin.SessionsPath, query, &answer); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), answer)
			}
			return printSessions(cmd.OutOrStdout(), answer.Sessions, time.Now())
		},
	}
	c.Flags().StringVar(&user, "user", "", "only the sessions of this user")
	fleet.flags(c)
	jsonFlag(c, &asJSON)
	return c
}

func printSessions(out io.Writer, sessions []balancer.SessionInfo, now time.Time) error {
	if len(sessions) == 0 {
		_, err := fmt.Fprintln(out, "no sessions")
		return err
	}
	t := newTable(out, "SESSION", "USER", "PROTO", "CLIENT", "TLS", "BACK END", "PHASE", "AGE", "IDLE", "IN", "OUT")
	for _, s := range sessions {
		t.row(cell(s.ID), cell(s.User), cell(s.Protocol), cell(s.Client), cell(s.TLS), cell(s.Backend),
			cell(string(s.Phase)), age(now.Sub(s.Since)), age(seconds(s.Idle)), size(s.BytesIn), size(s.BytesOut))
	}
	if err := t.print(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%s\n", plural(len(sessions), "session"))
	return err
}
