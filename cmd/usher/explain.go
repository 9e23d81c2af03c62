package main

import (
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
)

// shownCandidates is how many candidates for a user's home are shown; --json has all.
const shownCandidates = 5

func explainCommand() *cobra.Command {
	var pool, listener, ip, sni string
	var asJSON bool
	c := &cobra.Command{
		Use:   "explain USER",
		Short: "show why a user's next login goes where it goes, rule by rule",
		Long: `explain shows how the node that is asked would answer a login of a user now: each rule
in the order in which it is asked, what it says, the place that comes of it, and if
the login would wait or be refused, why, and what the client is told. Rules are:

  listener, sni    where the client connects, which names the pool
  node, sessions,
  address          the limits on sessions: of the node, the listener, the address
  penalty          whether failed logins, from there or of this user, delay or refuse it
  directory        a user directory, if there is one
  name             what the name becomes by [users]
  stop, pool, join the node is being stopped, does not know the pool, has no fleet yet
  lease            whether the node's word counts, or it is isolated
  stay             he was live there when the pool's view changed
  pin              an administrator, or a pins file, wants him there
  home             the hash of his name over the back ends that are up
  sight            a node that is alone does not go where it sees nobody
  move, change     he is being moved, or the pool's view changes: logins wait
  sessions         what he has open on this node has to be closed first
  server           the back end is the same server by this node's configuration
  queue            whether there is room among the logins that wait
  backend          it is in the configuration and has room
  user             the limit on sessions of the user

It changes nothing, and answers for names that nobody has, too: whether there is such
a user only his back end knows.` + exitText,
		Example: "  usher explain joe@example.org\n  usher explain joe --listener imaps --ip 192.0.2.7",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, users []string) error {
			client, err := adminOf(cmd)
			if err != nil {
				return err
			}
			q := url.Values{"user": users}
			for name, value := range map[string]string{"pool": pool, "listener": listener, "ip": ip, "sni": sni} {
				if value != "" {
					q.Set(name, value)
				}
			}
			var x admin.Explained
			if err := client.get(cmd.Context(), admin.ExplainPath, q, &x); err != nil {
				return err
			}
			warnMissing(cmd, x.Missing)
			if asJSON {
				return printJSON(cmd.OutOrStdout(), x)
			}
			return printExplained(cmd.OutOrStdout(), &x)
		},
	}
	poolFlag(c, &pool)
	c.Flags().StringVar(&listener, "listener", "", "the listener that he connects to; it names the pool")
	c.Flags().StringVar(&ip, "ip", "", "his address: its limits and penalties are looked at, too")
	c.Flags().StringVar(&sni, "sni", "", "the name that he asks for by TLS")
	jsonFlag(c, &asJSON)
	return c
}

func printExplained(out io.Writer, x *admin.Explained) error {
	head := newTable(out)
	head.row("user", cell(x.User))
	if x.Typed != x.User {
		head.row("typed", cell(x.Typed))
	}
	head.row("pool", cell(x.Pool))
	if x.Node != "" {
		head.row("by node", cell(x.Node))
	}
	if p := x.Pin; p != nil {
		from := ""
		switch {
		case p.ByFile && p.File != "":
			from = "by the pins file " + p.File
		case p.ByFile:
			from = "by a pins file"
		case p.By != "":
			from = "by " + p.By + ", " + moment(*p.Since)
		}
		head.row("pin", cell(p.Backend)+" "+safe(from))
	}
	if m := x.Moving; m != nil {
		head.row("moving", fmt.Sprintf("to %s by %s; waiting for: %s", cell(m.Target), text(m.By), text(strings.Join(m.Waits, ", "))))
	}
	for _, s := range x.Sessions {
		head.row("live", fmt.Sprintf("%s by %s on %s", plural(s.Sessions, "session"), cell(s.Node), text(strings.Join(s.Backends, ", "))))
	}
	if err := head.print(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	steps := newTable(out, "RULE", "ANSWER", "BACK END", "WHY")
	for _, s := range x.Steps {
		steps.row(cell(s.Rule), cell(s.Outcome), cell(s.Backend), text(s.Why))
	}
	if err := steps.print(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	cs := newTable(out, "CANDIDATE", "SCORE", "WEIGHT", "SHARE", "ADMIN", "HEALTH", "NOTE")
	for i, c := range x.Candidates {
		if i == shownCandidates {
			cs.row(fmt.Sprintf("and %d more", len(x.Candidates)-i))
			break
		}
		score, up := "-", "down"
		if c.Score > 0 {
			score = fmt.Sprintf("%.6f", c.Score)
		}
		if c.Up {
			up = "up"
		}
		cs.row(cell(c.Name), score, fmt.Sprint(c.Weight), fmt.Sprintf("%.1f%%", 100*c.Share), cell(string(c.Admin)), up, text(c.Why))
	}
	if err := cs.print(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	return printVerdict(out, x)
}

func printVerdict(out io.Writer, x *admin.Explained) (err error) {
	switch x.Verdict {
	case "placed":
		_, err = fmt.Fprintf(out, "a login goes to %s, by %s\n", cell(x.Place), cell(x.Why))
	case "waits":
		_, err = fmt.Fprintf(out, "a login waits, for %gs at most; by what holds now it would go to %s\nif that is too long: %s\nthe client is told: %s\n", x.HoldSeconds, cell(x.Place), text(x.Error), text(x.Answer))
	default:
		_, err = fmt.Fprintf(out, "a login is refused: %s\nthe client is told: %s\n", text(x.Error), text(x.Answer))
	}
	return err
}
