package cluster

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"usher.example/cluster/table"
)

// TestOrderByFollower holds that an empty entry follows on those that nodes wait for,
// on an order's way to them and on its way back. What that is worth depends on the
// machine, so it is only told.
func TestOrderByFollower(t *testing.T) {
	const orders = 20
	nodes := trio(t, func(o *FleetOptions) { o.KickDelay = -1 })
	for _, s := range nodes {
		await(t, s)
	}
	leader := nodes[0].f.Overview().Leader
	i := slices.IndexFunc(nodes, func(s *sitter) bool { return s.f.o.Node != leader })
	var took []time.Duration
	for n := range orders {
		user := fmt.Sprintf("user%d", n)
		for _, s := range nodes {
			s.login(t, user)
		}
		began := time.Now()
		if err := nodes[i].f.Move(t.Context(), "main", user, []string{"store1", "store2"}[n%2], "test"); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("moves of users with sessions on three nodes: %v at least, %v in the median, %v at most", took[0], took[orders/2], took[orders-1])
	led := nodes[slices.IndexFunc(nodes, func(s *sitter) bool { return s.f.o.Node == leader })].f
	until(t, "an empty entry behind the last that was waited for", func() bool { return followed(t, led) })
}

// near is within how many entries the empty one has to come: nodes write as well.
const near = 3

// followed says whether the leader's log has an entry that is waited for, and an
// empty one right behind the last of them.
func followed(t *testing.T, f *Fleet) bool {
	t.Helper()
	first, err := f.wal.FirstIndex()
	if err != nil {
		t.Fatal(err)
	}
	last, err := f.wal.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	waited, empty := uint64(0), uint64(0)
	for i := first; i <= last; i++ {
		var l raft.Log
		if err := f.wal.GetLog(i, &l); err != nil {
			t.Fatal(err)
		}
		if l.Type == raft.LogBarrier && i <= waited+near {
			empty = i
		}
		if l.Type != raft.LogCommand {
			continue
		}
		data, err := openEntry(l.Data)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := table.Decode(data); err == nil && awaited(c) {
			waited = i
		}
	}
	return waited != 0 && empty > waited
}

// awaited says whether nodes have to act on a command at once.
func awaited(c table.Command) bool {
	switch c.(type) {
	case table.Start, table.Placed, table.Prepare, table.Activate:
		return true
	}
	return false
}
