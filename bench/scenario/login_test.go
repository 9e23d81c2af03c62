package scenario

import (
	"context"
	"errors"
	"os/exec"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"usher.example/bench/gauge"
	"usher.example/bench/load"
	"usher.example/bench/sink"
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

// TestJudge: some failures are a figure, more are a fault, and the end of what the
// target is asked for.
func TestJudge(t *testing.T) {
	why := errors.New("refused")
	for _, tt := range []struct {
		done, failed int
		fault        bool
		put          int
	}{
		{1000, 0, false, 1},
		{990, 10, false, 1},
		{989, 11, true, 1},
		{0, 5, true, 0},
		{0, 0, true, 0},
	} {
		r := &Round{}
		rep := load.Report{Done: tt.done, Failed: tt.failed}
		if tt.failed > 0 {
			rep.First = why
		}
		if err := r.judge(rep); (err != nil) != tt.fault || len(r.samples) != tt.put || tt.failed > 0 && err != nil && !errors.Is(err, why) {
			t.Errorf("%d done and %d failed: %v, %d figures; want a fault %v and %d figures", tt.done, tt.failed, err, len(r.samples), tt.fault, tt.put)
		}
	}
}

// TestMeteredDeath: who dies while he works has not done it.
func TestMeteredDeath(t *testing.T) {
	rig := newRig(t, sink.Options{})
	target, err := rig.start("usher", true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rig.end(target) }()
	r := &Round{Target: target}
	if _, _, err := r.metered(func() error { return nil }); err != nil {
		t.Errorf("a target that lives: %v", err)
	}
	used, _, err := r.metered(func() error { return target.Group.Kill() })
	if err == nil || used < 0 {
		t.Errorf("CPU %v, error %v; want that the target has ended", used, err)
	}
	if r.bare() {
		t.Error("a target that has died counts as one that never had a process")
	}
}

// TestAside: what helps a target is counted, and not in the target's own figure.
func TestAside(t *testing.T) {
	rig := newRig(t, sink.Options{})
	target, err := rig.start("usher", true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rig.end(target) }()
	r := &Round{Target: target}
	measured := func() (own time.Duration) {
		own, _, err := r.metered(func() error {
			if target.Aside == nil {
				return nil
			}
			cmd := exec.Command("/bin/sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done")
			if err := target.Aside.Start(cmd); err != nil {
				return err
			}
			deadline := time.Now().Add(10 * time.Second)
			for tick := time.NewTicker(time.Millisecond); len(target.Aside.Pids()) > 0 && time.Now().Before(deadline); <-tick.C {
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return own
	}
	measured()
	if r.putAside("cpu_us_aside", "µs", 1000); len(r.samples) != 0 {
		t.Errorf("%v is handed in of a helper that is not there", r.samples)
	}
	if target.Aside, err = gauge.NewGroup("aside"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = target.Aside.Kill() }()
	own := measured()
	if r.putAside("cpu_us_aside", "µs", 1000); len(r.samples) != 1 || r.samples[0].Value < 1000 || own >= r.aside {
		t.Errorf("the helper's %v and the target's %v, want some milliseconds of the helper and less of the target", r.samples, own)
	}
}

// TestBoundedLoop has a loop end in time that never would, and let finish what it
// has begun: that is part of what the target did.
func TestBoundedLoop(t *testing.T) { synctest.Test(t, boundedLoop) }

func boundedLoop(t *testing.T) {
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
func TestMarked(t *testing.T) { synctest.Test(t, marked) }

func marked(t *testing.T) {
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
