package forward

import (
	"errors"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// errGate means that bytes must not move any more: this node's word about who is
// where does not count.
var errGate = errors.New("the node may not forward any more")

// over says whether a gate is closed.
func over(gate *atomic.Int64) bool {
	until := gate.Load()
	if until == 0 {
		return false
	}
	var ts unix.Timespec
	return unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) == nil && ts.Nano() >= until
}

// guard kills every session once the gate is closed, also those that are quiet. Before
// each turn it is asked again: only the turn that is under way may still move bytes.
func (l *loop) guard() {
	if l.sessions.live > 0 && over(&l.r.gate) {
		l.endAll(Killed, errGate)
	}
}
