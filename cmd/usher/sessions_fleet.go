package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"usher.example/balancer"
	"usher.example/balancer/admin"
)

// A sought is which sessions of the fleet are to be shown.
type sought struct {
	all                           bool
	user, pool, backend, node, by string
	older                         time.Duration
	top                           int
}

func (s *sought) flags(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&s.all, "all-nodes", false, "of all nodes, not only of this one")
	f.StringVar(&s.pool, "pool", "", "of all nodes, only those of this pool")
	f.StringVar(&s.backend, "backend", "", "of all nodes, only those on this back end")
	f.StringVar(&s.node, "node", "", "only those of this node")
	f.DurationVar(&s.older, "older", 0, "of all nodes, only those that began so long ago, such as 2h30m")
	f.StringVar(&s.by, "by", balancer.ByAge, "of all nodes, the first by age, idle or traffic")
	f.IntVar(&s.top, "top", admin.DefaultFound, "of all nodes, so many at most")
}

// wanted says whether sessions of other nodes are asked for.
func (s *sought) wanted(c *cobra.Command) bool {
	for _, name := range []string{"all-nodes", "pool", "backend", "node", "older", "by", "top"} {
		if c.Flags().Changed(name) {
			return true
		}
	}
	return false
}

func (s *sought) query(c *cobra.Command) url.Values {
	q := url.Values{"by": {s.by}, "most": {strconv.Itoa(s.top)}}
	for name, value := range map[string]string{"user": s.user, "pool": s.pool, "backend": s.backend, "node": s.node} {
		if c.Flags().Changed(name) {
			q.Set(name, value)
		}
	}
	if s.older != 0 {
		q.Set("older", s.older.String())
	}
	return q
}

// show shows them.
func (s *sought) show(c *cobra.Command, client *adminClient, asJSON bool) error {
	var found admin.FoundSessions
	if err := client.get(c.Context(), admin.FleetSessionsPath, s.query(c), &found); err != nil {
		return err
	}
	warnMissing(c, found.Missing)
	if asJSON {
		return printJSON(c.OutOrStdout(), found)
	}
	return printFound(c.OutOrStdout(), found, time.Now())
}

func printFound(out io.Writer, found admin.FoundSessions, now time.Time) error {
	if found.All == 0 {
		_, err := fmt.Fprintln(out, "no sessions")
		return err
	}
	t := newTable(out, "NODE", "SESSION", "USER", "PROTO", "CLIENT", "TLS", "BACK END", "PHASE", "AGE", "IDLE", "IN", "OUT")
	for _, s := range found.Sessions {
		t.row(cell(s.Node), cell(s.ID), cell(s.User), cell(s.Protocol), cell(s.Client), cell(s.TLS), cell(s.Backend),
			cell(string(s.Phase)), age(now.Sub(s.Since)), age(seconds(s.Idle)), size(s.BytesIn), size(s.BytesOut))
	}
	if err := t.print(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%d of %s\n", len(found.Sessions), plural(found.All, "session"))
	return err
}
