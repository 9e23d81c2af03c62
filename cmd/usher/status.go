package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
	"usher.example/health"
)

func statusCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "show the running usher, its listeners and its back ends",
		Long: `status asks the running usher over its admin socket and prints three parts.

The head: version, how long it has been running, whether it is ready to take
users (the same verdict as /readyz) and if not, or if degraded, why, how many sessions there are,
and how the last reload went.

The listeners: protocol, address, when TLS begins, the pool that users go to, and
how many connections are open and logged in.

The back ends of each pool: the weight; the state, in which health and
administration come together (up, drain, down; removed for one that is no longer
configured but still has users); the health with the time since when, where
"unknown" was not checked yet and "damped" answers but fell too often lately; the
sessions of this node and the users live there; and while it is not up, what the
last bad check said.

The exit status is 0 if usher answered, 75 if nobody did and a later try may help,
1 for other faults and 2 for a command line that was not understood.`,
		Example: "  usher status\n  usher status --json | jq -r '.pools[].backends[] | select(.state != \"up\") | .name'",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := adminOf(cmd)
			if err != nil {
				return err
			}
			var st admin.Status
			if err := client.get(cmd.Context(), admin.StatusPath, nil, &st); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), st)
			}
			return printStatus(cmd.OutOrStdout(), &st)
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

// jsonFlag adds --json to a command.
func jsonFlag(c *cobra.Command, asJSON *bool) {
	c.Flags().BoolVar(asJSON, "json", false, "print JSON, for scripts")
}

func printStatus(out io.Writer, st *admin.Status) error {
	var head strings.Builder
	fmt.Fprintf(&head, "usher %s, running for %s, %s\n", cell(st.Version), age(seconds(st.Uptime)), verdict(st))
	fmt.Fprintf(&head, "%s, %d of them not logged in\n", plural(st.Sessions, "session"), st.Prelogin)
	if !st.Config.Loaded.IsZero() {
		fmt.Fprintf(&head, "configuration of %s\n", moment(st.Config.Loaded))
	}
	if st.Config.Error != "" {
		fmt.Fprintf(&head, "the reload of %s failed:\n", moment(st.Config.Failed))
		for line := range strings.Lines(st.Config.Error) {
			fmt.Fprintf(&head, "  %s\n", safe(strings.TrimSuffix(line, "\n")))
		}
	}
	if _, err := fmt.Fprintln(out, head.String()); err != nil {
		return err
	}
	if err := printListeners(out, st); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return err
	}
	return printBackends(out, st)
}

// verdict is whether users should come here.
func verdict(st *admin.Status) string {
	switch {
	case st.Draining:
		return "draining"
	case st.Ready && len(st.Degraded) > 0:
		return "ready, degraded: " + text(strings.Join(st.Degraded, "; "))
	case st.Ready:
		return "ready"
	}
	return "not ready: " + text(strings.Join(st.Reasons, "; "))
}

func printListeners(out io.Writer, st *admin.Status) error {
	if len(st.Listeners) == 0 {
		_, err := fmt.Fprintln(out, "no listener is open")
		return err
	}
	t := newTable(out, "LISTENER", "PROTO", "ADDRESS", "TLS", "POOL", "OPEN", "LOGGED IN")
	for _, l := range st.Listeners {
		t.row(cell(l.Name), cell(l.Protocol), cell(l.Address), cell(l.TLS), cell(l.Pool),
			strconv.FormatInt(l.Open, 10), strconv.FormatInt(l.LoggedIn, 10))
	}
	return t.print()
}

// up is the health of a back end that is well.
var up = health.Up.String()

func printBackends(out io.Writer, st *admin.Status) error {
	t := newTable(out, "POOL", "BACK END", "WEIGHT", "STATE", "HEALTH", "SINCE", "SESSIONS", "USERS", "LAST ERROR")
	for _, p := range st.Pools {
		for _, b := range p.Backends {
			state, since, last := "-", "-", ""
			if h := b.Health; h != nil {
				state, since = cell(h.State), moment(h.Since)
				if h.Damped {
					state = "damped"
				}
				if h.State != up {
					last = h.Error // when it is up, that is over, maybe for months
				}
			}
			t.row(cell(p.Name), cell(b.Name), strconv.Itoa(b.Weight), cell(b.State), state, since,
				strconv.Itoa(b.Sessions), strconv.Itoa(b.Users), text(last))
		}
	}
	return t.print()
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
