package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errBad = errors.New("no greeting")

// A patient is a back end that answers as told and notes when it was probed.
type patient struct {
	mu     sync.Mutex
	ill    bool
	slow   time.Duration // how long a probe takes
	probed []time.Duration
	start  time.Time
}

func newPatient() *patient { return &patient{start: time.Now()} }

func (p *patient) probe(ctx context.Context) error {
	p.mu.Lock()
	p.probed = append(p.probed, time.Since(p.start))
	ill, slow := p.ill, p.slow
	p.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(slow):
	}
	if ill {
		return errBad
	}
	return nil
}

func (p *patient) set(ill bool, slow time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ill, p.slow = ill, slow
}

func (p *patient) times() []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.probed)
}

// run runs the checker until the test ends.
func run(t *testing.T, c *Checker) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { c.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// pass lets time pass.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestCheckerFollowsABackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		var changes []string
		var c *Checker
		c = New(p.probe, Options{Jitter: -1, OnChange: func(ch Change) {
			// State would wait for ever if this were under the lock.
			if ch.New != c.State() {
				t.Errorf("told %v, State says %v", ch.New, c.State())
			}
			changes = append(changes, fmt.Sprintf("%v %v->%v %v", ch.Since.Sub(p.start), ch.Old, ch.New, ch.Err))
		}})
		if s := c.Status(); s.State != Unknown || !s.Since.IsZero() {
			t.Errorf("before it runs: %+v, want unknown", s)
		}
		run(t, c)
		pass(time.Second) // 0 s: good
		p.set(true, 0)
		pass(6 * time.Second) // 4, 5, 6 s: bad
		if s := c.Status(); s.State != Down || !errors.Is(s.Err, errBad) || s.Damped {
			t.Errorf("after the fall: %+v", s)
		}
		p.set(false, 0)
		pass(6 * time.Second) // 10, 11, 12 s: good, but damped until 16 s
		if s := c.Status(); s.State != Down || !s.Damped || s.Until.Sub(p.start) != 16*time.Second {
			t.Errorf("in the penalty: %+v", s)
		}
		pass(4 * time.Second)
		want := []string{
			"0s unknown->up <nil>",
			"6s up->down no greeting",
			"16s down->up <nil>",
		}
		if !slices.Equal(changes, want) {
			t.Errorf("changes\n%s\nwant\n%s", strings.Join(changes, "\n"), strings.Join(want, "\n"))
		}
		st := c.Stats()
		got := []uint64{st.Probes.Load(), st.Failed.Load(), st.Rises.Load(), st.Falls.Load()}
		if !slices.Equal(got, []uint64{8, 3, 2, 1}) {
			t.Errorf("probes, failed, rises, falls are %v, want 8 3 2 1", got)
		}
		text, err := json.Marshal(c.Status())
		if err != nil || !strings.HasPrefix(string(text), `{"state":"up","since":"`) {
			t.Errorf("status as JSON: %s, %v", text, err)
		}
	})
}

func TestProbeTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		p.set(false, time.Hour)
		c := New(p.probe, Options{Jitter: -1, Interval: 10 * time.Second, Timeout: 3 * time.Second})
		run(t, c)
		pass(2 * time.Second)
		if got := c.State(); got != Unknown {
			t.Errorf("%v during the first probe, want unknown", got)
		}
		pass(20 * time.Second)
		if s := c.Status(); s.State != Down || !errors.Is(s.Err, context.DeadlineExceeded) {
			t.Errorf("%+v, want down by time-out", s)
		}
		// The interval is from start to start.
		if got, want := p.times(), []time.Duration{0, 10 * time.Second, 20 * time.Second}; !slices.Equal(got, want) {
			t.Errorf("probed at %v, want %v", got, want)
		}
		if got := time.Duration(c.Stats().LastNanos.Load()); got != 3*time.Second {
			t.Errorf("last probe took %v, want 3s", got)
		}
	})
}

func TestJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		run(t, New(p.probe, Options{Interval: 10 * time.Second}))
		pass(1000 * time.Second)
		times := p.times()
		different := map[time.Duration]bool{}
		for i := range times[1:] {
			gap := times[i+1] - times[i]
			different[gap] = true
			if gap < 8*time.Second || gap > 12*time.Second {
				t.Errorf("interval of %v, want 10s ± 20 %%", gap)
			}
		}
		if len(times) < 80 || len(different) < 50 {
			t.Errorf("%d probes with %d different intervals", len(times), len(different))
		}
	})
}

func TestTriggerProbesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		c := New(p.probe, Options{Jitter: -1, Interval: time.Minute})
		run(t, c)
		pass(10 * time.Second)
		c.Trigger()
		synctest.Wait()
		// The next regular probe is an interval after the triggered one.
		pass(time.Minute)
		if got, want := p.times(), []time.Duration{0, 10 * time.Second, 70 * time.Second}; !slices.Equal(got, want) {
			t.Errorf("probed at %v, want %v", got, want)
		}
	})
}

