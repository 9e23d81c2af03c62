package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// TestLargeEntriesHoldUpNobody: to read large values out of the log takes long, and
// logins do not wait for it.
func TestLargeEntriesHoldUpNobody(t *testing.T) {
	s := alone(t, FleetOptions{}, mainPool(place.Shared, 1))
	const many = 32
	batch := make([]*raft.Log, many)
	for i := range batch {
		c := table.Put{Key: fmt.Sprint("big/", i), Base: 1 << 62, By: "x", Sealed: make([]byte, table.MaxValue)}
		batch[i] = &raft.Log{Type: raft.LogCommand, Index: s.f.Overview().Applied, Term: 1, Data: sealEntry(table.Encode(c))}
	}
	done := make(chan time.Duration)
	go func() {
		began := time.Now()
		for _, answer := range (*machine)(s.f).ApplyBatch(batch) {
			if answer != nil {
				t.Errorf("a value is not stored: %v", answer)
			}
		}
		done <- time.Since(began)
	}()
	var longest time.Duration
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case took := <-done:
			if t.Logf("%v in all, the lock was waited for %v", took, longest); longest > took/3 {
				t.Errorf("of %v for %d values the lock was waited for %v", took, many, longest)
			}
			return
		case <-tick.C:
			began := time.Now()
			s.f.mu.Lock()
			longest = max(longest, time.Since(began))
			s.f.mu.Unlock()
		}
	}
}
