package scenario

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"usher.example/bench/load"
)

func TestStalls(t *testing.T) {
	for _, tt := range []struct {
		name   string
		median time.Duration
		busy   float64
		want   bool
	}{
		{"quick", 5 * time.Millisecond, 0.9, false},
		{"waits for a delayed acknowledgement", 44 * time.Millisecond, 0.2, true},
		{"slow, since it works", 50 * time.Millisecond, 0.97, false},
		{"quick, on an idle machine", time.Millisecond, 0.1, false},
	} {
		if got := stalls(tt.median, tt.busy); got != tt.want {
			t.Errorf("%s: stalls is %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestBoundedLoop has a loop end in time that never would, and let finish what it
// has begun: that is part of what the target did.
func TestBoundedLoop(t *testing.T) {
	const workers, many = 3, 1 << 40
	r := &Round{}
	var begun atomic.Int64
	release := make(chan struct{})
	bound := 20 * time.Millisecond
	over := time.AfterFunc(2*bound, func() { close(release) })
	defer over.Stop()
	rep := r.closed(t.Context(), workers, many, bound, func(ctx context.Context, _, _ int) error {
		begun.Add(1)
		<-release // later than the bound
		load.Mark(ctx)
		return ctx.Err()
	})
	if rep.Done != workers || rep.Failed != 0 || begun.Load() != workers {
		t.Errorf("%d begun, %d done, %d failed (%v); want %d, all of them done", begun.Load(), rep.Done, rep.Failed, rep.First, workers)
	}
	if p := rep.Percentile(50); p < bound {
		t.Errorf("median %v, want more than the %v that each waited", p, bound)
	}
}

// TestMarked has an operation's latency end where it says, also in a bounded loop.
func TestMarked(t *testing.T) {
	r := &Round{}
	pause := 50 * time.Millisecond
	rep := r.closed(t.Context(), 1, 1, time.Hour, func(ctx context.Context, _, _ int) error {
		load.Mark(ctx)
		return wait(ctx, pause)
	})
	if rep.Done != 1 || rep.Percentile(100) >= pause {
		t.Errorf("%d done in %v, want one and without the %v after the mark", rep.Done, rep.Percentile(100), pause)
	}
}
