package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
)

func kickCommand() *cobra.Command {
	var order admin.Kick
	var asJSON bool
	c := &cobra.Command{
		Use:   "kick (--user USER | --session ID)",
		Short: "end the sessions of a user, or one session",
		Long: `kick closes connections: all that a user has on this node, or the one with an id
that usher sessions or the log has shown. Logins on their way are ended as well.
It prints how many sessions that were.

Mail clients connect again by themselves, mostly within seconds, so this is no
way to keep somebody out: lock the account where passwords are checked first,
and then kick. A user's name may be written in any way in which he could log in.

The exit status is 0 if a session was ended, 68 if there was none, 75 if nobody
answered and a later try may help, 1 for other faults and 2 for a command line
that was not understood.`,
		Example: "  usher kick --user joe@example.org\n  usher kick --session k5x3nq2tqvw7u",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (order.User == "") == (order.Session == "") {
				return usageError("say either --user USER or --session ID; usher sessions shows both")
			}
			client, err := adminOf(cmd)
			if err != nil {
				return err
			}
			var answer admin.Kicked
			if err := client.post(cmd.Context(), admin.KickPath, order, &answer); err != nil {
				return err
			}
			return printKicked(cmd, order, answer, asJSON)
		},
	}
	c.Flags().StringVar(&order.User, "user", "", "end all sessions of this user")
	c.Flags().StringVar(&order.Session, "session", "", "end the session of this id")
	jsonFlag(c, &asJSON)
	return c
}

func printKicked(cmd *cobra.Command, order admin.Kick, answer admin.Kicked, asJSON bool) error {
	var err error
	if asJSON {
		err = printJSON(cmd.OutOrStdout(), answer)
	} else if answer.Kicked > 0 {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s ended\n", plural(answer.Kicked, "session"))
	}
	switch {
	case err != nil || answer.Kicked > 0:
		return err
	case order.User != "":
		return &exitError{exitNotFound, fmt.Errorf("user %q has no session here; usher sessions shows who has", order.User)}
	}
	return &exitError{exitNotFound, fmt.Errorf("there is no session %q; usher sessions shows those there are", order.Session)}
}
