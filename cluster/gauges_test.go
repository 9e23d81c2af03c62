package cluster

import (
	"os"
	"testing"
	"time"

	"usher.example/cluster/lead"
	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

func TestViewCount(t *testing.T) {
	var c viewCount
	for _, tt := range []struct {
		name  string
		pools map[string]uint64 // epochs
		want  uint64
	}{
		{"what was before does not count", map[string]uint64{"a": 40, "b": 2}, 0},
		{"nothing new", map[string]uint64{"a": 40, "b": 2}, 0},
		{"one change", map[string]uint64{"a": 41, "b": 2}, 1},
		{"several", map[string]uint64{"a": 43, "b": 3}, 4},
		{"a pool comes, another goes", map[string]uint64{"a": 43, "c": 9}, 4},
		{"one comes back", map[string]uint64{"a": 44, "b": 7}, 5},
	} {
		pools := map[string]*table.Pool{}
		for name, epoch := range tt.pools {
			pools[name] = &table.Pool{Epoch: epoch}
		}
		if c.look(pools); c.n != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, c.n, tt.want)
		}
	}
}

// TestViewsSinceStart: a node that starts anew with an old log, after a death, reads of
// changes and has seen none.
func TestViewsSinceStart(t *testing.T) {
	o := FleetOptions{State: t.TempDir(), KickDelay: -1}
	s, end := startNode(t, o, mainPool(place.Shared, 2))
	await(t, s)
	for _, up := range []bool{false, true, false, true} {
		s.health(t, "store1", up)
	}
	counted := func(enough func(n uint64) bool) {
		t.Helper()
		deadline := time.Now().Add(patience)
		for !enough(s.f.Gauges().Views) {
			if time.Now().After(deadline) {
				t.Fatalf("%d changes are counted", s.f.Gauges().Views)
			}
			s.settle(t)
		}
	}
	counted(func(n uint64) bool { return n >= 4 }) // and one as the pool began
	dead := t.TempDir()                            // as it is on the disk if the node dies now: no snapshot
	if err := os.CopyFS(dead, os.DirFS(o.State)); err != nil {
		t.Fatal(err)
	}
	end()
	o.State = dead
	s = openNode(t, o, mainPool(place.Shared, 2))
	await(t, s)
	s.settle(t)
	s.health(t, "store1", false)
	counted(func(n uint64) bool { return n == 1 })
}

// TestViewsBeforeJoin: what comes between a snapshot and the end of the log does not
// count.
func TestViewsBeforeJoin(t *testing.T) {
	pool := &table.Pool{Epoch: 5}
	f := &Fleet{table: &table.Table{Pools: map[string]*table.Pool{"main": pool}}}
	for _, step := range []struct {
		name string
		do   func()
		want uint64
	}{
		{"the snapshot", func() {}, 0},
		{"more of the log", func() { pool.Epoch = 9 }, 0},
		{"alone, and its word counts by the snapshot", func() { f.leased, pool.Epoch = true, 12 }, 0},
		{"all of the log", func() { f.leader = new(lead.Leader) }, 0},
		{"a change", func() { pool.Epoch = 13 }, 1},
		{"a change while isolated, which is seen later", func() { f.leased, f.leader, pool.Epoch = false, nil, 15 }, 3},
	} {
		step.do()
		if f.countViews(); f.viewed.n != step.want {
			t.Errorf("%s: got %d, want %d", step.name, f.viewed.n, step.want)
		}
	}
}
