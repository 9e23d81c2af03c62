package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
	"usher.example/cluster"
)

// dryText is the help of --dry-run.
const dryText = `

--dry-run changes nothing. It shows how many users and sessions the order would concern,
from which back end to which, what would be closed and how long that takes; what would be
refused is refused. It is found out by giving the order to a copy of what the fleet knows.`

// dryFlags adds --dry-run, and with sample --users, to a command.
func dryFlags(c *cobra.Command, d *admin.DryRun, sample bool) {
	c.Flags().BoolVar(&d.DryRun, "dry-run", false, "say what would be done, and do nothing")
	if sample {
		c.Flags().IntVar(&d.Sample, "users", 0, "with --dry-run, name so many of the users")
	}
}

// giveOrPlan gives an order, or shows what it would come to.
func giveOrPlan(cmd *cobra.Command, path string, order any, dry, asJSON bool) error {
	if !dry {
		return give(cmd, path, order, asJSON)
	}
	client, err := adminOf(cmd)
	if err != nil {
		return err
	}
	var p admin.Plan
	if err := client.post(cmd.Context(), path, order, &p); err != nil {
		return err
	}
	if !p.DryRun { // it did not know the field, or it would have refused it
		return fmt.Errorf("usher has not understood that nothing was to be done; are both of the same version?")
	}
	return printPlan(cmd, p, asJSON)
}

// hows are what becomes of users, in the words of a table.
var hows = map[string]string{
	cluster.FlowStays: "stay", cluster.FlowLater: "later", cluster.FlowLogin: "at the next login",
	cluster.FlowEvacuated: "closed bit by bit", cluster.FlowClosed: "closed at once", cluster.FlowRefused: "go on, logins refused",
}

func printPlan(cmd *cobra.Command, p admin.Plan, asJSON bool) error {
	warnMissing(cmd, p.Missing)
	out := cmd.OutOrStdout()
	if asJSON {
		return printJSON(out, p)
	}
	if _, err := fmt.Fprintf(out, "nothing was done; %s would concern %s with %s", text(p.Order), plural(p.Users, "user"), plural(p.Sessions, "session")); err != nil {
		return err
	}
	if p.Closed > 0 {
		fmt.Fprintf(out, ", and close %s within %s", plural(p.Closed, "session"), age(seconds(p.Seconds)))
	}
	if p.Stay > 0 {
		fmt.Fprintf(out, "; for %s nothing changes", plural(p.Stay, "user"))
	}
	fmt.Fprintln(out)
	if len(p.Flows) > 0 {
		t := newTable(out, "FROM", "TO", "USERS", "SESSIONS", "HOW")
		for _, f := range p.Flows {
			how := hows[f.How]
			if how == "" {
				how = f.How
			}
			t.row(cell(f.From), cell(f.To), strconv.Itoa(f.Users), strconv.Itoa(f.Sessions), text(how))
		}
		if err := t.print(); err != nil {
			return err
		}
	}
	for _, n := range p.Notes {
		fmt.Fprintln(out, "note:", text(n))
	}
	if len(p.Named) > 0 {
		names := make([]string, len(p.Named))
		for i, n := range p.Named {
			names[i] = cell(n)
		}
		fmt.Fprintln(out, "users:", strings.Join(names, " "))
	}
	return nil
}
