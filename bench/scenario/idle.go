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
// has fetched and stored a message. The first size also says what the target does
// without any.
func idle(p Params, h Held, first bool) Course {
	n := h.Sessions
	name := "idle-" + strconv.Itoa(n)
	c := Course{
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
	if first { // once is enough: without sessions all sizes are one
		c.Weight += p.IdleTime
		c.Parts = append([]Part{{
			Name: "idle-0", Doc: "CPU while nothing happens and nobody is there, after a warm-up",
			Needs: []string{"imap tls"}, Run: idleNone,
		}}, c.Parts...)
	}
	return c
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
	r.held = &held{empty: empty, sessions: sessions}
	for i, c := range sessions {
		if err != nil {
			break
		}
		// The sessions are the round's, which has no end; to wait for them is this
		// part's. Each answer has a bound of its own.
		if err = ctx.Err(); err == nil {
			err = c.Idle()
		}
		if err != nil {
			err = fmt.Errorf("IDLE in session %d: %w", i, err)
		}
	}
	r.held.err = err
	return r.held, err
}

// A target counts as empty when its number of files has been the same emptyLooks
// times, emptyPause apart: it may not have closed yet what it was warmed up by.
// After emptyTries it is taken as it is.
const (
	emptyLooks = 6
	emptyPause = 50 * time.Millisecond
	emptyTries = 60
)

// empty is what the target is before any session that is held, but after some that
// have come and gone: what a program takes once, when it is first used, is not its
// sessions'. It is looked at once in a round.
func (r *Round) empty(ctx context.Context) (footprint, error) {
	if r.nobody != nil {
		return *r.nobody, nil
	}
	r.say("warming up")
	s := r.service("imap", "tls", nil)
	workers := r.Params.Workers
	warm := load.Closed(ctx, workers, max(r.Params.WarmUp, workers), func(ctx context.Context, _, i int) error {
		_, err := visit(ctx, s, i)
		return err
	})
	if warm.Done == 0 {
		return footprint{}, fmt.Errorf("warm up: none of %d logins worked, the first: %w", warm.Failed, firstOf(warm, ctx))
	}
	f, err := r.settle(ctx, r.Target.Group)
	if err != nil {
		return f, err
	}
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
	r.nobody = &f
	return f, nil
}

// release closes the sessions that are held.
func (r *Round) release() {
	if r.held != nil {
		closeAll(r.held.sessions)
		r.held = nil
	}
}

// idleNone is the CPU of a target that nobody uses, but somebody has.
func idleNone(ctx context.Context, r *Round) error {
	if r.bare() {
		return errSkip
	}
	if _, err := r.empty(ctx); err != nil {
		return err
	}
	return r.nothing(ctx)
}

// nothing counts the CPU of what does not happen.
func (r *Round) nothing(ctx context.Context) error {
	r.say("counting the CPU of nothing")
	used, elapsed, err := r.metered(func() error { return wait(ctx, r.Params.IdleTime) })
	if err != nil {
		return err
	}
	r.put("cpu_ms_per_s", "ms/s", result.Lower, used.Seconds()*1000/elapsed.Seconds())
	return nil
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
	return r.nothing(ctx)
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
