package forward

import (
	"context"
	"crypto/cipher"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"usher.example/balancer/record"
)

const (
	// maxEvents is how many events are fetched at a time.
	maxEvents = 256

	// sweepEvery is the time between two looks at all sessions, for their time
	// limits. A look at 100,000 of them takes less than a millisecond.
	sweepEvery = int64(250 * time.Millisecond)

	// goneTime is how long a client may take nothing of what a back end sent
	// before it was reset. The death of a back end is seen within a second or so.
	goneTime = int64(time.Second)

	// yieldEvery is how long a busy loop goes on before it lets Go's scheduler count
	// a new turn. The scheduler's monitor takes the processor away from a goroutine
	// that has had it for ten milliseconds as soon as it is in a system call, and
	// looks every twenty microseconds while it finds somebody to do that to: an eighth
	// of all CPU time of short messages.
	yieldEvery = int64(8 * time.Millisecond)

	// maxAEADs bounds the ciphers that a loop keeps ready, at 0.8 KiB each.
	// Keys of idle sessions lie in the slab, where they take a tenth of that.
	maxAEADs = 4096

	// aeadSweep is how long a cipher may be unused before it is dropped, and the
	// account of an ended session before it may be forgotten. To make one anew takes a
	// microsecond; after a storm they are more than all the sessions themselves.
	aeadSweep = int64(2 * time.Second)

	// crowded is how many octets of pending buffers make a loop read one record
	// at a time, for everybody: clients that do not read cannot pin more than a
	// record each from then on. Some hundred bulk transfers to slow clients may
	// have a turn's output pending before it comes to that.
	crowded = 32 << 20

	// notSent bounds what the kernel holds unsent for a client that does not
	// read; measured, it costs no throughput under TLS. Clients without TLS get
	// here only where the operator lets them in, and are left as the kernel has
	// them, as with Copy: spliced data would go in smaller pieces.
	notSent = 128 << 10
)

// An order is what others want of a loop.
type order struct {
	adopt *adoption
	kill  ref    // a meter
	look  func() // of a test, into the loop

	export   ref // a meter
	exported chan<- exported
}

type adoption struct {
	meter int32
	pair  Pair
	fd    [2]int
	flag  [2]uint16 // what is known already: opening, sealing; of a resumed session also atEOF, shut
	err   error

	resumed bool // by Resume, with what follows
	raw     [2][]byte
	noted   bool
	why     End
}

// A loop moves the bytes of its sessions. All of it but the inbox and the
// atomics belongs to the goroutine in run.
type loop struct {
	r       *Reactor
	ep      int
	park    park
	wake    int // eventfd
	idle    atomic.Int64
	spliced atomic.Uint64

	mu     sync.Mutex // guards what follows
	inbox  []order
	over   bool // nobody looks into the inbox any more
	called bool // has been woken since it last looked for orders
	waits  waits

	meters meters // for everybody

	sessions slab
	keys     keySlab
	gen      uint32
	fifo     []ref // sessions that have something to do, in order
	spare    []ref // the room of the fifo before
	bufs     pool
	pipes    pipes
	aeads    map[aeadKey]*aead
	swept    int64
	dropped  int64
	clock    int64
	adopted  int64 // when a session last came
	stirred  int64 // when something last came or went
	due      int64 // when the next session's time is over, by the last sweep; 0: soon
	locked   bool  // to a thread of its own
	moved    int64 // when a session last had a turn
	talked   int64 // when one last had that is in a dialogue
	streamed ref   // the one that last had in bulk
	beside   bool  // there are both
	yielded  int64 // when the scheduler last had one, or the loop began to be busy
	rested   bool  // since then what was spare has been given back

	seal []byte // slots side by side
	open []byte
	iov  [][]byte
}

type aeadKey struct {
	id     int32 // in keys
	sealed bool  // for sealing, not opening
}

type aead struct {
	cipher.AEAD
	updates uint32
	used    bool
}

func newLoop(r *Reactor) (*loop, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(ep, true); err != nil { // or the runtime would not watch it
		_ = unix.Close(ep)
		return nil, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(ep)
		return nil, err
	}
	l := &loop{r: r, ep: ep, wake: wake, aeads: make(map[aeadKey]*aead), rested: true}
	const slotLen = record.MaxRecord
	if l.seal, err = newArena(aloneBudget * slotLen); err == nil {
		l.open, err = newArena(aloneBudget * slotLen)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	// The wake-up's data is no session's: its generation is 0.
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *loop) close() {
	_ = unix.Close(l.wake)
	l.park.close()
	_ = unix.Close(l.ep)
	for _, arena := range [][]byte{l.seal, l.open} {
		if arena != nil {
			_ = unix.Munmap(arena)
		}
	}
	l.seal, l.open = nil, nil
}

// tell puts an order into the inbox. False means that the loop takes none any
// more; what was to be adopted has been turned away then.
func (l *loop) tell(o order) bool {
	l.mu.Lock()
	over := l.over
	if !over {
		l.inbox = append(l.inbox, o)
		l.wakeUp()
	}
	l.mu.Unlock()
	if over && o.adopt != nil {
		l.turnAway(o.adopt)
	}
	return !over
}

// poke makes the loop look around.
func (l *loop) poke() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.wakeUp()
	}
}

