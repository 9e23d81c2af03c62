package scenario

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"usher.example/bench/gauge"
	"usher.example/bench/load"
	"usher.example/bench/result"
)

// trips are round trips of NOOP, which is the least that a session can do.
func trips(p Params) Course {
	return Course{
		Name: "latency", Repetitions: p.Repetitions, Weight: 7 * time.Second,
		Parts: []Part{
			{
				Name: "noop-tls-1cpu", Doc: "NOOP over TLS, one session, all on one processor", Needs: []string{"imap tls"},
				Run: func(ctx context.Context, r *Round) error { return onOne(ctx, r, "tls") },
			},
			{
				Name: "noop-plain-1cpu", Doc: "NOOP without TLS, one session, all on one processor", Needs: []string{"imap plain"},
				Run: func(ctx context.Context, r *Round) error { return onOne(ctx, r, "plain") },
			},
			{
				Name: "noop-tls-16", Doc: fmt.Sprintf("NOOP over TLS, %d sessions at once", p.Many), Needs: []string{"imap tls"},
				Run: func(ctx context.Context, r *Round) error { return roundTrips(ctx, r, "tls", r.Params.Many) },
			},
			{
				Name: "noop-beside", Doc: "NOOP of 4 sessions at a fixed pace, beside a download", Needs: []string{"imap tls"},
				Run: besideDownload,
			},
			{
				Name: "noop-beside-logins", Doc: fmt.Sprintf("NOOP of 4 sessions at a fixed pace, beside %d clients that log in without end", besideLogins),
				Needs: []string{"imap tls"}, Run: besideLoop,
			},
		},
	}
}

// onOne pins client, target and stub to one processor for the time of the round
// trips: then a round trip is the work that was done, and not where the scheduler
// puts things and how fast an idle processor wakes.
func onOne(ctx context.Context, r *Round, security string) (err error) {
	all, err := processors()
	if err != nil {
		return err
	}
	one := all[len(all)-1] // the first has most of the interrupts
	restore, err := gauge.PinSelf(one)
	if err != nil {
		return fmt.Errorf("pin the client: %w", err)
	}
	defer restore()
	pins := []func(...int) error{r.Stub.Pin}
	if !r.bare() {
		pins = append(pins, r.Target.Group.Pin)
	}
	for _, pin := range pins {
		defer func() { err = errors.Join(err, pin(all...)) }()
		if err := pin(one); err != nil {
			return fmt.Errorf("pin to processor %d: %w", one, err)
		}
	}
	return roundTrips(ctx, r, security, 1)
}

// roundTrips measures NOOPs in a closed loop.
func roundTrips(ctx context.Context, r *Round, security string, n int) error {
	sessions, err := r.enterMany(ctx, r.service("imap", security, nil), n)
	defer closeAll(sessions)
	if err != nil {
		return err
	}
	noop := func(_ context.Context, worker, _ int) error { return sessions[worker].Noop() }
	if warm := load.Closed(ctx, n, max(r.Params.Noops/20, n), noop); warm.Failed > 0 {
		return fmt.Errorf("warm up: %w", warm.First)
	}
	rep := load.Report{}
	used, _, err := r.metered(func() error {
		rep = r.closed(ctx, n, r.Params.Noops, r.Params.NoopTime, noop)
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	if err := r.judge(rep); err != nil {
		return err
	}
	r.put("cpu_us", "µs", result.Lower, each(used, rep.Done))
	r.put("rate", "/s", result.Higher, rep.Rate())
	r.putLatency(rep)
	return nil
}

// besides is how many sessions go round beside a download.
const besides = 4

// besideLogins is how many clients log in beside round trips: more than the
// processors bear, as on a node in the morning.
const besideLogins = 16

// besideDownload is beside somebody who fetches as much as the target can carry.
func besideDownload(ctx context.Context, r *Round) error {
	return beside(ctx, r, 1, func(on context.Context, others []*load.Client) error {
		for on.Err() == nil {
			if err := others[0].Download(min(r.Params.Piece, 8e6)); err != nil {
				return fmt.Errorf("the download beside: %w", err)
			}
		}
		return nil
	})
}

// besideLoop is beside logins in a closed loop, of which it hands in the rate.
func besideLoop(ctx context.Context, r *Round) error {
	s := r.service("imap", "tls", nil)
	var rep load.Report
	err := beside(ctx, r, 0, func(on context.Context, _ []*load.Client) error {
		rep = load.Closed(on, besideLogins, math.MaxInt, func(_ context.Context, _, i int) error {
			_, err := visit(ctx, s, i) // who has begun is let finish
			return err
		})
		if tooMany(rep.Failed, rep.Done) {
			return fmt.Errorf("%d of %d logins beside failed, the first: %w", rep.Failed, rep.Failed+rep.Done, rep.First)
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.put("login_rate", "/s", result.Higher, rep.Rate())
	return nil
}

// beside measures NOOPs while something else goes on, which may use as many other
// sessions as it wants and ends with its context. They come at a fixed pace, each
// session's in its turn, and count from when they were to be sent: one that waits for
// the one before it is late.
func beside(ctx context.Context, r *Round, others int, what func(on context.Context, others []*load.Client) error) error {
	s := r.service("imap", "tls", nil)
	sessions, err := r.enterMany(ctx, s, besides+others)
	defer closeAll(sessions)
	if err != nil {
		return err
	}
	on, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	var broke error
	wg.Go(func() { broke = what(on, sessions[besides:]) })
	rep, unsent := r.paced(ctx, sessions[:besides])
	stop()
	wg.Wait()
	if err := errors.Join(ctx.Err(), broke); err != nil {
		return err
	}
	if err := r.judge(rep); err != nil {
		return err
	}
	r.putLatency(rep)
	r.putBehind("behind_ms", rep.Behind)
	r.put("unsent", "", result.Lower, float64(unsent))
	return nil
}

// besideGrace is how long after the last arrival those that still wait are given up.
const besideGrace = 3 * time.Second

// paced sends a NOOP in each of the sessions every BesidePace, staggered. A session
// answers one at a time, so an arrival waits for its session, and its latency says so.
// Those that still wait at the end are not sent any more, or a target that answers
// ten a second would take minutes: they count with how long they have waited, which
// is less than it would have been.
func (r *Round) paced(ctx context.Context, sessions []*load.Client) (rep load.Report, unsent int64) {
	n := len(sessions)
	turn := make([]sync.Mutex, n)
	rate := float64(n) / r.Params.BesidePace.Seconds()
	over := time.Now().Add(r.Params.BesideTime + besideGrace)
	var left atomic.Int64
	rep = load.Open(ctx, rate, int(rate*r.Params.BesideTime.Seconds()), func(_ context.Context, i int) error {
		turn[i%n].Lock()
		defer turn[i%n].Unlock()
		if time.Now().After(over) {
			left.Add(1)
			return nil
		}
		return sessions[i%n].Noop()
	})
	return rep, left.Load()
}
