package scenario

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"usher.example/bench/load"
	"usher.example/bench/result"
)

// A kind of login: what the client speaks, how it is secured, and whether it comes
// with a ticket of an earlier session.
type kind struct {
	protocol, security string
	resumed            bool
}

// logins are complete sessions that do nothing: connect, handshake, greeting,
// login, logout.
func logins(p Params) Course {
	part := func(name, doc string, k kind) Part {
		return Part{
			Name: name, Doc: doc, Needs: []string{k.protocol + " " + k.security},
			Run: func(ctx context.Context, r *Round) error { return loginLoop(ctx, r, k) },
		}
	}
	return Course{
		Name: "logins", Repetitions: p.Repetitions, Weight: 9 * time.Second,
		Parts: []Part{
			part("login-imaps", "IMAP logins over TLS, full handshakes, closed loop", kind{"imap", "tls", false}),
			part("login-imaps-resumed", "IMAP logins over TLS, resumed sessions, closed loop", kind{"imap", "tls", true}),
			part("login-starttls", "IMAP logins with STARTTLS, full handshakes, closed loop", kind{"imap", "starttls", false}),
			part("login-pop3s", "POP3 logins over TLS, full handshakes, closed loop", kind{"pop3", "tls", false}),
			part("login-plain", "IMAP logins without TLS, closed loop", kind{"imap", "plain", false}),
			{
				Name: "login-rate", Doc: "IMAP logins over TLS at a fixed rate, latency from the intended start",
				Needs: []string{"imap tls"}, Run: loginRate,
			},
		},
	}
}

// tickets hold a session cache for each worker, so that none takes another's
// ticket: those of TLS 1.3 are good for one use. Clients that do not resume have
// none; they take tickets all the same.
type tickets []tls.ClientSessionCache

func newTickets(workers int, resumed bool) tickets {
	t := make(tickets, workers)
	for i := range t {
		if resumed {
			t[i] = tls.NewLRUClientSessionCache(1)
		}
	}
	return t
}

// loginLoop measures logins in a closed loop: a worker begins one when its last
// has ended. So rate and latency depend on the load itself, which shares the
// machine; the figure is CPU.
func loginLoop(ctx context.Context, r *Round, k kind) error {
	workers, err := r.workers(ctx, k)
	if err != nil {
		return err
	}
	services, resumed := r.services(k, workers), &atomic.Int64{}
	op := func(ctx context.Context, worker, i int) error {
		state, err := visit(ctx, services[worker], i)
		if err == nil && state.DidResume {
			resumed.Add(1)
		}
		return err
	}
	// Every worker has a ticket after this, and the target has seen as many at once.
	if warm := load.Closed(ctx, workers, max(r.Params.WarmUp, workers), func(ctx context.Context, _, i int) error {
		return op(ctx, i%workers, i) // a worker may come too late for any
	}); warm.Done == 0 {
		return r.judge(warm)
	}
	resumed.Store(0)
	rep, used := load.Report{}, time.Duration(0)
	if used, _, err = r.metered(func() error {
		rep = r.closed(ctx, workers, r.Params.Logins, r.Params.LoginTime, op)
		return ctx.Err()
	}); err != nil {
		return err
	}
	if err := r.judge(rep); err != nil {
		return err
	}
	r.put("cpu_us", "µs", result.Lower, each(used, rep.Done))
	r.putAside("cpu_us_aside", "µs", 1000*float64(rep.Done))
	r.put("rate", "/s", result.Higher, rep.Rate())
	r.putLatency(rep)
	if k.resumed {
		r.put("resumed", "of 1", result.Higher, float64(resumed.Load())/float64(rep.Done))
	}
	return nil
}

// services are one of a kind for each worker, with a cache of its own.
func (r *Round) services(k kind, workers int) []load.Service {
	services, caches := make([]load.Service, workers), newTickets(workers, k.resumed)
	for i := range services {
		services[i] = r.service(k.protocol, k.security, caches[i])
	}
	return services
}