// run is the loop.
func (l *loop) run(ctx context.Context) {
	defer l.lock(false)
	for {
		l.yield()
		events := l.wait()
		l.clock = now()
		if len(events) > 0 {
			l.stirred = l.clock // orders may come without
		}
		for _, ev := range events {
			l.event(ev)
		}
		l.orders()
		if ctx.Err() != nil {
			l.killAll()
			return
		}
		l.guard()
		l.turns()
		l.sweep()
		l.unmap()
		l.rest()
	}
}

// yield lets the scheduler have its turn, see yieldEvery. It does so where the
// loop would wait anyway: there is nothing that somebody else could hold up. A
// loop that waits in the runtime's poller gives it turns anyway.
func (l *loop) yield() {
	if l.locked && len(l.fifo) == 0 && l.moved-l.yielded >= yieldEvery {
		l.yielded = l.moved
		runtime.Gosched()
	}
}

// patience is how long to wait for events: zero not at all, below that for ever.
func (l *loop) patience() time.Duration {
	switch {
	case len(l.fifo) > 0:
		return 0
	case l.sessions.live == 0 && l.rested:
		return -1
	}
	return max(time.Duration(sweepEvery), l.nap())
}

func (l *loop) event(ev unix.EpollEvent) {
	gen := uint32(ev.Pad)
	if gen == 0 {
		var b [8]byte
		_, _ = unix.Read(l.wake, b[:])
		return
	}
	id, side := ev.Fd>>1, ev.Fd&1
	s := l.sessions.find(id, gen)
	if s == nil {
		return
	}
	h := &s.half[side]
	if ev.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		// A back end that is reset may have sent its last words before: they are
		// read first, and the error comes behind them. A client's are of no use.
		h.flags |= canRead | canWrite | hungUp
		if side == 0 {
			if errno, err := unix.GetsockoptInt(int(h.fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && errno != 0 {
				l.failRead(id, s, 0, h.fault(syscall.Errno(errno)))
				return
			}
		} else if ev.Events&unix.EPOLLERR != 0 {
			h.flags |= gone
		}
	}
	if ev.Events&unix.EPOLLIN != 0 {
		h.flags |= canRead
	}
	if ev.Events&unix.EPOLLRDHUP != 0 {
		h.flags |= canRead | hungUp
	}
	if ev.Events&unix.EPOLLOUT != 0 {
		h.flags |= canWrite
	}
	l.queue(id, s)
}

func (l *loop) queue(id int32, s *slot) {
	if !s.queued {
		s.queued = true
		l.fifo = append(l.fifo, ref{id, s.gen})
	}
}

// orders takes what is in the inbox.
func (l *loop) orders() {
	l.mu.Lock()
	inbox, called := l.inbox, l.called
	l.inbox, l.called = nil, false
	l.mu.Unlock()
	if called {
		l.stirred = l.clock // an order may change when the next session's time is over
	}
	for _, o := range inbox {
		switch {
		case o.adopt != nil:
			l.adopt(o.adopt)
			continue
		case o.look != nil:
			o.look()
			continue
		case o.exported != nil:
			h, err := l.export(o.export)
			o.exported <- exported{h, err}
			continue
		}
		if id := l.meters.slotOf(o.kill); id != none {
			l.end(id, l.sessions.at(id), Killed, nil)
		}
	}
}

// adopt makes a session of a pair.
func (l *loop) adopt(a *adoption) {
	for _, c := range []Conn{a.pair.Client, a.pair.Server} {
		if a.err == nil && c.Secured != nil && len(c.Secured.Ciphertext) > record.MaxRecord {
			a.err = errCiphertext
		}
	}
	if a.err != nil {
		a.forget()
		l.r.finish(l.meters.give(a.meter, Result{End: ServerLost, Err: a.err}))
		return
	}
	if l.gen++; l.gen == 0 {
		l.gen = 1 // 0 is nobody
	}
	l.adopted = l.clock
	id, s := l.sessions.take()
	s.gen, s.last, s.meter = l.gen, l.clock, a.meter
	l.meters.seat(a.meter, id)
	conns := [2]Conn{a.pair.Client, a.pair.Server}
	for side := range s.half {
		h := &s.half[side]
		*h = half{fd: int32(a.fd[side]), tls: none, in: none, out: none, pipe: none, window: 1, flags: canWrite | a.flag[side]}
		if a.flag[side]&opening != 0 {
			h.flags |= canRead // the kernel looks for records only when it is asked, or more comes
		}
		if sec := conns[side].Secured; sec != nil {
			var k *secured
			h.tls, k = l.keys.take()
			k.r, k.w = sec.Reader, sec.Writer
			sec.Reader, sec.Writer = record.Reader{}, record.Writer{}
			if sec.Closed {
				h.flags |= atEOF
			}
			if len(sec.Ciphertext) > 0 {
				h.in = l.bufs.keep(sec.Ciphertext)
				h.flags |= stale
			}
		}
	}
	if s.half[0].tls != none {
		_ = unix.SetsockoptInt(a.fd[0], unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSent)
	}
	for side, fd := range a.fd {
		ev := s.events(id, side)
		if err := unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, fd, &ev); err != nil { // what is there to be read is an event
			l.end(id, s, lost(side), err)
			return
		}
	}
	if a.resumed {
		s.last, s.noted, s.why = l.meters.at(a.meter).last.Load(), a.noted, a.why
		for side, p := range a.raw {
			if len(p) > 0 {
				s.half[side].out = l.bufs.keep(p)
				clear(p)
			}
		}
	}
	if !l.give(id, s, 0, a.pair.ToClient) || !l.give(id, s, 1, a.pair.ToServer) {
		return
	}
	l.queue(id, s)
}

