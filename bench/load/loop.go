package load

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// InFlight is how many operations the open loop has without an answer at most.
// Each costs a goroutine, its stack and a descriptor, of which a process may
// have 20,000: enough for a storm of clients that all come at once, and a target
// that owes so many answers has long lost.
const InFlight = 16 << 10

// A span is the time that an operation is charged with.
type span struct {
	begin time.Time
	took  time.Duration // nonzero once Mark was called
}

type spanKey struct{}

// Mark ends the time that the operation is charged with which ctx was given to:
// what it does after that, such as closing what it opened, is not part of its
// latency. Without a call that is all of it.
func Mark(ctx context.Context) {
	if s, ok := ctx.Value(spanKey{}).(*span); ok {
		s.took = max(time.Since(s.begin), 1)
	}
}

// start begins an operation that is charged from begin.
func (s *span) start(begin time.Time) { s.begin, s.took = begin, 0 }

// end counts it.
func (s *span) end(ctx context.Context, t *tally, err error) {
	if s.took == 0 {
		s.took = time.Since(s.begin)
	}
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", ErrStopped, err)
	}
	t.add(s.took, err)
}

// Closed has a number of workers do total operations, each its next one when the
// last has ended: as much load as the target bears, and no more. op is given the
// worker (0 to workers-1) and the operation's number (0 to total-1); workers call
// it at the same time. When ctx is done no operation is begun any more. Closed
// returns when all have ended.
func Closed(ctx context.Context, workers, total int, op func(ctx context.Context, worker, i int) error) Report {
	t := newTally()
	var next atomic.Int64
	var all sync.WaitGroup
	start := time.Now()
	for worker := range workers {
		all.Go(func() {
			s := &span{}
			ctx := context.WithValue(ctx, spanKey{}, s)
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= total {
					return
				}
				s.start(time.Now())
				s.end(ctx, t, op(ctx, worker, i))
			}
		})
	}
	all.Wait()
	t.r.Elapsed = time.Since(start)
	return t.r
}

// Open starts total operations at a rate per second, evenly spaced, whether or
// not earlier ones have ended, as strangers do who know nothing of each other; a
// rate of 0 has all of them due at once.
// Latencies count from the time that an operation was due, so a target that
// stalls is charged with the wait of all who would have come meanwhile
// (coordinated omission). An operation that is due while InFlight others are
// under way is not started and counts as failed, with ErrOverload. With ctx it
// deals as Closed does. Open returns when all have ended.
func Open(ctx context.Context, rate float64, total int, op func(ctx context.Context, i int) error) Report {
	return open(ctx, rate, total, InFlight, op)
}

func open(ctx context.Context, rate float64, total, inFlight int, op func(ctx context.Context, i int) error) Report {
	type due struct {
		i  int
		at time.Time
	}
	t := newTally()
	var all sync.WaitGroup
	idle := make(chan due) // to workers that have nothing to do: reused, since their stacks have grown
	workers := 0
	worker := func(first due) {
		s := &span{}
		ctx := context.WithValue(ctx, spanKey{}, s)
		s.start(first.at)
		s.end(ctx, t, op(ctx, first.i))
		for d := range idle {
			s.start(d.at)
			s.end(ctx, t, op(ctx, d.i))
		}
	}
	start := time.Now()
	for i := range total {
		d := due{i, start}
		if rate > 0 {
			d.at = start.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		}
		if !waitUntil(ctx, d.at) {
			break
		}
		select {
		case idle <- d:
		default:
			if workers == inFlight {
				t.add(0, ErrOverload)
				continue
			}
			workers++
			all.Go(func() { worker(d) })
		}
		t.behind(time.Since(d.at))
	}
	close(idle)
	all.Wait()
	t.r.Elapsed = time.Since(start)
	return t.r
}

// waitUntil reports whether ctx let it wait so long.
func waitUntil(ctx context.Context, at time.Time) bool {
	wait := time.Until(at)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
