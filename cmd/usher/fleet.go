package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
	"usher.example/cluster"
	"usher.example/cmd/internal/config"
)

func fleetCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "fleet",
		Short: "see the fleet, make its secret and other keys, recover it",
		Long:  "fleet has the commands about the fleet as a whole. usher node, backend and user steer it.",
	}
	c.AddCommand(fleetStatus(), fleetSecret(), fleetTickets(), fleetRecover())
	return c
}

func fleetStatus() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "show whether the fleet can decide, and what it is at",
		Long: `status shows the fleet as the asked node sees it: who leads it, whether there is a
quorum (more than half of the voters, without which nothing can be changed) and if not
which voters are missing; whether the node itself is isolated; how many users are
pinned, stay elsewhere than at home or are being moved; which versions of the secret it
has, and which nodes have others; how many values (certificates and what belongs to them)
are stored, which of them are locked by whom, and since when session tickets are sealed
with which key; what is sealed with each version of the secret: one that nodes use no
more may be dropped when there is nothing; pools whose view is changing, and which nodes have not
done their part of that or of a move; nodes whose configuration says otherwise than the
fleet does; and the nodes.

The exit status is 0 if there is a quorum, 75 if there is none or nobody answered, 1
for other faults and 2 for a command line that was not understood.`,
		Example: "  usher fleet status",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := adminOf(cmd)
			if err != nil {
				return err
			}
			var st admin.FleetStatus
			if err := client.get(cmd.Context(), admin.FleetPath, nil, &st); err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), st)
			} else {
				err = printFleet(cmd.OutOrStdout(), &st)
			}
			if err == nil && !st.Quorum {
				err = &exitError{exitTemporary, noQuorum(&st)}
			}
			return err
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

// noQuorum says what to do.
func noQuorum(st *admin.FleetStatus) error {
	if len(st.Missing) == 0 {
		return fmt.Errorf("no quorum, but all voters can be seen: wait some seconds; if it stays so, look into their logs")
	}
	return fmt.Errorf("no quorum: missing voters: %s; start them, or if a majority is lost for good see usher fleet recover --help",
		safe(strings.Join(st.Missing, ", ")))
}

func printFleet(out io.Writer, st *admin.FleetStatus) error {
	var head strings.Builder
	if st.Fleet == "" {
		fmt.Fprintf(&head, "%s is alone: a fleet of one", cell(st.Node))
	} else {
		fmt.Fprintf(&head, "fleet %s, seen by %s", cell(st.Fleet), cell(st.Node))
	}
	if st.Fleet == "" && st.Quorum {
		head.WriteString("\n")
	} else if st.Quorum {
		fmt.Fprintf(&head, ", led by %s\n", cell(st.Leader))
	} else {
		head.WriteString(", without a quorum\n")
	}
	if st.Isolated {
		head.WriteString("this node is isolated: its word does not count\n")
	}
	if st.Error != "" {
		fmt.Fprintf(&head, "this node cannot go on: %s\n", text(st.Error))
	}
	if len(st.Missing) > 0 {
		fmt.Fprintf(&head, "missing voters: %s\n", text(strings.Join(st.Missing, ", ")))
	}
	fmt.Fprintf(&head, "%s pinned, %d staying elsewhere than at home, %d being moved\n", plural(st.Pins, "user"), st.Stays, st.Moves)
	head.WriteString(secretLines(st))
	head.WriteString(vaultLines(&st.Vault))
	if len(st.Changes) > 0 {
		fmt.Fprintf(&head, "pools that are changing: %s\n", text(strings.Join(st.Changes, ", ")))
	}
	for _, node := range slices.Sorted(maps.Keys(st.Differs)) {
		fmt.Fprintf(&head, "configured otherwise than the fleet: %s: %s\n", cell(node), text(strings.Join(st.Differs[node], "; ")))
	}
	for _, m := range st.Members {
		if len(m.Owes) > 0 {
			fmt.Fprintf(&head, "waits for %s: %s\n", cell(m.Node), text(strings.Join(m.Owes, ", ")))
		}
	}
	if _, err := fmt.Fprintln(out, head.String()); err != nil {
		return err
	}
	nodes := make([]cluster.FleetNode, len(st.Members))
	for i, m := range st.Members {
		nodes[i].NodeState = m
	}
	return printNodes(out, nodes)
}

// secretLines say which versions of the secret the node has, and who has others.
func secretLines(st *admin.FleetStatus) string {
	if len(st.Secrets) == 0 {
		return ""
	}
	lines := "secret: " + cell(st.Secrets[0]) + " is used"
	if others := st.Secrets[1:]; len(others) > 0 {
		lines += ", " + text(strings.Join(others, ", ")) + " believed as well"
	}
	var other []string
	for _, m := range st.Members {
		if len(m.Secrets) > 0 && !slices.Equal(m.Secrets, st.Secrets) {
			other = append(other, m.Node)
		}
	}
	if len(other) > 0 {
		lines += "; not so, or not yet, on " + text(strings.Join(other, ", "))
	}
	return lines + "\n"
}

