package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
)

func backendAdd() *cobra.Command {
	var order admin.BackendAdd
	var weight int
	var asJSON bool
	c := &cobra.Command{
		Use:   "add BACKEND --host HOST [--imap-port PORT] [--pop3-port PORT]",
		Short: "add a back end to a pool, on all nodes, while they run",
		Long: `add has the whole fleet place users on one server more, without a change of the files
of its nodes. All nodes are asked first whether they could use it: its name is looked up
there, and it is judged as if it stood in the file. One that could not refuses it for all.
Then every node makes ready to reach it, and only then users are placed there, once it has
answered its first probes. Nobody's session is closed: users whose home it is come when
their sessions elsewhere have ended.

TLS, the client's address and the checks are the pool's, so that no order can weaken them.
It lasts over restarts, also of all nodes, until usher backend remove. A node that is
away takes it up when it is back, before it serves. To have it in the file in the end,
write it there on every node with the same name, host, ports and weight, letter for
letter, reload them, and then remove it here: the file comes first, and nobody is moved.
What the file says otherwise is another server, and users move; usher backend list tells.

A back end of that name in the file of any node, or added before, is refused.` + dryText + exitText,
		Example: "  usher backend add mail4 --host mail4.internal.example.org --imap-port 143 --pop3-port 110\n" +
			"  usher backend add mail4 --host 192.0.2.14 --tls-name mail4.example.org --imap-port 143 --dry-run",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			order.Backend, order.By = args[0], whoAmI()
			if order.Host == "" {
				return usageError("--host is missing: say where the server is")
			}
			if order.IMAPPort == 0 && order.POP3Port == 0 {
				return usageError("a port is missing: say --imap-port, --pop3-port or both")
			}
			if cmd.Flags().Changed("weight") {
				order.Weight = &weight
			}
			return giveOrPlan(cmd, admin.BackendAddPath, order, order.DryRun.DryRun, asJSON)
		},
	}
	poolFlag(c, &order.Pool)
	c.Flags().StringVar(&order.Host, "host", "", "host name or address of the server")
	c.Flags().IntVar(&order.IMAPPort, "imap-port", 0, "port of IMAP; 0: not served")
	c.Flags().IntVar(&order.POP3Port, "pop3-port", 0, "port of POP3; 0: not served")
	c.Flags().IntVar(&weight, "weight", admin.DefaultWeight, "share of the users, in relation to the weights of the others")
	c.Flags().IntVar(&order.Sessions, "sessions", 0, "sessions on it, at most; 0: no limit")
	c.Flags().StringVar(&order.TLSName, "tls-name", "", "name that its certificate must carry; empty: the pool's, or the host")
	dryFlags(c, &order.DryRun, true)
	jsonFlag(c, &asJSON)
	return c
}

func backendRemove() *cobra.Command {
	var order admin.BackendRemove
	var asJSON bool
	c := &cobra.Command{
		Use:   "remove BACKEND",
		Short: "remove a back end that was added by command",
		Long: `remove takes a back end away that usher backend add has added, on all nodes. Who is
live there leaves it with his next login. While it is active and has users that is refused:
have them moved first (usher backend evacuate BACKEND --wait), or say --force.

A back end of the configuration file is not removed by command, since the next start or
reload would bring it back: take it out of the file of every node, and reload them, the
leader first. One that was added and stands in the file too goes on by the file.` + dryText + exitText,
		Example: "  usher backend evacuate mail4 --wait && usher backend remove mail4",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			order.Backend, order.By = args[0], whoAmI()
			return giveOrPlan(cmd, admin.BackendRemovePath, order, order.DryRun.DryRun, asJSON)
		},
	}
	poolFlag(c, &order.Pool)
	c.Flags().BoolVar(&order.Force, "force", false, "also with users who are live there")
	dryFlags(c, &order.DryRun, true)
	jsonFlag(c, &asJSON)
	return c
}

// printAdditions tells what is not as it should be with back ends that were added.
func printAdditions(out io.Writer, list []admin.Addition) error {
	for _, a := range list {
		name := cell(a.Pool + "/" + a.Backend)
		var err error
		switch {
		case a.File:
			_, err = fmt.Fprintf(out, "%s was added by command, and stands in the file of a node, which comes first there; if it is in all files: usher backend remove %s\n", name, cell(a.Backend))
		case !a.Live && len(a.Problems) == 0:
			_, err = fmt.Fprintf(out, "%s: its addition or removal was not carried out to the end; give that order again\n", name)
		}
		if err != nil {
			return err
		}
		for _, node := range sorted(a.Differ) {
			if _, err := fmt.Fprintf(out, "%s: node %s: %s: users move; write it there as it was added\n", name, cell(node), text(a.Differ[node])); err != nil {
				return err
			}
		}
		for _, node := range sorted(a.Problems) {
			if _, err := fmt.Fprintf(out, "%s: node %s cannot use it: %s\n", name, cell(node), text(a.Problems[node])); err != nil {
				return err
			}
		}
	}
	return nil
}
