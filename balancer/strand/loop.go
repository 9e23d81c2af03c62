package strand

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxEvents is how many events are fetched at a time.
	maxEvents = 128

	// maxTurns is how many strands have a turn before events are looked for again: a
	// turn may be a handshake, and who is answered next should have been heard.
	maxTurns = 8

	// enough is how many strands in a loop's queue make it pass new connections on to
	// another loop. Below that one thread serves best: each more that wakes up costs
	// what a third of a plaintext login does.
	enough = 3
)

// A loop runs strands, one at a time. All of it but the inbox and the atomics belongs to
// its goroutine.
type loop struct {
	of   *Loops
	ep   int
	wake int // eventfd
	park park

	conns   []*Conn // by id
	free    []int32
	gen     uint32
	sockets []*Socket // by id
	ready   []*Strand
	idle    []*Strand
	yielded int64 // when others could last run
	nudged  int64 // when those were last looked after who wait in the runtime's poller
	begun   int64 // when a strand was last given a job
	busy    int   // strands that have one, and have not left
	nearest int64 // no wait is over before; 0: none ever
	events  [maxEvents]unix.EpollEvent
	load    atomic.Int32 // strands in the queue and orders, for other loops

	mu    sync.Mutex // guards what follows
	inbox []func()
	seen  []*Conn // whose deadlines have been set while they were waited for
	rung  bool    // the eventfd has been written to

	over bool // the loop's own
}

// Events of the eventfd have wakeID, those of a socket socketID less its own.
const (
	wakeID   = -1
	socketID = -2
)

// run is the loop.
func (l *loop) run() {
	defer l.close()
	for {
		for _, ev := range l.wait() {
			l.event(ev)
		}
		l.expire()
		l.turns()
		if l.over && l.busy == 0 {
			l.lay()
			return
		}
	}
}

func (l *loop) event(ev unix.EpollEvent) {
	switch {
	case ev.Fd == wakeID:
		l.orders()
	case ev.Fd <= socketID:
		l.accept(l.sockets[socketID-ev.Fd])
	default:
		c := l.conns[ev.Fd]
		if c == nil || c.gen != uint32(ev.Pad) {
			return // closed in the meantime
		}
		hears := uint32(unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLERR | unix.EPOLLHUP)
		if c.s.write {
			hears = unix.EPOLLOUT | unix.EPOLLERR | unix.EPOLLHUP
		}
		if ev.Events&hears != 0 && c.s.waits.Load() == c {
			l.queue(c.s)
		}
	}
}

func (l *loop) queue(s *Strand) {
	if !s.queued {
		s.queued = true
		l.ready = append(l.ready, s)
		l.load.Add(1)
	}
}

// turns resumes strands, in the order in which they became ready.
func (l *loop) turns() {
	n := min(len(l.ready), maxTurns)
	for i := range n {
		l.nudge()
		s := l.ready[i]
		s.queued = false
		l.load.Add(-1)
		l.resume(s)
	}
	rest := copy(l.ready, l.ready[n:])
	clear(l.ready[rest:])
	l.ready = l.ready[:rest]
}

// nudge has those run for whom something has come, while the loop is busy.
func (l *loop) nudge() {
	if l.of.nudge == nil {
		return
	}
	clock := now()
	if clock-l.nudged < nudgeEvery {
		return
	}
	l.nudged = clock
	if l.of.nudge() {
		l.yield()
	}
}

// resume goes on with a strand until it waits, leaves or has done its job.
func (l *loop) resume(s *Strand) {
	s.calls = 0
	s.next()
	switch {
	case s.left:
		l.busy--
		go s.next()   // to its end
		l.yielded = 0 // it is to run, also if there is no other processor
	case s.idle && len(l.idle) < maxIdle:
		l.busy--
		l.idle = append(l.idle, s)
		l.arm(l.begun + idleTime)
	case s.idle:
		l.busy--
		s.halt()
	}
}

// lay gives up the strands that have nothing to do.
func (l *loop) lay() {
	for _, s := range l.idle {
		s.halt()
	}
	clear(l.idle)
	l.idle = l.idle[:0]
}

// start gives a new strand its job.
func (l *loop) start(s *Strand, job func(*Strand)) {
	l.begun = now()
	l.busy++
	s.job, s.idle = job, false
	l.queue(s)
}

// strand is one without a job.
func (l *loop) strand() *Strand {
	if n := len(l.idle); n > 0 {
		s := l.idle[n-1]
		l.idle[n-1], l.idle = nil, l.idle[:n-1]
		return s
	}
	return l.newStrand()
}

// add gives a connection to a strand of the loop.
func (l *loop) add(s *Strand, c *Conn) {
	if n := len(l.free); n > 0 {
		c.id, l.free = l.free[n-1], l.free[:n-1]
	} else {
		c.id = int32(len(l.conns))
		l.conns = append(l.conns, nil)
	}
	l.gen++
	c.s, c.gen = s, l.gen
	l.conns[c.id] = c
	s.conns = append(s.conns, c)
}

// drop forgets a connection whose descriptor is about to be another's. The strand's
// own goroutine calls it, while the loop waits for it.
func (l *loop) drop(c *Conn, fd int) {
	if c.watched {
		c.watched = false
		_ = ctlNow(l.ep, unix.EPOLL_CTL_DEL, fd, nil)
	}
	l.conns[c.id] = nil
	l.free = append(l.free, c.id)
	c.s.forget(c)
}

// tick is how exact deadlines are, in nanoseconds.
const tick = int64(8 * time.Millisecond)

// arm notes when a wait will be over.
func (l *loop) arm(until int64) {
	if until == 0 {
		return
	}
	// Up to a tick later: deadlines of clients who came together are one look at all.
	if until = (until/tick + 1) * tick; l.nearest == 0 || until < l.nearest {
		l.nearest = until
	}
}

// expire resumes those whose wait is over. It looks at all of them, but only when the
// nearest deadline has passed that any had: mostly one of a login that has long ended.
func (l *loop) expire() {
	if l.nearest == 0 {
		return
	}
	clock := now()
	if clock < l.nearest {
		return
	}
	l.nearest = 0
	if len(l.idle) > 0 {
		if clock-l.begun >= idleTime {
			l.lay()
		} else {
			l.arm(l.begun + idleTime)
		}
	}
	for _, c := range l.conns {
		if c == nil || c.s.waits.Load() != c {
			continue
		}
		if c.s.until != 0 && c.s.until <= clock {
			l.queue(c.s)
			continue
		}
		l.arm(c.s.until)
	}
}
