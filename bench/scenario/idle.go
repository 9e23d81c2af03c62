package scenario

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"usher.example/bench/load"
	"usher.example/bench/result"
)

// idle holds sessions that do nothing, first fresh ones, then the same after each
// has fetched and stored a message.
func idle(p Params, h Held) Course {
	n := h.Sessions
	name := "idle-" + strconv.Itoa(n)
	return Course{
		Name: name, Repetitions: p.share(h.Share),
		Weight: p.IdleTime + 3*p.SettleFor + time.Duration(n)*2*time.Millisecond,
		Parts: []Part{
			{
				Name: name, Doc: fmt.Sprintf("memory of each of %d IDLE sessions over TLS, and CPU while nothing happens", n),
				Needs: []string{"imap tls"}, Run: func(ctx context.Context, r *Round) error { return idleFresh(ctx, r, n) },
			},
			{
				Name: name + "-warm", Doc: "the same after each session has moved 64 KiB both ways",
				Needs: []string{"imap tls"}, Run: func(ctx context.Context, r *Round) error { return idleWarm(ctx, r, n) },
			},
		},
	}
}

// held are sessions that the parts of a course share, and what the target was
// before they came.
type held struct {
	empty    footprint
	sessions []*load.Client
	err      error // why not all are there; the next part need not try again
}

// hold logs n users in and lets them IDLE, unless an earlier part has. A target
// that has no process of its own has nothing to show here.
func (r *Round) hold(ctx context.Context, n int) (*held, error) {
	if r.bare() {
		return nil, errSkip
	}
	if r.held != nil {
		return r.held, r.held.err
	}
	empty, err := r.empty(ctx)
	if err != nil {
		return nil, fmt.Errorf("measure the empty target: %w", err)
	}
	r.say(fmt.Sprintf("logging in %d sessions", n))
	sessions, err := r.enterMany(r.life, r.service("imap", "tls", nil), n)
	for i, c := range sessions {
		if err != nil {
			break
		}
		if err = c.Idle(); err != nil {
			err = fmt.Errorf("IDLE in session %d: %w", i, err)
		}
	}
	r.held = &held{empty, sessions, err}
	return r.held, err
}

// A target counts as empty when its number of files has been the same emptyLooks
// times, emptyPause apart: it was logged in to, to see that it is ready, and may not
// have closed that yet. After emptyTries it is taken as it is.
const (
	emptyLooks = 6
	emptyPause = 50 * time.Millisecond
	emptyTries = 60
)

// empty is what the target is before any session.
func (r *Round) empty(ctx context.Context) (f footprint, err error) {
	same := 0
	for range emptyTries {
		was := f.files
		if f, err = measure(r.Target.Group); err != nil {
			return f, err
		}
		if f.files != was {
			same = 0
		}
		if same++; same == emptyLooks {
			break
		}
		if err := wait(ctx, emptyPause); err != nil {
			return f, err
		}
	}
	return f, nil
}

// release closes the sessions that are held.
func (r *Round) release() {
	if r.held != nil {
		closeAll(r.held.sessions)
		r.held = nil
	}
}

func idleFresh(ctx context.Context, r *Round, n int) error {
	h, err := r.hold(ctx, n)
	if err != nil {
		return err
	}
	full, err := r.settle(ctx, r.Target.Group)
	if err != nil {
		return err
	}
	r.putEach(h, full)
	r.say("counting the CPU of nothing")
	used, elapsed, err := r.metered(func() error { return wait(ctx, r.Params.IdleTime) })
	if err != nil {
		return err
	}
	r.put("cpu_ms_per_s", "ms/s", result.Lower, used.Seconds()*1000/elapsed.Seconds())
	return nil
}

func idleWarm(ctx context.Context, r *Round, n int) error {
	h, err := r.hold(ctx, n)
	if err != nil {
		return err
	}
	r.say(fmt.Sprintf("%d KiB both ways on each session", r.Params.WarmOctets>>10))
	bounded, stop := context.WithTimeout(ctx, r.Params.Setup)
	defer stop()
	rep := load.Closed(bounded, min(n, r.Params.Workers), n, func(_ context.Context, _, i int) error {
		c := h.sessions[i]
		if err := c.Download(r.Params.WarmOctets); err != nil {
			return err
		}
		if err := c.Upload(r.Params.WarmOctets); err != nil {
			return err
		}
		return c.Idle()
	})
	if rep.Done < n {
		return fmt.Errorf("%d of %d sessions were warmed: %w", rep.Done, n, firstOf(rep, ctx))
	}
	full, err := r.settle(ctx, r.Target.Group)
	if err != nil {
		return err
	}
	r.putEach(h, full)
	return nil
}

// firstOf is why a report is not complete.
func firstOf(rep load.Report, ctx context.Context) error {
	if rep.First != nil {
		return rep.First
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return context.DeadlineExceeded
}

// putEach hands in what each session weighs: what the target has more than when
// it was empty.
func (r *Round) putEach(h *held, full footprint) {
	n, empty := float64(len(h.sessions)), h.empty
	kib := func(octets int64) float64 { return float64(octets) / 1024 / n }
	r.put("pss_kib", "KiB", result.Lower, kib(full.memory.PSS-empty.memory.PSS))
	r.put("private_kib", "KiB", result.Lower, kib(full.memory.Private-empty.memory.Private))
	if full.kernel >= 0 && empty.kernel >= 0 {
		r.put("kernel_kib", "KiB", result.Lower, kib(full.kernel-empty.kernel))
		r.put("pss_kernel_kib", "KiB", result.Lower, kib(full.memory.PSS-empty.memory.PSS+full.kernel-empty.kernel))
	}
	r.put("files", "", result.Lower, float64(full.files-empty.files)/n)
	r.put("threads", "", result.Lower, float64(full.threads-empty.threads)/n)
}

// wait is time.Sleep that ends with its context.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