// events are those that a loop wants to hear of a side: of room for output only where there was
// none once, which most sessions never come to. Each adoption would begin with two more.
func (s *slot) events(id int32, side int) unix.EpollEvent {
	ev := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff,
		Fd:     id<<1 | int32(side), Pad: int32(s.gen),
	}
	if s.half[side].flags&awaits != 0 {
		ev.Events |= unix.EPOLLOUT
	}
	return ev
}

// full notes that a side takes no more. There is an event when it does, also if that is by now.
func (l *loop) full(id int32, s *slot, side int) {
	h := &s.half[side]
	h.flags &^= canWrite
	if h.flags&awaits == 0 {
		h.flags |= awaits
		ev := s.events(id, side)
		_ = unix.EpollCtl(l.ep, unix.EPOLL_CTL_MOD, int(h.fd), &ev) // no error: it is in there, and ours
	}
}

// forget closes and wipes what was to be adopted.
func (a *adoption) forget() {
	for _, fd := range a.fd {
		if fd != none {
			_ = unix.Close(fd)
		}
	}
	for _, c := range []Conn{a.pair.Client, a.pair.Server} {
		if c.Secured != nil {
			c.Secured.Reader.Wipe()
			c.Secured.Writer.Wipe()
		}
	}
	for _, p := range [][]byte{a.pair.ToClient, a.pair.ToServer, a.raw[0], a.raw[1]} {
		clear(p)
	}
}

// errCiphertext means that more was read ahead than a part of a record.
var errCiphertext = errors.New("more than a record was read ahead")

// give puts bytes that were read before the adoption ahead of everything.
// False means that the session has ended.
func (l *loop) give(id int32, s *slot, side int, data []byte) bool {
	if len(data) == 0 {
		return true
	}
	l.count(id, side, len(data))
	h := &s.half[side]
	out := data
	if h.seals() {
		err := l.rekey(h, l.keys.at(h.tls), len(data)/record.MaxPlaintext+1)
		if err == nil {
			out, err = l.sealTo(nil, h, data)
		}
		if err != nil {
			l.end(id, s, lost(side), err)
			return false
		}
	}
	if h.out != none {
		l.bufs.more(h.out, out)
	} else {
		h.out = l.bufs.keep(out)
	}
	clear(data) // it may hold mail or, after a refused login, a password
	return true
}

// count adds to what was moved towards a side: 0 the client, 1 the server.
func (l *loop) count(id int32, side, n int) {
	s := l.sessions.at(id)
	m := l.meters.at(s.meter)
	if side == 0 {
		m.out.Add(uint64(n))
	} else {
		m.in.Add(uint64(n))
	}
	m.last.Store(l.clock)
	s.last = l.clock
	if src := &s.half[1-side]; n < shortMessage {
		src.flags &^= streams
	} else {
		src.flags |= streams
		s.between = betweenTurns
	}
}

// lost is the end of a session whose side has failed.
func lost(side int) End {
	if side == 0 {
		return ClientLost
	}
	return ServerLost
}

// turnAway ends a session that came too late.
func (l *loop) turnAway(a *adoption) {
	a.forget()
	if e := l.meters.give(a.meter, Result{End: Killed, Err: a.err}); e.done != nil {
		e.done(e.res)
	}
}

// killAll ends every session, and lets nobody in any more.
func (l *loop) killAll() {
	l.mu.Lock()
	l.over = true
	inbox := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for _, o := range inbox {
		switch {
		case o.adopt != nil:
			l.turnAway(o.adopt)
		case o.exported != nil:
			o.exported <- exported{nil, ErrOver}
		}
	}
	l.endAll(Killed, nil)
	l.pipes.close()
	l.unmap()
	l.sessions.tidy()
	l.keys.tidy()
	l.close()
}

// unmap gives the room of ended sessions back. It comes when nobody has a pointer
// into it any more.
func (l *loop) unmap() {
	l.sessions.unmap()
	l.keys.unmap()
}

// endAll ends every session.
func (l *loop) endAll(why End, err error) {
	for c := range l.sessions.chunks {
		for i := range int32(chunkSize) {
			id := int32(c)*chunkSize + i
			if l.sessions.chunks[c] == nil {
				break
			}
			if s := l.sessions.at(id); s.gen != 0 {
				l.end(id, s, why, err)
			}
		}
	}
}