// afterRotate is what to do when a step is taken; the empty one makes the secret.
var afterRotate = map[cluster.RotateStep]string{
	"":                    "copy it to all nodes, and name it in fleet.secret_file",
	cluster.RotateAdd:     "copy it to all nodes and reload them; when usher fleet status shows both versions on all, --rotate promote",
	cluster.RotatePromote: "copy it to all nodes and reload them; when usher fleet status shows the new one used on all, --rotate drop",
	cluster.RotateDrop:    "copy it to all nodes and reload them",
}

func fleetSecret() *cobra.Command {
	var rotate string
	c := &cobra.Command{
		Use:   "secret FILE",
		Short: "make the secret that all nodes share, or exchange it",
		Long: `secret makes a new secret in FILE, which only its owner can read, and the group of the
user usher if there is one. Copy the file to all
nodes and name it in fleet.secret_file. Who has it is a node: copy it as you would a
private key. It is never printed, and a file that exists is not overwritten.

--rotate exchanges it in three steps, without an interruption:

  1. --rotate add       a new version is added; the old one is still used
  2. --rotate promote   the new one is used; the old one is still accepted
  3. --rotate drop      the old one is taken out

Take each step on one node, copy the file to all others, and have every node read it:
SIGHUP, as by systemctl reload usher, or a restart. usher fleet status shows by a short
print which versions a node has and uses, and who has others; only when all have the same
take the next step. Nodes that are a step apart understand each other, and nodes that are
two apart do not. A reload that would part a node from others that are there is refused
and changes nothing; a restart looks at nobody, so it is on you. A step that does not
follow is refused. Keep a backup of a node's state directory only together
with the secret of its time.`,
		Example: "  usher fleet secret /etc/usher/fleet.secret\n  usher fleet secret --rotate add /etc/usher/fleet.secret",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			next, known := afterRotate[cluster.RotateStep(rotate)]
			if !known {
				return usageError("--rotate %q: want add, promote or drop, in this order", rotate)
			}
			var err error
			if rotate == "" {
				if err = cluster.CreateSecretFile(args[0]); err == nil {
					err = handOver(args[0], cmd.ErrOrStderr())
				}
			} else {
				err = cluster.RotateSecretFile(args[0], cluster.RotateStep(rotate))
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is written; %s\n", args[0], next)
			return err
		},
	}
	c.Flags().StringVar(&rotate, "rotate", "", "take a step of an exchange: add, promote or drop")
	return c
}

func fleetRecover() *cobra.Command {
	var path string
	var yes, asJSON bool
	c := &cobra.Command{
		Use:   "recover",
		Short: "make this stopped node the only voter, when a majority is lost for good",
		Long: `recover is the way out when more than half of the voters are lost for good, with their
state directories. As long as they can come back, start them instead: sessions and
logins go on without a quorum (when_isolated = "serve").

It makes this node, which has to be stopped, the only voter of the fleet. What it has
of the fleet's table becomes the table. What may be lost are the last changes that this
node had not heard of: pins, moves, drains, weights. Users who were moved by such a
change may have sessions on two back ends until the old ones end.

  1. Stop usher on all nodes that are left.
  2. Run usher fleet recover on each voter of them. Without --yes it changes nothing and
     shows the last term and index of its log. Choose the one with the highest term, and
     among those the highest index.
  3. There, and only there, run usher fleet recover --yes, and start usher.
  4. On all other nodes move the state directory away, and start usher: they join anew.

A lost voter must never be started with the state directory that it had: together with
another one it would be a second fleet of the same name.`,
		Example: "  usher fleet recover -c /etc/usher/usher.toml\n  usher fleet recover --yes && systemctl start usher",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.LoadWitness(path) // listeners are of no account
			if err != nil {
				cfg, err = config.Load(path)
			}
			if err != nil {
				return err
			}
			if cfg.Fleet.Name == "" {
				return errors.New("this node is alone: there is no quorum to lose, and nothing to recover")
			}
			node := nodeName(cfg)
			left, err := cluster.Recover(stateDir(cfg), node, yes)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), left)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "node %s: last term %d, last index %d, voters %s, %s\n",
				cell(node), left.Term, left.Last, text(strings.Join(left.Voters, ", ")), plural(left.Pins, "pin"))
			if !yes {
				fmt.Fprintln(cmd.OutOrStdout(), "nothing was changed; with --yes this node becomes the only voter: read --help first")
				return nil
			}
			fmt.Fprintln(cmd.OutOrStdout(), "this node is the only voter now: start it, and let the others join anew, without their old state")
			return nil
		},
	}
	configFlag(c, &path)
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	jsonFlag(c, &asJSON)
	return c
}

// nodeName is this node's name in its fleet.
func nodeName(c *config.Config) string {
	if c.Fleet.Node != "" {
		return c.Fleet.Node
	}
	return cluster.Hostname()
}
