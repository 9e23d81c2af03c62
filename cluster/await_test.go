package cluster

import (
	"testing"
	"time"

	"usher.example/cluster/place"
)

// TestAwaitTheTable: an order is waited for until this node's table has it, and not only
// until raft has handed it over, which is what raft's own index counts.
func TestAwaitTheTable(t *testing.T) {
	s := openNode(t, FleetOptions{KickDelay: -1}, mainPool(place.Shared, 1))
	await(t, s)
	f := s.f
	f.mu.Lock()
	index := f.applied
	f.applied-- // as while the machine is at it
	f.mu.Unlock()
	if f.raft.AppliedIndex() < index {
		t.Fatalf("raft counts %d entries, want %d", f.raft.AppliedIndex(), index)
	}
	done := make(chan error, 1)
	go func() { done <- f.await(index) }() // ends within applyTime
	short := time.NewTimer(50 * time.Millisecond)
	defer short.Stop()
	select {
	case err := <-done:
		t.Fatalf("the table is not waited for: %v", err)
	case <-short.C:
	}
	f.mu.Lock()
	f.applied = index
	f.news()
	f.mu.Unlock()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