// TestTriggerStorm: failed logins by the thousand are a few probes, and a back
// end that is gone is found out in seconds.
func TestTriggerStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		var fell atomic.Int64
		c := New(p.probe, Options{Jitter: -1, Interval: time.Minute, OnChange: func(ch Change) {
			if ch.New == Down {
				fell.Store(int64(ch.Since.Sub(p.start)))
			}
		}})
		run(t, c)
		pass(10 * time.Second)
		p.set(true, 50*time.Millisecond)
		for range 5000 {
			c.Trigger()
			pass(time.Millisecond)
		}
		// A probe of 50 ms and a gap of 1 s, from 10 s to 15 s.
		want := []time.Duration{0, 10000, 11050, 12100, 13150, 14200}
		for i := range want {
			want[i] *= time.Millisecond
		}
		if got := p.times(); !slices.Equal(got, want) {
			t.Errorf("probed at %v, want %v", got, want)
		}
		if got, want := time.Duration(fell.Load()), 12150*time.Millisecond; got != want {
			t.Errorf("fell at %v, want %v", got, want)
		}
		if got := c.Stats().Triggers.Load(); got != 5000 {
			t.Errorf("%d triggers counted, want 5000", got)
		}
	})
}

func TestTriggerDuringAProbeAsksForOneMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		p.set(false, time.Second)
		c := New(p.probe, Options{Jitter: -1, Interval: time.Minute})
		run(t, c)
		pass(time.Second / 2)
		for range 100 {
			c.Trigger()
		}
		pass(30 * time.Second)
		if got, want := p.times(), []time.Duration{0, 2 * time.Second}; !slices.Equal(got, want) {
			t.Errorf("probed at %v, want %v", got, want)
		}
	})
}

func TestTriggerBeforeRunDoesNotBlock(t *testing.T) {
	c := New(nil, Options{})
	for range 10 {
		c.Trigger()
	}
	if got := c.Stats().Triggers.Load(); got != 10 {
		t.Errorf("%d triggers counted, want 10", got)
	}
}

// TestStop ends the context in each of Run's waits: the result of a probe that
// was cut short is not counted against the back end.
func TestStop(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(c *Checker)
	}{
		{"between probes", func(*Checker) { pass(15 * time.Second) }},
		{"in a probe", func(*Checker) { pass(5 * time.Second) }},
		{"in the gap before a triggered probe", func(c *Checker) { pass(10 * time.Second); c.Trigger(); pass(time.Second / 2) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPatient()
				p.set(false, 10*time.Second)
				c := New(p.probe, Options{Jitter: -1, Interval: time.Minute, OnChange: func(ch Change) {
					if ch.New == Down {
						t.Error("stopping it felled the back end")
					}
				}})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); c.Run(ctx) }()
				tt.before(c)
				stopped := time.Now()
				cancel()
				<-done
				if waited := time.Since(stopped); waited != 0 {
					t.Errorf("Run returned after %v, want at once", waited)
				}
				if c.Stats().Failed.Load() != 0 {
					t.Error("the probe that was cut short counts as failed")
				}
			})
		})
	}
}

func TestValidate(t *testing.T) {
	if err := (Options{}).Validate(); err != nil {
		t.Errorf("zero options: %v", err)
	}
	if err := (Options{MinDown: -1, Jitter: -1}).Validate(); err != nil {
		t.Errorf("what may be negative: %v", err)
	}
	err := Options{Interval: -1, Fast: -1, Timeout: -1, Calm: -1, MaxDown: -1, MinGap: -1, Rise: -1, Jitter: 1.5}.Validate()
	for _, want := range []string{"interval", "fast", "timeout", "calm", "max_down", "min_gap", "rise", "jitter"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

// TestUntriedProbeIsNoVerdict: what lacks here says nothing of the back end, however
// often; what comes after counts as before.
func TestUntriedProbeIsNoVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		lacking := atomic.Bool{}
		c := New(func(ctx context.Context) error {
			if err := p.probe(ctx); err != nil || !lacking.Load() {
				return err
			}
			return fmt.Errorf("no port: %w", ErrUntried)
		}, Options{Jitter: -1})
		run(t, c)
		pass(time.Minute)
		before := c.Stats().Probes.Load()
		lacking.Store(true)
		pass(time.Hour)
		if s := c.Status(); s.State != Up || !errors.Is(s.Err, ErrUntried) || c.Stats().Probes.Load() != before {
			t.Errorf("%v, %v, %d probes instead of %d", s.State, s.Err, c.Stats().Probes.Load(), before)
		}
		lacking.Store(false)
		p.set(true, 0)
		pass(time.Minute)
		if s := c.State(); s != Down {
			t.Errorf("%v, want down when probes that are made fail", s)
		}
	})
}

// TestNeverTriedIsDown: what no probe could ever be made to is not taken for well.
func TestNeverTriedIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(func(context.Context) error { return ErrUntried }, Options{Jitter: -1})
		run(t, c)
		pass(time.Minute)
		if s := c.State(); s != Down {
			t.Errorf("%v, want down", s)
		}
	})
}
