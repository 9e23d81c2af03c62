package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
)

func userMove() *cobra.Command {
	var o bulk
	var home, asJSON bool
	c := &cobra.Command{
		Use:   "move (USER BACKEND | --home USER | --map FILE)",
		Short: "move users to another back end, and pin them there",
		Long: `move closes the sessions of a user on all nodes, waits until the last is closed and
kick_delay is over, and has his next login go to the back end, where he is pinned from
then on. In between his logins wait. Nobody is on two back ends at any time. With
--home he is not pinned: he goes where his pin or the hash says.

--map moves many: FILE has lines of a user and a back end ("-" is standard input;
empty lines and lines with # are skipped). All of the file is checked before anybody is
moved: back ends that do not exist or take nobody, and users who are there twice, also
in two spellings that are one user to the fleet. Users who are pinned there already are
skipped, so a run that was interrupted can be repeated. After two seconds, progress goes
to standard error: how many, at what rate, how long still; with --json as lines of JSON.
Who cannot be moved is passed over, and listed at the end; if nobody can be, since there
is no quorum, the run ends. With ^C it begins no more moves and waits for those under way.

--dry-run changes nothing. Of one user it shows what would be closed and where he would
go. With --map it shows for each user where he is and why, where he is to go, and what has
to be done: "move", "pin" for one who is there and not pinned, "-".

With --map the exit status is 0 if all are moved or were there, 1 if some could not be
moved or the file is not good, and 75 if not all were tried or waited for.` + exitText,
		Example: "  usher user move joe@example.org mail2\n  usher user move --map moves.txt --dry-run",
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := adminOf(cmd)
			if err != nil {
				return err
			}
			o.client, o.cmd, o.asJSON = client, cmd, asJSON
			switch {
			case o.file != "" && len(args) == 0 && !home:
				return o.run()
			case o.file == "" && home && len(args) == 1:
				return o.one(args[0], "")
			case o.file == "" && !home && len(args) == 2:
				return o.one(args[0], args[1])
			}
			return usageError("say USER BACKEND, --home USER or --map FILE; see %s --help", cmd.CommandPath())
		},
	}
	poolFlag(c, &o.pool)
	c.Flags().StringVar(&o.file, "map", "", "file of users and back ends")
	c.Flags().BoolVar(&home, "home", false, "send the user where his pin or the hash says")
	c.Flags().BoolVar(&o.dry, "dry-run", false, "say what would be done, and do nothing")
	c.Flags().IntVar(&o.parallel, "parallel", 64, "how many users of --map are moved at once")
	jsonFlag(c, &asJSON)
	return c
}

// one moves one user.
func (o *bulk) one(name, backend string) error {
	return giveOrPlan(o.cmd, admin.MovePath, admin.Move{Pool: o.pool, User: name, Backend: backend, By: whoAmI(), DryRun: o.dry}, o.dry, o.asJSON)
}

// printDone tells how an order went.
func printDone(cmd *cobra.Command, done admin.Done, asJSON bool) error {
	if asJSON {
		if err := printJSON(cmd.OutOrStdout(), done); err != nil {
			return err
		}
	} else if done.Done {
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), "done"); err != nil {
			return err
		}
	}
	if !done.Done {
		return &exitError{exitTemporary, errors.New(safe(done.Pending) + "; usher fleet status shows what it waits for")}
	}
	return nil
}

func userPin() *cobra.Command {
	var order admin.Move
	var asJSON bool
	c := &cobra.Command{
		Use:   "pin USER [BACKEND]",
		Short: "keep a user on a back end",
		Long: `pin gives a user a place of his own, which comes before the hash: the back end, or
without one that where he is now. If he is elsewhere he is moved, as by user move. A
pin lasts until user unpin, also over restarts, and comes before what a pins_file says.` + dryText + exitText,
		Example: "  usher user pin joe@example.org",
		Args:    usageArgs(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			order.User, order.By = args[0], whoAmI()
			if len(args) > 1 {
				order.Backend = args[1]
			}
			return giveOrPlan(cmd, admin.PinPath, order, order.DryRun, asJSON)
		},
	}
	poolFlag(c, &order.Pool)
	c.Flags().BoolVar(&order.DryRun, "dry-run", false, "say what would be done, and do nothing")
	jsonFlag(c, &asJSON)
	return c
}

func userUnpin() *cobra.Command {
	var order admin.Unpin
	var asJSON bool
	c := &cobra.Command{
		Use:   "unpin USER",
		Short: "let the hash place a user again",
		Long: `unpin takes a user's pin away and moves him home, as by user move. A user who is in a
pins_file gets that pin with the next reload: take him out there too.

The exit status is 67 if he has no pin.` + dryText + exitText,
		Example: "  usher user unpin joe@example.org",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			order.User, order.By = args[0], whoAmI()
			err := giveOrPlan(cmd, admin.UnpinPath, order, order.DryRun, asJSON)
			var refusal *admin.Refusal
			var exit *exitError
			if errors.As(err, &refusal) && errors.As(err, &exit) && refusal.Message == admin.NoPin {
				exit.code = exitNoUser
			}
			return err
		},
	}
	poolFlag(c, &order.Pool)
	c.Flags().BoolVar(&order.DryRun, "dry-run", false, "say what would be done, and do nothing")
	jsonFlag(c, &asJSON)
	return c
}

// give gives an order and tells how it went.
func give(cmd *cobra.Command, path string, order any, asJSON bool) error {
	client, err := adminOf(cmd)
	if err != nil {
		return err
	}
	var done admin.Done
	if err := client.post(cmd.Context(), path, order, &done); err != nil {
		return err
	}
	return printDone(cmd, done, asJSON)
}
