// Package strand runs the logins of a node: thousands of small dialogues, each written
// as a straight line, on as few threads as there are processors.
//
// A strand is a coroutine (iter.Pull) that a loop resumes when one of its connections
// is ready. To the code in it, its connections are blocking net.Conns; where one would
// block, the strand yields, and the loop goes on with another. Go's scheduler has no
// part in that: no goroutine is made ready on another thread, no processor is handed
// on for a system call, and the scheduler's monitor finds nothing to look after. That
// is a third of what a login costs a bare relay with a goroutine for each connection,
// and a seventh of what it costs usher (DESIGN.md).
//
// What would block for another reason (a channel, a name to be resolved, a pause) must
// not hold up the others: the strand leaves the loop first ([Strand.Leave]) and is an
// ordinary goroutine with ordinary connections from then on.
//
// What this package does not do: know mail, TLS or users; forward; log.
//
// Laws: a strand is run by one goroutine at a time; a Conn's Read, Write, Close and
// Release are called by its strand alone, everything else by anybody; nothing is lost
// when a strand leaves; a deadline that has passed ends a wait, whoever sets it; after
// Close or Release nobody touches the descriptor; no strand has a loop for itself; a busy
// loop looks after those who wait in the runtime's poller ([New]);
// after Loops.Close nothing runs.
package strand

import (
	"context"
	"iter"
	"slices"
	"sync/atomic"
	"time"
)

// A Strand is a dialogue under way. Its methods are its own to call.
type Strand struct {
	loop   *loop
	next   func() (struct{}, bool)
	halt   func()
	yield  func(struct{}) bool
	job    func(*Strand)
	conns  []*Conn
	queued bool // stands in its loop's queue
	calls  int  // system calls on its connections since it was resumed
	left   bool // is a goroutine
	idle   bool // has nothing to do, and waits for another job

	waits atomic.Pointer[Conn] // which it waits for; its event or its deadline resumes it
	until int64                // when the wait is over, by now; 0: never
	write bool                 // it waits to write
}

// maxIdle bounds the strands that a loop keeps for the next connections, with stacks
// that have grown to what a handshake needs: 16 KiB each.
const maxIdle = 64

// idleTime is for how long they are kept without a new connection, in nanoseconds: a node
// at rest should not look like one in a rush.
const idleTime = int64(time.Second)

// newStrand makes a strand that does jobs until it has left, or is halted.
func (l *loop) newStrand() *Strand {
	s := &Strand{loop: l}
	s.next, s.halt = iter.Pull(func(yield func(struct{}) bool) {
		s.yield = yield
		for {
			s.job(s)
			s.job = nil
			for _, c := range slices.Clone(s.conns) {
				_ = c.Close() // after a panic, say: the next job is somebody else's
			}
			if s.left {
				return
			}
			s.idle = true
			if !yield(struct{}{}) {
				return
			}
		}
	})
	return s
}

// Leave takes the strand off its loop for good: the rest of it runs as a goroutine, and
// its connections are the net package's from then on. It is called before anything
// that may block but a connection of the strand. Calling it again does nothing. A
// connection that cannot be converted, for want of descriptors, is closed.
func (s *Strand) Leave() {
	if s == nil || s.left {
		return
	}
	for _, c := range slices.Clone(s.conns) {
		c.convert()
	}
	s.left = true
	s.yield(struct{}{}) // the loop goes on with it as a goroutine
}

// maxCalls is how many reads and writes a strand may do in a turn. A peer that sends
// faster than his octets are looked at would have the loop for himself otherwise.
const maxCalls = 32

// breathe lets others have their turns, once in a while.
func (s *Strand) breathe() {
	if s.calls++; s.calls > maxCalls {
		s.loop.queue(s)
		s.yield(struct{}{})
	}
}

// forget drops a connection that is no concern of the strand's any more.
func (s *Strand) forget(c *Conn) {
	if i := slices.Index(s.conns, c); i >= 0 {
		s.conns = slices.Delete(s.conns, i, i+1)
	}
}

// Left tells whether what runs is a goroutine: nil is one as well.
func (s *Strand) Left() bool { return s == nil || s.left }

// bearer is what a context of Context carries.
type bearer struct{}

type borne struct {
	strand *Strand
	end    context.Context
}

// Context returns a context that never ends, so that nobody watches it, but tells
// [Waiting] of the strand and of end.
func (s *Strand) Context(end context.Context) context.Context {
	return context.WithValue(context.Background(), bearer{}, borne{s, end})
}

// Waiting is for who is about to wait until ctx ends. If ctx is a strand's, or comes from
// it, the strand leaves its loop, and what is to be waited for is returned. Any other
// context is returned as it is.
func Waiting(ctx context.Context) context.Context {
	if b, ok := ctx.Value(bearer{}).(borne); ok {
		b.strand.Leave()
		return b.end
	}
	return ctx
}
