package health

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestContinue: a checker with other options knows what the one before it knew,
// and tells nobody of it again.
func TestContinue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		old := New(p.probe, Options{Jitter: -1, Interval: time.Second})
		if got := Continue(old, p.probe, Options{}).State(); got != Unknown {
			t.Errorf("state %v after a checker that never ran, want unknown", got)
		}
		run(t, old)
		pass(time.Second / 2)
		p.set(true, 0)
		pass(3 * time.Second)
		before := old.Status()
		if before.State != Down {
			t.Fatalf("%+v, want down", before)
		}

		var told atomic.Int64
		c := Continue(old, p.probe, Options{Jitter: -1, Interval: 2 * time.Second, Rise: 1, OnChange: func(Change) { told.Add(1) }})
		after := c.Status()
		if after.State != Down || !after.Since.Equal(before.Since) || !after.Probed.Equal(before.Probed) || !errors.Is(after.Err, errBad) {
			t.Errorf("%+v, want what was known before: %+v", after, before)
		}
		p.set(false, 0)
		run(t, c)
		pass(time.Second)
		if s := c.Status(); !s.Damped || told.Load() != 0 {
			t.Errorf("%+v, %d changes told; want the penalty of the fall to be served, and nothing told", s, told.Load())
		}
		pass(DefaultMinDown)
		if c.State() != Up || told.Load() != 1 {
			t.Errorf("%v, %d changes told; want up, and that told", c.State(), told.Load())
		}
	})
}
