package forward

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"usher.example/balancer/record"
)

// Secured is a side whose TLS is carried by our own record layer: what a
// handshake left. The values are moved, not shared: the giver wipes its own.
type Secured struct {
	Reader record.Reader
	Writer record.Writer
	// Ciphertext was read from the connection and not opened yet: a record at
	// most.
	Ciphertext []byte
	// Closed: the peer's close_notify has come.
	Closed bool
}

// Wipe forgets keys and data of a side that nobody goes on with; nil is fine.
func (s *Secured) Wipe() {
	if s == nil {
		return
	}
	s.Reader.Wipe()
	s.Writer.Wipe()
	clear(s.Ciphertext)
}

// Reactor is the engine with event loops: an idle session is a record in a slab
// and two descriptors, without goroutine, buffer or pipe.
//
// Pairs with a side that crypto/tls carries go to a [Copy] of its own.
type Reactor struct {
	loops     []*loop
	gate      atomic.Int64 // until when bytes move, by CLOCK_BOOTTIME; 0 for ever
	mode      KernelMode
	kernel    Kernel
	turn      atomic.Uint32
	copy      Copy
	fallbacks fallbacks
	adopted   adopted

	mu      sync.Mutex // guards results
	results []ended
	ready   chan struct{} // has a token when there are results
}

// ended is a session to be accounted for.
type ended struct {
	done func(Result)
	res  Result
}

var (
	_ Engine = (*Reactor)(nil)
	_ Nudger = (*Reactor)(nil)
)

// A Nudger is an engine that waits in the runtime's poller. It is asked when a processor has nothing to
// do, or every ten milliseconds: whoever keeps all of them busy for longer calls Nudge
// meanwhile, and then lets the scheduler run what is ready.
type Nudger interface {
	// Nudge makes ready whom something has come for, and says whether there is anybody. It takes a
	// few microseconds, and any goroutine may call it at any time.
	Nudge() bool
}

// Options are how a [Reactor] works. The zero value is ready.
type Options struct {
	// Loops is the number of event loops, zero for one for two cores.
	Loops int
	// Kernel says when the kernel does the TLS of a side.
	Kernel KernelMode
}

// coresALoop is how many cores there are for one loop: another has handshakes and
// logins to do and the kernel's work for the network. A loop moves most of a
// gigabyte of TLS a second; more loops find less to do each time that they wake,
// and pay for more wake-ups (BenchmarkRatio).
const coresALoop = 2

// NewReactor opens the loops. They run in Run.
func NewReactor(o Options) (*Reactor, error) {
	n := o.Loops
	if n == 0 {
		n = max(1, runtime.GOMAXPROCS(0)/coresALoop)
	}
	// Also when the kernel is to get no TLS: a session that is resumed may have it.
	r := &Reactor{ready: make(chan struct{}, 1), mode: o.Kernel, kernel: ProbeKernel()}
	for range n {
		l, err := newLoop(r)
		if err != nil {
			for _, l := range r.loops {
				l.close()
			}
			return nil, fmt.Errorf("open an event loop: %w", err)
		}
		r.loops = append(r.loops, l)
	}
	return r, nil
}

// SetIdle sets the time without traffic after which a session is ended; zero
// means never. It holds for sessions that are there as well.
func (r *Reactor) SetIdle(limit time.Duration) {
	r.copy.SetIdle(limit)
	for _, l := range r.loops {
		if l.idle.Swap(int64(limit)) != int64(limit) {
			l.poke() // it may sleep until an older limit
		}
	}
}

// SetGate lets bytes move until a time by CLOCK_BOOTTIME, in nanoseconds; zero is
// for ever. After that sessions are killed as soon as they would move some, and
// whatever is on its way to a back end is dropped.
func (r *Reactor) SetGate(until int64) {
	if r.gate.Swap(until) == 0 && until != 0 {
		for _, l := range r.loops {
			l.poke() // it may sleep for long
		}
	}
	r.copy.SetGate(until)
}

// Nudge implements [Nudger], for loops whose sessions something has come for.
func (r *Reactor) Nudge() (woken bool) {
	for _, l := range r.loops {
		woken = l.nudge() || woken
	}
	return woken
}

// Spliced counts the octets that went through splice(2).
func (r *Reactor) Spliced() uint64 {
	n := r.copy.Spliced()
	for _, l := range r.loops {
		n += l.spliced.Load()
	}
	return n
}

// Run moves bytes until ctx is done. Sessions that are left then are killed and
// accounted for before it returns; later ones are killed at once.
func (r *Reactor) Run(ctx context.Context) {
	var wg, accounts sync.WaitGroup
	for _, l := range r.loops {
		wg.Go(func() { l.run(ctx) })
	}
	wg.Go(func() { r.copy.Run(ctx) })
	over := make(chan struct{})
	accounts.Go(func() { r.account(over) })
	<-ctx.Done()
	for _, l := range r.loops {
		l.poke()
	}
	wg.Wait()
	close(over)
	accounts.Wait()
}

// account calls Done of ended sessions, so that a loop never waits for it.
func (r *Reactor) account(over <-chan struct{}) {
	for last := false; ; {
		r.mu.Lock()
		results := r.results
		r.results = nil
		r.mu.Unlock()
		for _, e := range results {
			if e.done != nil {
				e.done(e.res)
			}
		}
		if len(results) > 0 {
			continue
		}
		if last {
			return
		}
		select {
		case <-r.ready:
		case <-over:
			last = true
		}
	}
}

func (r *Reactor) finish(e ended) {
	r.mu.Lock()
	r.results = append(r.results, e)
	r.mu.Unlock()
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

// Secures implements Engine.
func (*Reactor) Secures() bool { return true }

// Adopt implements Engine.
func (r *Reactor) Adopt(p Pair) Flow {
	if p.Client.copied() || p.Server.copied() {
		return r.copy.Adopt(p)
	}
	l := r.loops[int(r.turn.Add(1))%len(r.loops)]
	client, cerr := take(p.Client)
	server, serr := take(p.Server)
	a := &adoption{pair: p, fd: [2]int{client, server}, err: errors.Join(cerr, serr)}
	if a.err == nil {
		a.flag = [2]uint16{r.entrust(client, p.Client.Secured), r.entrust(server, p.Server.Secured)}
	}
	session := l.meters.take(&p, a.way())
	a.meter = session.id
	r.adopted.count(a.way())
	l.tell(order{adopt: a})
	return Flow{l, session}
}

// way is the one that the session's bytes will take.
func (a *adoption) way() way {
	w := waySplice
	for side, c := range []Conn{a.pair.Client, a.pair.Server} {
		switch {
		case c.Secured == nil:
		case a.flag[side]&(opening|sealing) == opening|sealing && w != wayUser:
			w = wayKernel
		default:
			w = wayUser
		}
	}
	return w
}

// Kernel returns what the kernel can do for TLS.
func (r *Reactor) Kernel() Kernel { return r.kernel }

// A releaser is a connection that gives its descriptor away, which does not block.
type releaser interface{ Release() (int, error) }

// take takes a connection away from the runtime's poller: what is returned is
// the same socket under a descriptor of our own.
func take(c Conn) (int, error) {
	if r, ok := c.Raw.(releaser); ok {
		return r.Release()
	}
	defer func() { _ = c.Raw.Close() }()
	fd, err := descriptor(c.Raw)
	if err != nil {
		return none, fmt.Errorf("take over a connection: %w", err)
	}
	return fd, nil
}

var epoch = time.Now()

// now is the loops' clock: monotonic nanoseconds.
func now() int64 { return int64(time.Since(epoch)) }
