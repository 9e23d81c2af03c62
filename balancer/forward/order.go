package forward

import (
	"time"

	"usher.example/balancer/record"
)

// Who has his turn when, and how much he may move in it.

const (
	// aloneBudget and sharedBudget bound a turn, in records: a session alone in its
	// loop may move a mebibyte before events are looked for again, one in company half
	// of that, and all in bulk together one. Each wake-up, of the loop and of those
	// that it sends to, costs as much as tens of kilobytes: with an eighth to a quarter
	// of these sizes a gigabyte took a sixth to a quarter more CPU time. What is spliced
	// costs a quarter: a pipe is moved at once.
	aloneBudget  = 64
	sharedBudget = 32

	// besideBudget is that of bulk, of all its sessions together, while others have been
	// in a dialogue within dialogueNear: who types waits for 64 KiB at most, or for
	// four times as much that is spliced, before the loop looks for events again. That
	// is some 60 µs.
	besideBudget = 4
	besideSplice = 4 * besideBudget * record.MaxPlaintext
	dialogueNear = int64(20 * time.Millisecond)

	// betweenTurns is how many turns of short pieces in a row belong to a session's bulk: the
	// end of a long message, its answer, the next command, what goes before a literal, each of
	// one turn or two. With more it is in a dialogue. Eight sessions in bulk would else
	// have some command beside them all the time, and be held to besideBudget by it.
	betweenTurns = 12

	// betweenTime is how long a session in bulk may pause before what comes next is a dialogue:
	// its client asks for the next message as soon as he has one. Who reads what he has
	// downloaded, and then goes on, is somebody who types.
	betweenTime = int64(500 * time.Millisecond)
)

// turns gives turns to the sessions that stood in the FIFO when it began: first to all
// that are in a dialogue, then to those in bulk. These move a bounded amount together;
// who has not come to his turn then is the first after events have been looked for.
func (l *loop) turns() {
	waiting := l.fifo
	if len(waiting) == 0 {
		return
	}
	if l.clock-l.moved >= yieldEvery {
		l.yielded = l.clock // it has waited, and is not busy yet
	}
	l.moved, l.rested = l.clock, false
	budget, bulk := aloneBudget, waiting[:0]
	if len(waiting) > 1 {
		budget = sharedBudget
	}
	l.fifo, l.spare = l.spare[:0], nil
	for _, w := range waiting {
		s := l.sessions.find(w.id, w.gen)
		if s == nil {
			continue
		}
		if s.streams() {
			bulk = append(bulk, w)
			continue
		}
		if l.clock-s.last > betweenTime {
			s.between = 0
		}
		talks := s.between == 0 && w != l.streamed
		if s.between > 0 {
			s.between--
		}
		if !l.turn(w, s, budget) {
			return
		}
		if talks {
			l.talked = l.clock
		}
	}
	left := aloneBudget
	if l.beside = l.clock-l.talked < dialogueNear; l.beside {
		budget, left = besideBudget, besideBudget
	}
	for i, w := range bulk {
		if left <= 0 {
			bulk = waiting[:copy(waiting, bulk[i:])] // they come first
			l.fifo, waiting = append(bulk, l.fifo...), l.fifo
			break
		}
		if s := l.sessions.find(w.id, w.gen); s != nil {
			l.streamed = w
			if !l.turn(w, s, budget) {
				return
			}
			left -= budget
		}
	}
	l.spare = waiting
}

// turn is that of a session that comes from the FIFO. False means that the gate is
// closed, and all sessions have ended.
func (l *loop) turn(w ref, s *slot, budget int) bool {
	if over(&l.r.gate) {
		l.endAll(Killed, errGate)
		return false
	}
	s.queued = false
	if l.bufs.held > crowded {
		budget = 1
	}
	if l.turnOf(w.id, s, budget) {
		l.queue(w.id, s)
	}
	return true
}
