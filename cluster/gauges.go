package cluster

import (
	"math"
	"time"
)

// Gauges are numbers of a fleet as this node sees it, for monitoring. They are
// cheaper than an Overview, and ask nobody.
type Gauges struct {
	// Lease is how long this node's word still counts; 0 if it does not. A node alone
	// has no end of it: Alone is set, and Lease is 0.
	Lease time.Duration
	Alone bool
	// Views is the sum of the pools' views up to now: it grows by one with each
	// change of the back ends that users are placed by. It is the same on all nodes.
	Views uint64
	// Held are logins that had to wait, Isolations the times that the lease was lost,
	// since the start of this node.
	Held, Isolations uint64
}

// Gauges returns them as they are now.
func (f *Fleet) Gauges() Gauges {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := Gauges{Held: f.stats.Held.Load(), Isolations: f.stats.Isolated.Load()}
	switch end := f.node.Deadline(); end {
	case math.MaxInt64:
		g.Alone = true
	default:
		g.Lease = max(time.Duration(end-bootTime()), 0)
	}
	for _, p := range f.table.Pools {
		g.Views += p.Epoch
	}
	return g
}
