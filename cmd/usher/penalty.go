package main

import (
	"fmt"
	"io"
	"net/netip"
	"net/url"

	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
)

func penaltyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "penalty",
		Short: "who is slowed because his logins fail",
		Long: `penalty shows and clears what usher remembers of failed logins: which addresses,
networks and users have to wait between two tries. See docs/abuse.md.`,
	}
	c.AddCommand(penaltyList(), penaltyClear())
	return c
}

func penaltyList() *cobra.Command {
	var only struct{ address, network, user bool }
	var asJSON bool
	c := &cobra.Command{
		Use:   "list [--address | --network | --user]",
		Short: "list the penalties in force, the heaviest first",
		Long: `list shows whose logins are slowed now. WEIGHT is how many have failed, of which half
is forgotten after half an hour; GOOD is how many users have logged in from there, who
weigh against it. PAUSE is the least time between two tries, and NEXT that to the next
one. Users who have logged in from an address before are not slowed by its penalty.

It is what this node knows; the nodes of a fleet tell each other within two seconds.` + exitText,
		Example: "  usher penalty list\n  usher penalty list --user --json | jq -r '.penalties[].name'",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := adminOf(cmd)
			if err != nil {
				return err
			}
			query := url.Values{}
			for kind, is := range map[string]bool{"address": only.address, "network": only.network, "user": only.user} {
				if is {
					query.Set("kind", kind)
				}
			}
			var answer admin.Penalties
			if err := client.get(cmd.Context(), admin.PenaltiesPath, query, &answer); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), answer)
			}
			return printPenalties(cmd.OutOrStdout(), answer)
		},
	}
	c.Flags().BoolVar(&only.address, "address", false, "only those of addresses")
	c.Flags().BoolVar(&only.network, "network", false, "only those of networks")
	c.Flags().BoolVar(&only.user, "user", false, "only those of users")
	c.MarkFlagsMutuallyExclusive("address", "network", "user")
	jsonFlag(c, &asJSON)
	return c
}

func printPenalties(out io.Writer, a admin.Penalties) error {
	if len(a.Penalties) == 0 {
		_, err := fmt.Fprintln(out, "no penalties")
		return err
	}
	t := newTable(out, "KIND", "WHO", "WEIGHT", "GOOD", "PAUSE", "NEXT", "WAITING")
	for _, p := range a.Penalties {
		t.row(cell(p.Kind), cell(p.Name), fmt.Sprintf("%.1f", p.Weight), fmt.Sprintf("%.0f", p.Good),
			age(seconds(p.Pause)), age(seconds(p.Next)), fmt.Sprint(p.Waiting))
	}
	if err := t.print(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%d of %d shown; logins that wait: %d\n", len(a.Penalties), a.Total, a.Held)
	return err
}

func penaltyClear() *cobra.Command {
	var order admin.ClearOrder
	var asJSON bool
	c := &cobra.Command{
		Use:   "clear (ADDRESS | NETWORK | USER | --all)",
		Short: "forget failed logins, on all nodes",
		Long: `clear forgets the failures of an address with its networks, of all addresses in a
network, of a user, or all, and with them what has been mistyped there, or by him. What
can be read as an address or a network is one; for a user who is called like that there
is --user. Logins that wait already go on waiting.

A password that goes on failing brings the penalty back: find the device first, by the
address and the user in the log.` + exitText,
		Example: "  usher penalty clear 192.0.2.7\n  usher penalty clear 2001:db8::/48\n  usher penalty clear joe@example.org\n  usher penalty clear --all",
		Args:    usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if isNetwork(args[0]) {
					order.Address = args[0]
				} else {
					order.User = args[0]
				}
			}
			if _, _, err := order.Subject(); err != nil {
				return usageError("say one address, network or user, or --all; see usher penalty clear --help")
			}
			client, err := adminOf(cmd)
			if err != nil {
				return err
			}
			order.By = whoAmI()
			var answer admin.Cleared
			if err := client.post(cmd.Context(), admin.PenaltyClearPath, order, &answer); err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), answer)
			} else {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d cleared\n", answer.Cleared)
			}
			warnMissing(cmd, answer.Missing)
			return err
		},
	}
	c.Flags().BoolVar(&order.All, "all", false, "all addresses, networks and users")
	c.Flags().StringVar(&order.User, "user", "", "this user, whatever the name looks like")
	jsonFlag(c, &asJSON)
	return c
}

// isNetwork says whether a text is an address or a network.
func isNetwork(text string) bool {
	_, aerr := netip.ParseAddr(text)
	_, perr := netip.ParsePrefix(text)
	return aerr == nil || perr == nil
}
