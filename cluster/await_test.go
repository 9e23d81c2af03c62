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
	var index uint64
	done := make(chan error, 1)
	for waits := false; !waits; {
		until(t, "raft to count what the table has", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.raft.AppliedIndex() < f.applied {
				return false // it does once the table has it
			}
			index = f.applied
			f.applied-- // as while the machine is at it
			return true
		})
		go func() { done <- f.await(index) }() // ends within applyTime
		short := time.NewTimer(50 * time.Millisecond)
		select {
		case err := <-done:
			f.mu.Lock()
			more := f.applied >= index
			f.mu.Unlock()
			if err != nil || !more { // else the next entry came meanwhile
				t.Fatalf("the table is not waited for: %v", err)
			}
		case <-short.C:
			waits = true
		}
		short.Stop()
	}
	f.mu.Lock()
	f.applied = max(f.applied, index)
	f.news()
	f.mu.Unlock()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