// stalled is how long a login takes at least that waits for a timer, and idleShare
// the share of all processors that have nothing to do meanwhile.
const (
	stalled   = 20 * time.Millisecond
	idleShare = 0.5
)

// workers is how many clients it takes to keep the target busy: the usual number,
// unless logins take long while the processors idle. (Where others keep them busy,
// nobody can tell.) It runs a few to see, which is also the first part of the
// warm-up, and records the number where it is not the usual one.
func (r *Round) workers(ctx context.Context, k kind) (int, error) {
	usual := r.Params.Workers
	services := r.services(k, usual)
	before, err := machineBusy()
	if err != nil {
		return 0, err
	}
	rep := load.Closed(ctx, usual, max(r.Params.WarmUp, usual), func(ctx context.Context, worker, i int) error {
		_, err := visit(ctx, services[worker], i)
		return err
	})
	after, err := machineBusy()
	if err := errors.Join(err, ctx.Err()); err != nil {
		return 0, err
	}
	if rep.Done == 0 {
		return 0, fmt.Errorf("warm up: none of %d logins worked, the first: %w", rep.Failed, rep.First)
	}
	busy := (after - before).Seconds() / rep.Elapsed.Seconds() / float64(runtime.NumCPU())
	if !stalls(rep.Percentile(50), busy) {
		return usual, nil
	}
	r.set("workers."+r.scenario+"."+r.Peer.Name, strconv.Itoa(r.Params.StalledWorkers))
	return r.Params.StalledWorkers, nil
}

// stalls judges logins by their median and by the share of the machine that was busy.
func stalls(median time.Duration, busy float64) bool {
	return median >= stalled && busy <= 1-idleShare
}

// closed is load.Closed with a bound on time: who is slow does less, rather than
// taking the time of all others. What is under way at the end is let finish, so
// that all the CPU that was used belongs to something that is counted.
func (r *Round) closed(ctx context.Context, workers, total int, bound time.Duration, op func(ctx context.Context, worker, i int) error) load.Report {
	bounded, stop := context.WithTimeout(ctx, bound)
	defer stop()
	return load.Closed(bounded, workers, total, func(marked context.Context, worker, i int) error {
		return op(unbounded{ctx, marked}, worker, i)
	})
}

// unbounded is a context that another one's values are in, but not its end.
type unbounded struct {
	context.Context
	values context.Context
}

func (u unbounded) Value(key any) any {
	if v := u.Context.Value(key); v != nil {
		return v // what package context looks for to know its own
	}
	return u.values.Value(key)
}

// loginRate measures latency as users see it: logins arrive at a fixed rate
// whether or not earlier ones are done, and wait from when they were to begin.
func loginRate(ctx context.Context, r *Round) error {
	k := kind{"imap", "tls", false}
	s := r.service(k.protocol, k.security, nil)
	if warm := load.Closed(ctx, r.Params.Workers, max(r.Params.WarmUp, r.Params.Workers), func(ctx context.Context, _, i int) error {
		_, err := visit(ctx, s, i)
		return err
	}); warm.Done == 0 {
		return r.judge(warm)
	}
	total := int(r.Params.Rate * r.Params.RateTime.Seconds())
	rep, used := load.Report{}, time.Duration(0)
	used, _, err := r.metered(func() error {
		rep = load.Open(ctx, r.Params.Rate, total, func(ctx context.Context, i int) error {
			_, err := visit(ctx, s, i)
			return err
		})
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	if err := r.judge(rep); err != nil {
		return err
	}
	r.putLatency(rep)
	r.putBehind("behind_ms", rep.Behind)
	r.put("cpu_us", "µs", result.Lower, each(used, rep.Done))
	r.putAside("cpu_us_aside", "µs", 1000*float64(rep.Done))
	return nil
}
