package health

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// seconds are times as a test writes them.
func seconds(list ...int) []time.Duration {
	out := make([]time.Duration, len(list))
	for i, s := range list {
		out[i] = time.Duration(s) * time.Second
	}
	return out
}

// TestFast holds that probes come faster only while a verdict is open.
func TestFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		run(t, New(p.probe, Options{Jitter: -1, Interval: 10 * time.Second, Fast: 2 * time.Second, MinDown: -1}))
		pass(time.Second)
		p.set(true, 0)
		pass(35 * time.Second)
		p.set(false, 0)
		pass(30 * time.Second)
		// Up; 10 to 14: it falls; 24 and 34: it is down, as is known; 44 to 48: it
		// rises; then as at first.
		if got, want := p.times(), seconds(0, 10, 12, 14, 24, 34, 44, 46, 48, 58); !slices.Equal(got, want) {
			t.Errorf("probed at %v, want %v", got, want)
		}
	})
}

// TestDefaultDeath holds what the defaults promise of a back end that nobody uses:
// its death is found within 7.2 s whenever it dies, jitter included.
func TestDefaultDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const deaths, limit = 300, 7200 * time.Millisecond
		var sum, longest time.Duration
		for i := range deaths {
			p := newPatient()
			fell := make(chan time.Duration, 1)
			ctx, cancel := context.WithCancel(t.Context())
			var died time.Time
			c := New(p.probe, Options{OnChange: func(ch Change) {
				if ch.New == Down {
					fell <- ch.Since.Sub(died)
				}
			}})
			var wg sync.WaitGroup
			wg.Go(func() { c.Run(ctx) })
			pass(20*time.Second + time.Duration(i)*37*time.Millisecond) // all phases of an interval
			died = time.Now()
			p.set(true, 0)
			took := <-fell
			sum, longest = sum+took, max(longest, took)
			cancel()
			wg.Wait()
		}
		t.Logf("found after %v on average, %v at most", sum/deaths, longest)
		if longest > limit || longest < limit-2*time.Second {
			t.Errorf("the longest took %v, want near %v and not more", longest, limit)
		}
	})
}

// TestFastIsNoSlower holds the bound of Fast.
func TestFastIsNoSlower(t *testing.T) {
	if o := (Options{Interval: 100 * time.Millisecond}).withDefaults(); o.Fast != o.Interval {
		t.Errorf("fast is %v with an interval of %v", o.Fast, o.Interval)
	}
}

// TestPenaltyEnds holds that a back end which answers well again is used the moment
// its penalty is over, and not an interval later.
func TestPenaltyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		var up []time.Duration
		c := New(p.probe, Options{Jitter: -1, Interval: 7 * time.Second, OnChange: func(ch Change) {
			if ch.New == Up {
				up = append(up, ch.Since.Sub(p.start))
			}
		}})
		run(t, c)
		pass(time.Second)
		p.set(true, 0)
		pass(9 * time.Second) // bad at 7, 8, 9 s
		p.set(false, 0)
		pass(20 * time.Second) // good at 16, 17, 18 s
		if want := seconds(0, 19); !slices.Equal(up, want) {
			t.Errorf("up at %v, want %v", up, want)
		}
	})
}

// TestRest holds that a checker at rest leaves the regular probes to others, is sure
// of what it sees, and begins at once when it is woken.
func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		var results []bool
		c := New(p.probe, Options{Jitter: -1, Interval: 4 * time.Second, OnProbe: func(good bool) { results = append(results, good) }})
		c.Rest(true) // the first verdict is not left to others
		run(t, c)
		pass(290 * time.Second)
		if got, want := p.times(), seconds(0); !slices.Equal(got, want) {
			t.Errorf("at rest, probed at %v, want %v", got, want)
		}
		if !c.Status().Resting {
			t.Error("the status does not say that it rests")
		}
		p.set(true, 0)
		c.Trigger() // a dial failed
		pass(10 * time.Second)
		if got, want := p.times(), seconds(0, 290, 291, 292); !slices.Equal(got, want) || c.State() != Down {
			t.Errorf("after a failed dial probed at %v, state %v, want %v, down", got, c.State(), want)
		}
		c.Rest(true) // again, which changes nothing
		p.set(false, 0)
		c.Rest(false)
		c.Rest(false)
		pass(5 * time.Second)
		if got, want := p.times(), seconds(0, 290, 291, 292, 300, 301, 302); !slices.Equal(got, want) || c.State() != Up {
			t.Errorf("woken, probed at %v, state %v, want %v, up", got, c.State(), want)
		}
		if want := []bool{true, false, false, false, true, true, true}; !slices.Equal(results, want) {
			t.Errorf("told of %v, want %v", results, want)
		}
		c.Rest(true)
		pass(601 * time.Second) // 306 s by the old plan, then every five minutes
		if got, want := p.times()[7:], seconds(306, 606, 906); !slices.Equal(got, want) {
			t.Errorf("at rest again, probed at %v, want %v", got, want)
		}
	})
}

// TestRestIsKept holds that a reload does not wake who rests.
func TestRestIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		old := New(p.probe, Options{Jitter: -1})
		old.Rest(true)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { old.Run(ctx) })
		pass(time.Second)
		cancel()
		wg.Wait()
		c := Continue(old, p.probe, Options{Jitter: -1, Interval: time.Second})
		run(t, c)
		pass(100 * time.Second)
		if got, want := p.times(), seconds(0, 1); !slices.Equal(got, want) {
			t.Errorf("probed at %v, want %v", got, want)
		}
	})
}
