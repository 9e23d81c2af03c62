package cluster

import (
	"context"
	"testing"
	"time"

	"usher.example/cluster/place"
)

// abandon runs a node until it is killed.
func abandon(t *testing.T, o FleetOptions, work func(s *sitter), pools ...Pool) {
	t.Helper()
	s := &sitter{sessions: make(map[uint64]string)}
	o.Local, o.Log = s, testLog(t)
	f, err := OpenFleet(o)
	if err != nil {
		t.Fatal(err)
	}
	s.f = f
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx) }() // ends with stop
	if err := f.Update(pools); err != nil {
		t.Fatal(err)
	}
	await(t, s)
	work(s)
	stop()
	<-done
	f.Abandon()
}

// TestHostIsRenamed: a node that is alone is called after its host; it is the same
// when that is called otherwise, and when it becomes the first of a fleet.
func TestHostIsRenamed(t *testing.T) {
	o := FleetOptions{Node: "old", State: t.TempDir(), KickDelay: 50 * time.Millisecond}
	pool := mainPool(place.Shared, 3)
	abandon(t, o, func(s *sitter) {
		if err := s.f.Move(t.Context(), "main", "joe", "store2", "test"); err != nil {
			t.Fatal(err)
		}
	}, pool)
	o.Node = "new"
	abandon(t, o, func(s *sitter) {
		until(t, "the node to lead", func() bool { o := s.f.Overview(); return o.Quorum && !o.Isolated })
		if err := s.f.Move(t.Context(), "main", "ann", "store3", "test"); err != nil {
			t.Fatal(err)
		}
	}, pool)
	o.Fleet, o.Node, o.Secrets, o.Bind, o.Voters = "test", "edge-1", []Secret{NewSecret()}, "127.0.0.1:0", []string{"edge-1"}
	s := openNode(t, o, pool)
	await(t, s)
	for user, want := range map[string]string{"joe": "store2", "ann": "store3"} {
		if b, why := s.login(t, user); b != want || why != place.ByPin {
			t.Errorf("%s is on %s by %s, want %s by pin", user, b, why, want)
		}
	}
	until(t, "the map key to be sealed", func() bool {
		s.f.mu.Lock()
		defer s.f.mu.Unlock()
		_, fresh, err := s.f.openMapKey(s.f.table.Settings.MapKey)
		return err == nil && fresh
	})
	o.Node, o.Join, o.State = "edge-2", []string{s.f.port.advertise.String()}, t.TempDir()
	second := openNode(t, o, pool)
	await(t, second)
	if b, why := second.login(t, "joe"); b != "store2" || why != place.ByPin {
		t.Errorf("on the second node joe is on %s by %s", b, why)
	}
}

// TestRecoverAfterACrash: what is in the log and in no snapshot is not lost.
func TestRecoverAfterACrash(t *testing.T) {
	o := FleetOptions{Node: "edge-1", State: t.TempDir(), KickDelay: -1}
	abandon(t, o, func(s *sitter) {
		if err := s.f.Move(t.Context(), "main", "joe", "store2", "test"); err != nil {
			t.Fatal(err)
		}
	}, mainPool(place.Shared, 3))
	for _, force := range []bool{true, false} {
		left, err := Recover(o.State, "edge-1", force)
		if err != nil {
			t.Fatal(err)
		}
		if left.Pins != 1 || left.Last == 0 {
			t.Errorf("force %v: got %+v, want the pin", force, left)
		}
	}
	s := openNode(t, o, mainPool(place.Shared, 3))
	await(t, s)
	if b, why := s.login(t, "joe"); b != "store2" || why != place.ByPin {
		t.Errorf("joe is on %s by %s, want store2 by pin", b, why)
	}
}
