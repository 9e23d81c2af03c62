package cluster

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// TestLostLock: who has lost a lock is told so when he asks, stores or unlocks it, and
// takes nothing from who has it now. Names are forgotten when nobody uses them.
func TestLostLock(t *testing.T) {
	s := alone(t, FleetOptions{}, mainPool(place.Shared, 1))
	if err := s.f.Lock(t.Context(), "l"); err != nil {
		t.Fatal(err)
	}
	if err := s.f.PutUnder(t.Context(), "l", "a", []byte("by its holder")); err != nil {
		t.Fatal(err)
	}
	s.f.mu.Lock()
	is, term, life := s.f.table.Locks["l"], s.f.leader.Term(), s.f.node.Life()
	s.f.mu.Unlock()
	for _, c := range []table.Command{
		table.Break{Term: term, Name: "l", Nonce: is.Nonce, Beat: is.Beat},
		table.Take{Name: "l", Node: s.f.o.Node, Life: life, Nonce: 7}, // by another
	} {
		if err := s.f.propose(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.f.Holds("l"); !errors.Is(err, ErrLockLost) {
		t.Errorf("who has lost it: %v", err)
	}
	put(t, s, "a", "by the next holder")
	if err := s.f.PutUnder(t.Context(), "l", "a", []byte("late")); !errors.Is(err, ErrLockLost) {
		t.Errorf("who stores under what he has lost: %v", err)
	}
	if err := s.f.RemoveUnder(t.Context(), "l", "a"); !errors.Is(err, ErrLockLost) {
		t.Errorf("who deletes under what he has lost: %v", err)
	}
	has(t, s, "a", "by the next holder")
	if err := s.f.Unlock(t.Context(), "l"); !errors.Is(err, ErrLockLost) {
		t.Errorf("who unlocks what he has lost: %v", err)
	}
	s.f.mu.Lock()
	nonce := s.f.table.Locks["l"].Nonce
	s.f.mu.Unlock()
	if nonce != 7 {
		t.Errorf("the other's lock has the nonce %d", nonce)
	}
	if err := s.f.Unlock(t.Context(), "l"); !errors.Is(err, errLockNotHeld) {
		t.Errorf("and again: %v", err)
	}
	if n := len(s.f.locks.by); n != 0 {
		t.Errorf("%d names are left", n)
	}
}

// TestLockInTheNode: a name that is none is refused at once, and who waits for his turn
// within the node sees the end of the fleet.
func TestLockInTheNode(t *testing.T) {
	s, end := startNode(t, FleetOptions{}, mainPool(place.Shared, 1))
	await(t, s)
	for _, name := range []string{"", "l\xff", strings.Repeat("l", table.MaxLockName+1)} {
		if err := s.f.Lock(t.Context(), name); err == nil {
			t.Errorf("%.20q is locked", name)
		}
		if _, err := s.f.TryLock(t.Context(), name); err == nil {
			t.Errorf("%.20q is tried", name)
		}
	}
	if err := s.f.Lock(t.Context(), "l"); err != nil {
		t.Fatal(err)
	}
	waits := make(chan error, 1)
	go func() { waits <- s.f.Lock(context.WithoutCancel(t.Context()), "l") }()
	until(t, "it to wait", func() bool {
		s.f.locks.mu.Lock()
		defer s.f.locks.mu.Unlock()
		return s.f.locks.by["l"].users == 2
	})
	end()
	select {
	case err := <-waits:
		if err == nil {
			t.Error("it has the lock of a fleet that has ended")
		}
	case <-time.After(patience):
		t.Error("it waits for ever")
	}
}
