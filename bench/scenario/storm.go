package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"usher.example/bench/load"
	"usher.example/bench/result"
)

// A client that was turned away tries again after firstPause, then after twice as
// long, up to lastPause, each drawn from its upper half. While the target is not up
// nobody tries: a refusal by the kernel costs the target nothing but the processor
// that it is to start on, and when each would try next is chance. All come the
// moment that it is up, which is the worst that can be.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = 200 * time.Millisecond
)

// seriesPoints is about how many points a series has: more than a plot can show.
const seriesPoints = 200

// storm is the death of a node: all its sessions come back at once.
func storm(p Params) Course {
	return Course{
		Name: "storm", Repetitions: p.share(p.StormShare),
		Weight: 5*time.Second + time.Duration(p.Storm)*2*time.Millisecond,
		Parts: []Part{{
			Name: "storm", Doc: fmt.Sprintf("%d IDLE sessions reconnect at once after their node was killed and restarted", p.Storm),
			Needs: []string{"imap tls"}, Run: reconnect,
		}},
	}
}

// A siege is the clients of a storm while they come back. Its counters may be
// used by all of them.
type siege struct {
	r       *Round
	caches  tickets       // each client's: a client that has a ticket shows it
	began   time.Time     // the death
	up      chan struct{} // closed when the target is up again; it guards reached and r.Target
	reached time.Duration // when that was, after the death

	refused, resumed atomic.Int64

	mu    sync.Mutex // guards all below
	back  []time.Duration
	first error // of those that count as refused

	behind atomic.Int64 // ns that the last client was set off late, since all are at once
}

// reconnect kills the target with all its sessions in it, starts it again at once,
// and has every client come back as it would: each has noticed, each dials now.
func reconnect(ctx context.Context, r *Round) error {
	if r.bare() {
		return errSkip
	}
	n := r.Params.Storm
	s := &siege{r: r, caches: newTickets(n, true), up: make(chan struct{})}
	r.say(fmt.Sprintf("logging in %d sessions", n))
	sessions, err := s.gather(ctx, n)
	defer func() { closeAll(sessions) }()
	if err != nil {
		return err
	}

	r.say("killed, waiting until all are back")
	s.began = time.Now()
	killed := r.kill(r.Target)
	bounded, stop := context.WithTimeout(ctx, r.Params.StormLimit)
	defer stop()
	var clients sync.WaitGroup
	for i := range sessions {
		clients.Go(func() {
			sessions[i].Close() // the kernel has reset it
			sessions[i] = s.again(bounded, ctx, i)
		})
	}
	restarted := killed
	if killed == nil {
		restarted = s.restart(ctx)
	}
	if restarted != nil {
		stop() // nobody can come back
	}
	clients.Wait()
	if restarted != nil {
		return restarted
	}
	used, _, err := r.cpu()
	return errors.Join(err, ctx.Err(), s.report(n, used))
}

// gather logs the clients in for the first time.
func (s *siege) gather(ctx context.Context, n int) ([]*load.Client, error) {
	sessions := make([]*load.Client, n)
	bounded, stop := context.WithTimeout(ctx, s.r.Params.Setup)
	defer stop()
	rep := load.Closed(bounded, min(n, s.r.Params.StalledWorkers), n, func(_ context.Context, _, i int) (err error) {
		if sessions[i], err = enter(ctx, s.r.service("imap", "tls", s.caches[i]), i); err != nil {
			return err
		}
		return sessions[i].Idle()
	})
	if rep.Done < n {
		return sessions, fmt.Errorf("%d of %d sessions were set up: %w", rep.Done, n, firstOf(rep, ctx))
	}
	return sessions, nil
}

// restart starts the target again, as whoever watches over it would.
func (s *siege) restart(ctx context.Context) error {
	t, err := s.r.Peer.Start(ctx, s.r.Site)
	if err != nil {
		s.r.Target = nil
		return fmt.Errorf("restart: %w", err)
	}
	s.r.Target, s.reached = t, time.Since(s.began)
	close(s.up)
	return nil
}

// again is one client from the death until it is back; nil if that is not in time.
func (s *siege) again(bounded, life context.Context, i int) *load.Client {
	select {
	case <-bounded.Done():
		return nil
	case <-s.up:
	}
	atomicMax(&s.behind, int64(time.Since(s.began)-s.reached))
	random := rand.New(rand.NewPCG(s.r.Params.Seed, uint64(i)))
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		c, err := s.try(life, i)
		if err == nil {
			s.arrived(time.Since(s.began), c)
			return c
		}
		if bounded.Err() != nil {
			return nil
		}
		s.turnedAway(err)
		if wait(bounded, pause/2+time.Duration(random.Int64N(int64(pause/2)))) != nil {
			return nil
		}
	}
}

// try logs in once, and idles.
func (s *siege) try(ctx context.Context, i int) (*load.Client, error) {
	service := s.r.service("imap", "tls", s.caches[i])
	service.Timeout = time.Until(s.began.Add(s.r.Params.StormLimit))
	c, err := enter(ctx, service, i)
	if err != nil {
		return nil, err
	}
	if err := c.Idle(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (s *siege) arrived(after time.Duration, c *load.Client) {
	if c.State().DidResume {
		s.resumed.Add(1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.back = append(s.back, after)
}

func (s *siege) turnedAway(err error) {
	s.refused.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == nil {
		s.first = err
	}
}

// report hands in what came of it. Latencies count from the death: that is how
// long a user was without his mail.
func (s *siege) report(n int, used time.Duration) error {
	r := s.r
	slices.Sort(s.back)
	lost := n - len(s.back)
	if len(s.back) > 0 && !tooMany(lost, len(s.back)) {
		r.put("p50_ms", "ms", result.Lower, milliseconds(quantile(s.waited(lost), 0.50)))
		r.put("p99_ms", "ms", result.Lower, milliseconds(quantile(s.waited(lost), 0.99)))
		r.put("cpu_us", "µs", result.Lower, each(used, len(s.back)))
		r.put("resumed", "of 1", result.Higher, float64(s.resumed.Load())/float64(len(s.back)))
	}
	r.putBehind("behind_ms", time.Duration(s.behind.Load()))
	r.put("refused", "", result.Lower, float64(s.refused.Load()))
	r.put("lost", "", result.Lower, float64(lost))
	r.put("restart_s", "s", result.Lower, s.reached.Seconds())
	x, y := []float64{0}, []float64{0}
	for i, at := range s.back {
		if step := max(1, n/seriesPoints); i%step == step-1 || i == len(s.back)-1 {
			x, y = append(x, at.Seconds()), append(y, float64(i+1))
		}
	}
	r.plot("sessions", "", x, y)
	if lost > 0 {
		return fmt.Errorf("%d of %d sessions are not back after %s: %w", lost, n, r.Params.StormLimit, s.why())
	}
	r.put("back_s", "s", result.Lower, s.back[n-1].Seconds())
	return nil
}

// waited is how long each was without his mail, in order: who is not back has waited
// until the end.
func (s *siege) waited(lost int) []time.Duration {
	return slices.Concat(s.back, slices.Repeat([]time.Duration{s.r.Params.StormLimit}, lost))
}

// why is what the clients have seen that were turned away.
func (s *siege) why() error {
	if s.first == nil {
		return errors.New("no answer came")
	}
	return s.first
}

// quantile of sorted values: the smallest that a share q of them does not exceed.
func quantile(sorted []time.Duration, q float64) time.Duration {
	i := int(q*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
