package load_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"usher.example/bench/load"
)

// near reports whether a percentile is what it should be, within the
// histogram's three digits.
func near(t *testing.T, r load.Report, percentile float64, want time.Duration) {
	t.Helper()
	if got := r.Percentile(percentile); (got - want).Abs() > want/500 {
		t.Errorf("%g %% within %v, want %v", percentile, got, want)
	}
}

// TestOpenCountsTheWait has a target stall for a second. A client that waits for
// its answer before it asks again sees one slow answer; in truth all who would
// have asked meanwhile waited, 500 ms at the median.
func TestOpenCountsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stalled := make(chan struct{})
		time.AfterFunc(time.Second, func() { close(stalled) })
		r := load.Open(t.Context(), 200, 200, func(context.Context, int) error {
			<-stalled
			return nil
		})
		if r.Done != 200 || r.Failed != 0 {
			t.Fatalf("%d done, %d failed, want all of 200 done", r.Done, r.Failed)
		}
		near(t, r, 50, 500*time.Millisecond)
		near(t, r, 99, 990*time.Millisecond)
		if r.Elapsed != time.Second {
			t.Errorf("took %v, want 1 s", r.Elapsed)
		}
	})
}

// TestOpenStartsInTime has operations that take longer than the time between two
// of them: none may wait for another.
func TestOpenStartsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var mu sync.Mutex
		var starts []time.Duration
		r := load.Open(t.Context(), 10, 4, func(context.Context, int) error {
			mu.Lock()
			starts = append(starts, time.Since(begin))
			mu.Unlock()
			time.Sleep(250 * time.Millisecond) // longer than the time between two
			return nil
		})
		want := []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond}
		if !slices.Equal(starts, want) {
			t.Errorf("started at %v, want %v", starts, want)
		}
		if r.Elapsed != 550*time.Millisecond || r.Behind != 0 {
			t.Errorf("took %v, %v behind; want 550ms, none behind", r.Elapsed, r.Behind)
		}
		near(t, r, 100, 250*time.Millisecond)
	})
}

// A late context makes who asks for its end for the first time wait for a second.
type late struct {
	context.Context
	once sync.Once
}

func (l *late) Done() <-chan struct{} {
	l.once.Do(func() { time.Sleep(time.Second) })
	return l.Context.Done()
}

// TestOpenChargesItsOwnDelay has the loop itself be late: the second operation,
// due after 100 ms, and nine after it start after a second.
func TestOpenChargesItsOwnDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := load.Open(&late{Context: t.Context()}, 10, 20, func(context.Context, int) error { return nil })
		if r.Done != 20 || r.Behind != 900*time.Millisecond {
			t.Errorf("%d done, %v behind; want 20, 900ms", r.Done, r.Behind)
		}
		near(t, r, 100, 900*time.Millisecond)
		near(t, r, 75, 400*time.Millisecond) // of 20: eleven at 0, then 100, 200, 300, 400 ms
	})
}

// TestOpenIsBounded has nobody ever answer.
func TestOpenIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, stop)
		const room = 100
		r := load.OpenBounded(ctx, 0, room+5, room, func(ctx context.Context, _ int) error {
			<-ctx.Done()
			return io.EOF
		})
		if r.Failed != room+5 || r.Errors[load.ErrOverload.Error()] != 5 || r.Errors[load.ErrStopped.Error()] != room {
			t.Errorf("%d failed: %v; want 5 for want of room, the others stopped", r.Failed, r.Errors)
		}
		if n := r.Latency.TotalCount(); n != room {
			t.Errorf("%d latencies, want those of the %d that were started", n, room)
		}
		near(t, r, 1, time.Minute) // what they have waited, though in vain
	})
}

func TestOpenEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer stop()
		r := load.Open(ctx, 1, 100, func(context.Context, int) error { return nil })
		if r.Done != 3 || r.Failed != 0 {
			t.Errorf("%d done, %d failed; want 3 done in 2.5 s at one a second", r.Done, r.Failed)
		}
	})
}

func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		seen := map[int]bool{}
		byWorker := map[int]int{}
		r := load.Closed(t.Context(), 4, 100, func(ctx context.Context, worker, i int) error {
			mu.Lock()
			seen[i] = true
			byWorker[worker]++
			mu.Unlock()
			time.Sleep(10 * time.Millisecond)
			load.Mark(ctx)
			time.Sleep(10 * time.Millisecond) // not charged
			if i%10 == 0 {
				return load.ErrRefused
			}
			return nil
		})
		if len(seen) != 100 || len(byWorker) != 4 {
			t.Errorf("%d operations by %d workers, want 100 by 4", len(seen), len(byWorker))
		}
		if r.Done != 90 || r.Failed != 10 || r.Errors["refused"] != 10 || !errors.Is(r.First, load.ErrRefused) {
			t.Errorf("%d done, %d failed: %v, first %v", r.Done, r.Failed, r.Errors, r.First)
		}
		if r.Elapsed != 500*time.Millisecond || r.Rate() != 180 {
			t.Errorf("took %v, %v a second; want 500ms, 180", r.Elapsed, r.Rate())
		}
		near(t, r, 99, 10*time.Millisecond)
	})
}

func TestClosedEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer stop()
		r := load.Closed(ctx, 2, 100, func(context.Context, int, int) error {
			time.Sleep(time.Second)
			return nil
		})
		if r.Done != 6 {
			t.Errorf("%d done, want the 6 that were begun in 2.5 s", r.Done)
		}
	})
}

// TestErrorsAreBounded has each operation fail in its own way.
func TestErrorsAreBounded(t *testing.T) {
	r := load.Closed(t.Context(), 1, 1000, func(_ context.Context, _, i int) error {
		return errors.New(string(rune('a' + i)))
	})
	if n := len(r.Errors); n > 40 || r.Errors["other"] < 900 {
		t.Errorf("%d kinds of errors, %d others", n, r.Errors["other"])
	}
}
