package cluster

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"usher.example/cluster/place"
)

// configure gives a node another configuration, as a restart would.
func (s *sitter) configure(change func(o *FleetOptions)) {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	change(&s.f.o)
	s.f.node.Configure(s.f.o.config())
}

// What all nodes say becomes the fleet's: a pin is kept under the new name, and who
// is one user now is on one back end. While one node says otherwise nothing changes,
// and it is named.
func TestAgree(t *testing.T) {
	nodes := trio(t, nil)
	for _, s := range nodes {
		await(t, s)
	}
	// Joe is pinned away from where joe is.
	_, target := where(t, nodes[0], "joe")
	if err := nodes[0].f.Move(t.Context(), "main", "Joe", target, "test"); err != nil {
		t.Fatal(err)
	}
	before := make(map[string]string)
	for i, name := range []string{"Joe", "joe", "JOE"} {
		before[name], _ = nodes[i].login(t, name)
	}
	if before["Joe"] == before["joe"] {
		t.Fatalf("they are on %v", before)
	}
	change := func(o *FleetOptions) { o.Names.LowerCase, o.KickDelay = true, 100*time.Millisecond }
	for _, s := range nodes[:2] {
		s.configure(change)
	}
	until(t, "the nodes that differ", func() bool {
		return fmt.Sprint(slices.Sorted(maps.Keys(nodes[2].f.Differences()))) == "[edge-1 edge-2]"
	})
	if got := nodes[0].f.Differences()["edge-1"]; !slices.Equal(got, []string{
		"users.lower_case is true, the fleet's is false", "fleet.kick_delay is 100ms, the fleet's is 200ms",
	}) {
		t.Errorf("%q", got)
	}
	for _, s := range nodes {
		if n := s.count(); n != 1 {
			t.Errorf("%d sessions: something changed while the nodes do not agree", n)
		}
	}
	nodes[2].configure(change)
	for _, s := range nodes {
		until(t, "the new names", func() bool { return s.f.keyer.Load().names.LowerCase })
		if n := s.count(); n != 0 {
			t.Errorf("%d sessions are left under old keys", n)
		}
	}
	for i, name := range []string{"Joe", "joe", "JOE"} {
		if b, why := nodes[i].login(t, name); b != target || why != place.ByPin {
			t.Errorf("%s is on %s by %s, not on %s by his pin", name, b, why, target)
		}
	}
	if o := nodes[1].f.Overview(); o.Pins != 1 {
		t.Errorf("%d pins", o.Pins)
	}
	until(t, "agreement", func() bool { return len(nodes[1].f.Differences()) == 0 })
	if got := nodes[2].f.table.Settings.KickDelay; got != int64(100*time.Millisecond) {
		t.Errorf("the kick delay is %d", got)
	}
}

// where is a user's place, and another.
func where(t *testing.T, s *sitter, user string) (at, other string) {
	t.Helper()
	w, err := s.f.Where("main", user)
	if err != nil {
		t.Fatal(err)
	}
	if w.Place == "store1" {
		return w.Place, "store2"
	}
	return w.Place, "store1"
}

// Two pins of one coming user keep the names as they are, and who has them is said.
func TestCollide(t *testing.T) {
	s := openNode(t, FleetOptions{State: t.TempDir(), KickDelay: 10 * time.Millisecond}, mainPool(place.Shared, 3))
	await(t, s)
	for user, target := range map[string]string{"Joe": "store1", "joe": "store2"} {
		if err := s.f.Move(t.Context(), "main", user, target, "test"); err != nil {
			t.Fatal(err)
		}
	}
	s.configure(func(o *FleetOptions) { o.Names.LowerCase = true })
	until(t, "the problem", func() bool {
		s.f.mu.Lock()
		defer s.f.mu.Unlock()
		return s.f.leader.Problem() != ""
	})
	s.f.mu.Lock()
	problem := s.f.leader.Problem()
	s.f.mu.Unlock()
	if want := "users who are pinned to different back ends would be one: unpin one of each: Joe joe"; problem != want {
		t.Errorf("%q, not %q", problem, want)
	}
	if o := s.f.Overview(); o.Pins != 2 || s.f.keyer.Load().names.LowerCase {
		t.Errorf("%d pins, %+v", o.Pins, s.f.keyer.Load().names)
	}
}
