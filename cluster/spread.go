package cluster

import "usher.example/cluster/table"

// Raft's followers learn that an entry is committed by the next one, or by a look
// every 50 to 100 ms. Nodes and users wait for that twice in a move: from its order
// to the first session that is closed, and from its end to the first login that goes
// on. So the leader lets an empty entry follow on those that somebody waits for; the
// look itself is not made more frequent, as it is taken at rest as well.

// awaited says whether nodes have to act on a command at once.
func awaited(c table.Command) bool {
	switch c.(type) {
	case table.Start, table.Placed, table.Prepare, table.Activate:
		return true
	}
	return false
}

// spread has followers learn soon of what was committed up to now. Many such wishes
// become one entry.
func (f *Fleet) spread() {
	select {
	case f.spreads <- struct{}{}:
	default:
	}
}

// follow writes the empty entries.
func (f *Fleet) follow() {
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-f.spreads:
			_ = f.barrier() // who does not lead any more has nothing to spread
		}
	}
}
