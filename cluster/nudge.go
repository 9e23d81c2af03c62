package cluster

import (
	"time"

	"usher.example/cluster/table"
)

// An order is applied by followers when they hear that it is committed, which the
// next entry of the log tells them, or else raft's commit timeout. That is what made
// a fleet at rest talk: with raft's own 50 ms the leader said the same to everybody
// thirteen times a second, and each step of a change or a move waited for it
// nevertheless. So an order is followed by an empty entry, and the timeout is long.
//
// A grant is not followed by one: there is one a second for ever, and each entry is
// a write on every disk.

// commitTime is raft's commit timeout; raft waits up to twice as long. A grant is that
// much older when it is used: with a second each for report and grant, 2.5 s of the
// lease's 8.
const commitTime = 250 * time.Millisecond

// nudge has followers apply an order of ours that is committed. It does not wait.
// While an empty entry is on its way there is at most one more to come: it speaks for
// all orders up to then.
func (f *Fleet) nudge(c table.Command) {
	if _, grant := c.(table.Grant); grant || f.port == nil {
		return
	}
	if f.nudges.Add(1) > 1 {
		return
	}
	go func() { // ends with the fleet at the latest, as every barrier does
		for {
			n := f.nudges.Load()
			_ = f.barrier() // who leads no more has nobody to nudge
			if f.nudges.Add(-n) == 0 {
				return
			}
		}
	}()
}
