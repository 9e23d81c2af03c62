package forward

import (
	"syscall"
	"time"
)

// napAfter is how long nothing has come or gone when a loop stops looking every
// sweepEvery: all that is dropped some time after its use has been dropped then.
const napAfter = aeadSweep + sweepEvery

// longestNap bounds a nap where no session has a time limit.
const longestNap = time.Hour

// nap is how long nothing has to be looked at: until the first session's time is
// over, if all are established ones at rest. Whoever changes a limit pokes the loop.
// What is left to look at while a gate may close stays at sweepEvery.
func (l *loop) nap() time.Duration {
	if !l.rested || l.clock-l.stirred < napAfter || l.r.gate.Load() != 0 {
		return 0
	}
	return time.Duration(l.due - l.clock)
}

// sweep ends sessions whose time is over and drops ciphers that are not used.
func (l *loop) sweep() {
	if l.clock-l.swept < sweepEvery {
		return
	}
	l.swept = l.clock
	l.due = l.clock + int64(longestNap)
	idle, live := l.idle.Load(), l.sessions.live
	for c, ch := range l.sessions.chunks {
		if ch == nil {
			continue
		}
		for i := range ch.slots {
			s := &ch.slots[i]
			if s.gen == 0 {
				continue
			}
			id := int32(c*chunkSize + i)
			switch {
			case s.grace != 0 && l.clock >= s.grace:
				l.end(id, s, s.why, nil)
			case idle > 0 && l.clock-s.last >= idle:
				l.end(id, s, Idle, nil)
			case s.half[0].flags&atEOF != 0 && l.clock-s.last >= int64(halfClosed):
				l.end(id, s, Idle, nil)
			case s.half[1].flags&gone != 0 && l.clock-s.last >= goneTime:
				l.end(id, s, ServerLost, syscall.ECONNRESET) // and its client does not read
			case s.half[1].flags&(hungUp|atEOF) != 0 && l.clock-s.last >= int64(stuckTime):
				l.end(id, s, ServerClosed, nil) // and its client does not take the rest
			case s.grace != 0 || s.half[0].flags&atEOF != 0 || s.half[1].flags&(gone|hungUp|atEOF) != 0:
				l.due = 0
			case idle > 0:
				l.due = min(l.due, s.last+idle)
			}
			if l.sessions.chunks[c] == nil {
				break // that was its last session
			}
		}
	}
	if l.sessions.live != live {
		l.stirred = l.clock
	}
	if l.clock-l.dropped < aeadSweep {
		return
	}
	l.dropped = l.clock
	l.meters.tidy()
	for k, a := range l.aeads {
		if !a.used {
			delete(l.aeads, k)
		}
		a.used = false
	}
}
