package cluster

import (
	"fmt"
	"testing"
	"time"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// pinOf is a user's pin, empty for none.
func (s *sitter) pinOf(t *testing.T, user string) string {
	t.Helper()
	w, err := s.f.Where("main", user)
	if err != nil {
		t.Fatal(err)
	}
	return w.Pin
}

func (s *sitter) setPins(t *testing.T, pins Pins) {
	t.Helper()
	p := mainPool(place.Shared, 3)
	p.Pins = pins
	if err := s.f.Update([]Pool{p}); err != nil {
		t.Fatal(err)
	}
}

// A pin of the file ends with its line, one of an administrator does not, and his
// comes first.
func TestPinsFile(t *testing.T) {
	s := openNode(t, FleetOptions{State: t.TempDir(), KickDelay: -1, Names: place.Names{LowerCase: true}}, mainPool(place.Shared, 3))
	await(t, s)
	pinned := func(user, backend string) {
		t.Helper()
		until(t, user+" to be pinned to "+backend, func() bool { return s.pinOf(t, user) == backend })
	}
	s.setPins(t, Pins{"JOE": "store1", "ann": "store1", "bob": "store1"})
	pinned("joe", "store1")
	pinned("ann", "store1")
	pinned("bob", "store1")
	if err := s.f.Move(t.Context(), "main", "bob", "store2", "test"); err != nil {
		t.Fatal(err)
	}
	if err := s.f.Move(t.Context(), "main", "eve", "store3", "test"); err != nil {
		t.Fatal(err)
	}
	s.setPins(t, Pins{"ann": "store2", "bob": "store1"})
	pinned("joe", "")
	pinned("ann", "store2")
	s.setPins(t, nil)
	pinned("ann", "")
	s.setPins(t, Pins{"bob": "store1"})
	if err := s.f.Move(t.Context(), "main", "bob", "", "test"); err != nil { // lets go of him
		t.Fatal(err)
	}
	s.setPins(t, Pins{"bob": "store1"})
	pinned("bob", "store1")
	if err := s.f.Move(t.Context(), "main", "bob", "store2", "test"); err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]string{"bob": "store2", "eve": "store3"} {
		if got := s.pinOf(t, user); got != want {
			t.Errorf("%s, whom an administrator pinned to %s, is pinned to %q", user, want, got)
		}
	}
}

// Nobody is unpinned while nodes have different files: one may be an old one.
func TestPinsFilesDiffer(t *testing.T) {
	nodes := trio(t, nil)
	for _, s := range nodes {
		await(t, s)
		s.setPins(t, Pins{"joe": "store2"})
	}
	until(t, "joe to be pinned", func() bool { return nodes[0].pinOf(t, "joe") == "store2" })
	var leader *sitter
	until(t, "a leader", func() bool {
		for _, s := range nodes {
			s.f.mu.Lock()
			if s.f.leader != nil {
				leader = s
			}
			s.f.mu.Unlock()
		}
		return leader != nil
	})
	leader.setPins(t, Pins{"ann": "store3"})
	until(t, "ann to be pinned", func() bool { return nodes[0].pinOf(t, "ann") == "store3" })
	if got := leader.pinOf(t, "joe"); got != "store2" {
		t.Errorf("joe is pinned to %q while two nodes have him in their files", got)
	}
	for _, s := range nodes {
		s.setPins(t, nil)
	}
	until(t, "all to be unpinned", func() bool { return nodes[1].pinOf(t, "joe") == "" && nodes[1].pinOf(t, "ann") == "" })
}

// TestPinsBeforeTheFirst: nobody is placed by the hash whom the file pins, and a
// change of it closes nobody.
func TestPinsBeforeTheFirst(t *testing.T) {
	const many = 3*table.MaxListed + 5
	p := mainPool(place.Local, 3)
	p.Pins = make(Pins, many)
	for i := range many {
		p.Pins[fmt.Sprintf("user%d", i)] = "store3"
	}
	o := FleetOptions{State: t.TempDir(), KickDelay: -1}
	s, end := startNode(t, o, p)
	await(t, s)
	for _, i := range []int{0, many / 2, many - 1} {
		if b, why := s.login(t, fmt.Sprintf("user%d", i)); b != "store3" || why != place.ByPin {
			t.Errorf("user%d is on %s by %s, want store3 by pin", i, b, why)
		}
	}
	p.Pins = Pins{"user0": "store1"}
	s.update(t, p)
	if s.count() != 3 {
		t.Errorf("%d sessions, want all three", s.count())
	}
	if b, why := s.visit(t, "user0"); b != "store3" || why != place.ByStay {
		t.Errorf("user0 is on %s by %s, want store3, where he is", b, why)
	}
	if n := s.f.Overview().Pins; n != 1 {
		t.Errorf("%d pins, want one", n)
	}
	end()
	s = openNode(t, o, p)
	await(t, s)
	if b, why := s.visit(t, "user0"); b != "store1" && why != place.ByStay {
		t.Errorf("after a restart: %s by %s, want store1, or where he was", b, why)
	}
}

// Files that differ are worth a warning after a while, and one.
func TestPinsDiffer(t *testing.T) {
	var p filed
	begin := time.Now()
	for i, tt := range []struct {
		yes  bool
		at   time.Duration
		want bool
	}{
		{true, 0, false},
		{true, pinsDiffer - 1, false},
		{true, pinsDiffer, true},
		{true, 2 * pinsDiffer, false},
		{false, 3 * pinsDiffer, false},
		{true, 4 * pinsDiffer, false},
		{true, 5 * pinsDiffer, true},
	} {
		if got := p.differ(tt.yes, begin.Add(tt.at)); got != tt.want {
			t.Errorf("%d: got %v, want %v", i, got, tt.want)
		}
	}
}
