package cluster

import (
	"strings"
	"testing"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// TestUpdateOver: a leader whose pools were made with something else than its table has
// removes nothing and brings nothing back, until they are made anew.
func TestUpdateOver(t *testing.T) {
	s := alone(t, FleetOptions{}, mainPool(place.Shared, 3))
	s.admin(t, "store3", table.Draining)
	if err := s.f.SetWeight(t.Context(), "main", "store3", 7, "test"); err != nil {
		t.Fatal(err)
	}
	before := s.f.Here("backends")
	if err := s.f.Put(t.Context(), "backends/main/store3", []byte("x")); err != nil {
		t.Fatal(err)
	}
	over := func(n int, r Reading, keep ...string) {
		t.Helper()
		p := mainPool(place.Shared, n)
		p.Keep = keep
		if err := s.f.UpdateOver([]Pool{p}, r); err != nil {
			t.Fatal(err)
		}
		s.f.mu.Lock()
		s.f.defined = "" // whether or not the manager was here already
		commands := s.f.define(s.f.leader.Term())
		s.f.mu.Unlock()
		for _, c := range commands {
			if err := s.f.propose(c); err != nil {
				t.Fatal(err)
			}
		}
	}
	same := func(when string) {
		t.Helper()
		b := s.backend("store3")
		if got := s.states(); got != "up up drain" || b.Weight != 7 {
			t.Errorf("%s: %s, store3 %+v", when, got, b)
		}
	}
	over(2, before)
	same("with pools of before it was added")
	over(3, s.f.Here("backends"))
	s.settle(t)
	same("with pools of now")

	over(2, s.f.Here("backends"), "store3", "store9")
	s.settle(t)
	same("with one that cannot be used here")

	now := s.f.Here("backends")
	if err := s.f.Remove(t.Context(), "backends/main/store3"); err != nil {
		t.Fatal(err)
	}
	over(3, now)
	same("with pools of before it was removed")
	over(2, s.f.Here("backends"))
	s.settle(t)
	if got := s.states(); got != "up up" {
		t.Errorf("after it was removed: %s", got)
	}
	over(3, now) // the definition is gone, and this node has not heard of it
	if got := s.states(); got != "up up" {
		t.Errorf("by pools with what was removed: %s", got)
	}
}

// TestViewText: a back end that lingers has a name of its own in a view, and people read
// the one that it had.
func TestViewText(t *testing.T) {
	s := alone(t, FleetOptions{}, mainPool(place.Shared, 2))
	s.login(t, s.userOf(t, "store2"))
	s.update(t, mainPool(place.Shared, 1))
	text := ""
	until(t, "store2 lingers", func() bool {
		s.f.mu.Lock()
		defer s.f.mu.Unlock()
		text = viewText(s.f.table.Pools["main"])
		return strings.Contains(text, "drain")
	})
	if want := "store1=up store2(removed)=drain"; text != want {
		t.Errorf("%q, want %q", text, want)
	}
}

// TestSeatOfOne: the question about one user is answered like that about all.
func TestSeatOfOne(t *testing.T) {
	s := alone(t, FleetOptions{}, mainPool(place.Shared, 2))
	s.login(t, "joe")
	s.login(t, "ann")
	key, _, _, _ := s.f.key("main", "joe")
	all, err := s.f.seatsHere([]byte(`{"pool":"main"}`))
	if err != nil || len(all) != 2 {
		t.Fatalf("all: %v %v", all, err)
	}
	for pool, want := range map[string]int{"main": 1, "other": 0} {
		s.f.mu.Lock()
		one, live := s.f.node.Seat(pool, key)
		s.f.mu.Unlock()
		if live != (want == 1) || live && (one.Key != key || one.Holds != 1 || one != all[0] && one != all[1]) {
			t.Errorf("pool %s: %+v %v, want %d of %+v", pool, one, live, want, all)
		}
	}
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	if u, live := s.f.node.Seat("main", key+1); live {
		t.Errorf("a stranger is %+v", u)
	}
}
