package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"usher.example/cluster/member"
	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// decides is the step that has the last word: the last that waits or refuses, else the
// last that matched.
func decides(e *Explanation) string {
	rule := ""
	for _, s := range e.Steps {
		if s.Rule == ByQueue {
			continue // says what becomes of who waits
		}
		if s.Outcome == place.Waits || s.Outcome == place.Refuses {
			return s.Rule
		}
		if s.Outcome == place.Matched {
			rule = s.Rule
		}
	}
	return rule
}

// explains asks for an explanation, logs in at once and compares. By is the rule that is
// to have the last word.
func (s *sitter) explains(t *testing.T, user, by string) *Explanation {
	t.Helper()
	e, err := s.f.Explain("main", user)
	if err != nil {
		t.Fatal(err)
	}
	if got := decides(&e); got != by {
		t.Errorf("%s: %q has the last word, want %q: %+v", user, got, by, e.Steps)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if !e.Waits {
		ctx = t.Context()
	}
	before := s.f.Stats().Refused.Load()
	backend, why, hold, err := s.f.Place(ctx, "main", user)
	switch {
	case e.Waits:
		if !errors.Is(err, ErrHeld) {
			t.Errorf("%s: explained as one that waits, and got %q by %s, %v", user, backend, why, err)
		}
	case e.Error != "":
		if err == nil || err.Error() != e.Error {
			t.Errorf("%s: explained as refused (%s), and got %q by %s, %v", user, e.Error, backend, why, err)
		}
	default:
		if err != nil || backend != e.Place || why != e.Why {
			t.Errorf("%s: explained as %s by %s, and got %q by %s, %v", user, e.Place, e.Why, backend, why, err)
		}
	}
	if refused := s.f.Stats().Refused.Load() - before; refused > 1 {
		t.Errorf("an explanation was counted as a refusal: %d", refused)
	}
	s.f.Release(hold)
	return &e
}

// Each rule, with the login that follows: what is explained is what happens.
func TestExplain(t *testing.T) {
	open := func(t *testing.T, storage place.Storage) *sitter {
		s := openNode(t, FleetOptions{State: t.TempDir(), KickDelay: 10 * time.Millisecond, Retention: -1, Names: place.Names{LowerCase: true}}, mainPool(storage, 3))
		await(t, s)
		return s
	}
	adjust := func(t *testing.T, s *sitter, backend string, a table.Admin) {
		t.Helper()
		if err := s.f.SetAdmin(t.Context(), "main", backend, a, "test"); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("home", func(t *testing.T) {
		s := open(t, place.Shared)
		for i := range 50 {
			e := s.explains(t, fmt.Sprintf("User%d", i), place.ByHome)
			if e.User != fmt.Sprintf("user%d", i) || len(e.Candidates) != 3 || e.Candidates[0].Name != e.Place || e.Candidates[0].Score >= e.Candidates[1].Score {
				t.Errorf("%+v", e)
			}
		}
	})
	t.Run("pin", func(t *testing.T) {
		s := open(t, place.Shared)
		user := s.userOf(t, "store1")
		if err := s.f.Move(t.Context(), "main", user, "store2", "an administrator"); err != nil {
			t.Fatal(err)
		}
		if e := s.explains(t, user, place.ByPin); e.Pin == nil || e.Pin.Backend != "store2" || e.Place != "store2" {
			t.Errorf("%+v", e)
		}
		adjust(t, s, "store2", table.Draining) // a pin does not count where nobody new is taken
		if e := s.explains(t, user, place.ByHome); e.Place != "store1" {
			t.Errorf("%+v", e)
		}
	})
	t.Run("pins file", func(t *testing.T) {
		s := open(t, place.Shared)
		p := mainPool(place.Shared, 3)
		p.Pins, p.PinsFile = Pins{"joe": "store3"}, "/etc/usher/pins"
		s.update(t, p)
		if e := s.explains(t, "JOE", place.ByPin); e.Pin == nil || !e.Pin.ByFile || e.Pin.File != "/etc/usher/pins" {
			t.Errorf("%+v", e.Pin)
		}
	})
	t.Run("stay", func(t *testing.T) {
		s := open(t, place.Shared)
		user := s.userOf(t, "store1")
		s.login(t, user)
		adjust(t, s, "store1", table.Draining)
		if e := s.explains(t, user, place.ByStay); e.Place != "store1" || e.Live != "store1" {
			t.Errorf("%+v", e)
		}
		other := "x"
		for i := 0; ; i++ {
			other = fmt.Sprintf("other%d", i)
			if e, _ := s.f.Explain("main", other); e.Candidates[0].Name == "store2" {
				break
			}
		}
		e := s.explains(t, other, place.ByHome)
		if last := e.Candidates[2]; last.Name != "store1" || last.Why != "drain" {
			t.Errorf("%+v", e.Candidates)
		}
	})
	t.Run("nobody", func(t *testing.T) {
		s := open(t, place.Shared)
		for _, b := range []string{"store1", "store2", "store3"} {
			adjust(t, s, b, table.Down)
		}
		s.explains(t, "joe", place.ByHome)
	})
	t.Run("local home down", func(t *testing.T) {
		s := open(t, place.Local)
		user := s.userOf(t, "store1")
		adjust(t, s, "store1", table.Down)
		if e := s.explains(t, user, place.ByHome); e.Error == "" || e.Candidates[0].Name != "store1" || e.Candidates[0].Why != "admin down" {
			t.Errorf("%+v", e)
		}
		if err := s.f.Move(t.Context(), "main", user, "store2", "test"); err != nil {
			t.Fatal(err)
		}
		s.explains(t, user, place.ByPin)
		adjust(t, s, "store2", table.Down)
		s.explains(t, user, place.ByPin)
	})
	t.Run("stopping", func(t *testing.T) {
		s := open(t, place.Shared)
		s.f.Leave()
		s.explains(t, "joe", ByStop)
	})
	t.Run("another server of that name", func(t *testing.T) {
		s := open(t, place.Shared)
		user := s.userOf(t, "store1")
		s.f.mu.Lock()
		s.f.here["main"]["store1"] = "elsewhere"
		s.f.mu.Unlock()
		s.explains(t, user, ByServer)
	})
	t.Run("too many wait", func(t *testing.T) {
		s := openNode(t, FleetOptions{State: t.TempDir(), KickDelay: 10 * time.Millisecond, MaxHeld: -1}, mainPool(place.Shared, 3))
		await(t, s)
		user := s.userOf(t, "store1")
		s.f.mu.Lock()
		s.f.here["main"]["store1"] = "elsewhere"
		s.f.mu.Unlock()
		e, err := s.f.Explain("main", user)
		if err != nil || e.Waits || e.Error == "" {
			t.Errorf("%+v, %v", e, err)
		}
		if _, _, _, err := s.f.Place(t.Context(), "main", user); !errors.Is(err, ErrHeld) {
			t.Error(err)
		}
	})
	t.Run("no pool", func(t *testing.T) {
		s := open(t, place.Shared)
		if _, err := s.f.Explain("none", "joe"); !errors.Is(err, ErrNoPool) {
			t.Error(err)
		}
	})
}

// What waits: a user who is moved and a change of the view, held up by sessions that do
// not end, on a fleet of three.
func TestExplainHeld(t *testing.T) {
	slow := make(chan struct{})
	nodes := trio(t, nil)
	for _, s := range nodes {
		s.slow = slow
		await(t, s)
	}
	free := func() { close(slow) }
	defer func() { free() }()
	user := ""
	for i := 0; user == ""; i++ {
		if e, err := nodes[0].f.Explain("main", fmt.Sprintf("user%d", i)); err == nil && e.Place == "store1" {
			user = e.User
		}
	}
	nodes[1].login(t, user)
	moved := make(chan error, 1)
	go func() { moved <- nodes[0].f.Move(t.Context(), "main", user, "store2", "an administrator") }()
	for _, s := range nodes {
		until(t, "the move to begin", func() bool { e, _ := s.f.Explain("main", user); return e.Moving != nil })
	}
	for _, s := range nodes {
		until(t, "two nodes to be done", func() bool {
			e, _ := s.f.Explain("main", user)
			return e.Moving != nil && len(e.Moving.Waits) == 1
		})
		e := s.explains(t, user, table.ByMove)
		if e.Moving.Target != "store2" || e.Moving.Waits[0] != nodes[1].f.o.Node || e.Moving.By != "an administrator" {
			t.Errorf("%+v", e.Moving)
		}
	}
	free()
	free = func() {}
	if err := <-moved; err != nil {
		t.Fatal(err)
	}
	for _, s := range nodes {
		until(t, "the move to be known", func() bool { e, _ := s.f.Explain("main", user); return !e.Waits })
		s.explains(t, user, place.ByPin)
	}
}

// A change of the view holds those whose place it changes, and nobody else.
func TestExplainChange(t *testing.T) {
	slow := make(chan struct{})
	s := openNode(t, FleetOptions{State: t.TempDir(), KickDelay: 10 * time.Millisecond, Retention: -1}, mainPool(place.Shared, 3))
	s.slow = slow
	await(t, s)
	user, other, stays := s.userOf(t, "store1"), "", s.userOf(t, "store2")
	for i := 0; other == ""; i++ {
		if e, err := s.f.Explain("main", fmt.Sprintf("other%d", i)); err == nil && e.Place == "store1" && e.User != user {
			other = e.User
		}
	}
	s.login(t, user)
	done := make(chan error, 1)
	go func() { done <- s.f.SetAdmin(t.Context(), "main", "store1", table.Down, "test") }()
	until(t, "the view to change", func() bool { e, _ := s.f.Explain("main", other); return e.Waits })
	s.explains(t, user, table.ByChange)
	s.explains(t, other, table.ByChange)
	s.explains(t, stays, place.ByHome)
	close(slow)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s.explains(t, other, place.ByHome)
}

// A node that has lost its fleet: one that refuses then, and one that serves on.
func TestExplainIsolated(t *testing.T) {
	for _, strict := range []bool{true, false} {
		t.Run(fmt.Sprint(strict), func(t *testing.T) {
			t.Parallel()
			secret, names := NewSecret(), []string{"edge-1", "edge-2", "edge-3"}
			var nodes []*sitter
			var ends []func()
			var join []string
			for _, name := range names {
				s, end := startNode(t, FleetOptions{
					Fleet: "test", Node: name, Secrets: []Secret{secret}, Bind: "127.0.0.1:0", Join: join, Voters: names,
					State: t.TempDir(), KickDelay: 10 * time.Millisecond, Strict: strict,
				}, mainPool(place.Shared, 3))
				join = append(join, s.f.port.advertise.String())
				nodes, ends = append(nodes, s), append(ends, end)
			}
			for _, s := range nodes {
				await(t, s)
			}
			defer ends[0]()
			ends[1]()
			ends[2]()
			s := nodes[0]
			until(t, "the lease to end", func() bool { return s.f.Overview().Isolated })
			if strict {
				s.explains(t, "joe", member.ByLease)
				return
			}
			e := s.explains(t, "joe", place.ByHome)
			if e.Steps[1].Rule != member.ByLease || e.Place == "" {
				t.Errorf("%+v", e)
			}
		})
	}
}

// An explanation takes no hold and leaves no record.
func TestExplainLeavesNothing(t *testing.T) {
	s := openNode(t, FleetOptions{State: t.TempDir()}, mainPool(place.Shared, 3))
	await(t, s)
	for i := range 100 {
		if _, err := s.f.Explain("main", fmt.Sprintf("user%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	st := s.f.Stats()
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	if records, holds := s.f.node.Counts(); records != 0 || holds != 0 {
		t.Errorf("%d records and %d holds are left", records, holds)
	}
	if n := st.Homes.Load() + st.Pins.Load() + st.Stays.Load(); n != 0 {
		t.Errorf("%d logins are counted", n)
	}
}
