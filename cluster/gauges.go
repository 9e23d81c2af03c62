package cluster

import (
	"math"
	"time"

	"usher.example/cluster/table"
)

// Gauges are numbers of a fleet as this node sees it, for monitoring. They are
// cheaper than an Overview, and ask nobody.
type Gauges struct {
	// Lease is how long this node's word still counts; 0 if it does not. A node alone
	// has no end of it: Alone is set, and Lease is 0.
	Lease time.Duration
	Alone bool
	// Views are changes of the back ends that users are placed by, of all pools, Held
	// logins that had to wait, Isolations the times that the lease was lost: all since
	// this node has joined. What happened while it was isolated counts when it is back.
	Views, Held, Isolations uint64
}

// Gauges returns them as they are now.
func (f *Fleet) Gauges() Gauges {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := Gauges{Views: f.viewed.n, Held: f.stats.Held.Load(), Isolations: f.stats.Isolated.Load()}
	switch end := f.node.Deadline(); end {
	case math.MaxInt64:
		g.Alone = true
	default:
		g.Lease = max(time.Duration(end-bootTime()), 0)
	}
	return g
}

// A viewCount counts changes of views. The table numbers them since the fleet began; a
// counter that began there would jump by all of them when a node starts, and whoever
// watches it would see as many changes at once.
type viewCount struct {
	seen map[string]uint64 // epochs of pools at the last look
	n    uint64
}

// look counts what has changed since the last look. A pool that is new has not changed.
func (c *viewCount) look(pools map[string]*table.Pool) {
	now := make(map[string]uint64, len(pools))
	for name, p := range pools {
		now[name] = p.Epoch
		if was, known := c.seen[name]; known && p.Epoch > was {
			c.n += p.Epoch - was
		}
	}
	c.seen = now
}

// countViews counts from when the node has joined, and so has the log as the others
// have it: what it reads of that at its start are no changes. It is called with mu held.
func (f *Fleet) countViews() {
	joined := f.viewed.seen != nil || f.leased && (f.gossip != nil || f.leader != nil)
	if joined {
		f.viewed.look(f.table.Pools)
	}
}
