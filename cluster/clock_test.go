package cluster

import (
	"testing"
	"time"
)

// What is done each second is due at the same time, whenever it was begun.
func TestBeat(t *testing.T) {
	t.Parallel()
	for _, every := range []time.Duration{time.Second, 2 * time.Second} {
		before := time.Duration(bootTime())
		wait := Beat(every)
		after := time.Duration(bootTime())
		if due := (after + wait).Truncate(every); wait <= 0 || wait > every || due < before+wait {
			t.Errorf("of each %v the next is in %v, between %v and %v", every, wait, before+wait, after+wait)
		}
	}
}
