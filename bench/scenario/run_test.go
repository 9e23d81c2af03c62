package scenario

import (
	"context"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"usher.example/bench/peers"
	"usher.example/bench/result"
	"usher.example/bench/sink"
)

// course is one of a single part, for tests of the runner.
func course(name string, repetitions int, run func(ctx context.Context, r *Round) error) Course {
	return Course{Name: name, Repetitions: repetitions, Parts: []Part{{Name: name, Needs: []string{"imap tls"}, Run: run}}}
}

func TestInterleaved(t *testing.T) {
	rig := newRig(t, sink.Options{})
	var ran []string
	note := func(_ context.Context, r *Round) error {
		ran = append(ran, r.scenario+" "+r.Peer.Name)
		r.put("n", "", result.Higher, float64(r.Repetition))
		return nil
	}
	var saved []int
	plan := rig.plan(tiny(), []Course{course("one", 3, note), course("two", 1, note)},
		rig.peer("a", false), rig.peer("b", false), rig.peer("c", false))
	plan.Save = func(r *result.Run) error {
		saved = append(saved, len(r.Samples))
		return nil
	}
	run := newRun()
	if err := Run(t.Context(), plan, run); err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{{"one a", "one b", "one c"}, {"one a", "one b", "one c"}, {"one a", "one b", "one c"}, {"two a", "two b", "two c"}} {
		if len(ran) < 3*i+3 || !slices.Equal(slices.Sorted(slices.Values(ran[3*i:3*i+3])), want) {
			t.Errorf("ran %q, want that repetition %d is of all targets, each once", ran, i+1)
		}
	}
	if len(ran) != 12 || len(rig.started) != 12 {
		t.Errorf("ran %d times after %d starts, want 12: each time afresh", len(ran), len(rig.started))
	}
	if want := []int{3, 6, 9, 12, 12}; !slices.Equal(saved, want) {
		t.Errorf("saved with %v samples, want %v", saved, want)
	}
	if err := run.Validate(); err != nil {
		t.Error(err)
	}
}

// TestOrder: the order is one of all targets, the same for a seed, and such that nobody
// always follows the same one.
func TestOrder(t *testing.T) {
	const n, repetitions = 13, 40
	followed := map[[2]int]int{}
	for repetition := 1; repetition <= repetitions; repetition++ {
		turn := order(1, 0, repetition, n)
		if !slices.Equal(turn, order(1, 0, repetition, n)) {
			t.Error("two orders by one seed")
		}
		for i := 1; i < n; i++ {
			followed[[2]int{turn[i-1], turn[i]}]++
		}
		slices.Sort(turn)
		for i, target := range turn {
			if i != target {
				t.Fatalf("the order is of targets %v", turn)
			}
		}
	}
	for pair, times := range followed {
		if times > repetitions/3 {
			t.Errorf("%d follows %d in %d of %d repetitions", pair[1], pair[0], times, repetitions)
		}
	}
	if slices.Equal(order(1, 0, 1, n), order(2, 0, 1, n)) || slices.Equal(order(1, 0, 1, n), order(1, 1, 1, n)) {
		t.Error("another seed, or another course, has the same order")
	}
}

func TestFaults(t *testing.T) {
	rig := newRig(t, sink.Options{})
	missing, broken := rig.peer("missing", false), rig.peer("broken", false)
	missing.Version = func() (string, error) { return "", errors.New("not installed: make bench-setup") }
	broken.Start = func(context.Context, peers.Site) (*peers.Target, error) { return nil, errors.New("bad configuration") }
	hangs, dies := rig.peer("hangs", false), rig.peer("dies", true)
	p := tiny()
	p.Limit = 50 * time.Millisecond
	work := func(ctx context.Context, r *Round) error {
		switch r.Peer.Name {
		case "hangs":
			<-ctx.Done()
			return ctx.Err()
		case "dies":
			if r.scenario == "first" {
				r.put("n", "", result.Higher, 1)
				return r.Target.Group.Kill() // unlike Round.kill, nobody has asked for it
			}
		}
		r.put("n", "", result.Higher, 1)
		return nil
	}
	c := course("first", 1, work)
	c.Parts = append(c.Parts, Part{Name: "second", Run: work})
	run := newRun()
	if err := Run(t.Context(), rig.plan(p, []Course{c}, missing, broken, hangs, dies, rig.peer("good", false)), run); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range run.Faults {
		got = append(got, f.Scenario+" "+f.Target+": "+f.Text)
	}
	slices.Sort(got) // the order of targets is drawn
	want := []string{
		"first broken: start: bad configuration",
		"first hangs: not done within 50ms: context deadline exceeded",
		"second broken: start: bad configuration",
		"second dies: not run, since in first the target ended: ",
		"second hangs: not done within 50ms: context deadline exceeded",
	}
	if len(got) != len(want) {
		t.Fatalf("faults %q, want %q", got, want)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("fault %q, want %q", got[i], want[i])
		}
	}
	if run.Targets[0].Missing == "" || run.Targets[4].Version != "1" {
		t.Errorf("targets are %+v, want the first missing and a version of the last", run.Targets)
	}
	var measured []string
	for _, s := range run.Samples {
		measured = append(measured, s.Scenario+" "+s.Target)
	}
	slices.Sort(measured)
	if want := []string{"first dies", "first good", "second good"}; !slices.Equal(measured, want) {
		t.Errorf("measured %q, want %q", measured, want)
	}
}

// TestRefused is of a target that lets nobody in: real scenarios say so, and the
// next target is measured all the same.
func TestRefused(t *testing.T) {
	bad := newRig(t, sink.Options{Wrong: password})
	good := newRig(t, sink.Options{})
	stopBoth := func(target *peers.Target) error { return errors.Join(bad.end(target), good.end(target)) }
	stopTarget, killTarget = stopBoth, stopBoth
	good.roots.AddCert(bad.cert.Leaf)
	courses, err := Select(Catalogue(tiny()), []string{"login-imaps", "down-tls-1", "noop-beside", "idle-6*", "storm", "day"})
	if err != nil {
		t.Fatal(err)
	}
	run := newRun()
	if err := Run(t.Context(), good.plan(tiny(), courses, bad.peer("bad", true), good.peer("good", true)), run); err != nil {
		t.Fatal(err)
	}
	faults, samples := map[string]int{}, map[string]int{}
	for _, f := range run.Faults {
		faults[f.Target]++
		if f.Target == "good" {
			t.Errorf("fault of %s in %s: %s", f.Target, f.Scenario, f.Text)
		} else if !strings.Contains(f.Text, "refused") {
			t.Errorf("fault of %s in %s is %q, want that it refused", f.Target, f.Scenario, f.Text)
		}
	}
	for _, s := range run.Samples {
		samples[s.Target]++
	}
	if faults["bad"] != 8 || samples["bad"] != 0 || samples["good"] == 0 {
		t.Errorf("faults %v and samples %v, want 8 faults of the bad and samples of the good", faults, samples)
	}
}

// TestInterrupted ends the run while a target is measured: nothing is left running,
// what there is is saved, and nobody is blamed.
func TestInterrupted(t *testing.T) {
	rig := newRig(t, sink.Options{})
	ctx, interrupt := context.WithCancel(t.Context())
	work := func(ctx context.Context, r *Round) error {
		if r.Repetition == 2 {
			interrupt()
			<-ctx.Done()
			return ctx.Err()
		}
		r.put("n", "", result.Higher, 1)
		return nil
	}
	plan := rig.plan(tiny(), []Course{course("one", 5, work), course("two", 1, work)}, rig.peer("a", true), rig.peer("b", true))
	saved := 0
	plan.Save = func(r *result.Run) error {
		saved = len(r.Samples)
		return nil
	}
	run := newRun()
	if err := Run(ctx, plan, run); err != nil {
		t.Fatal(err)
	}
	if saved != 2 || len(run.Faults) != 0 || len(rig.started) != 3 {
		t.Errorf("%d samples saved, faults %v, %d starts; want 2, none, 3", saved, run.Faults, len(rig.started))
	}
}

// TestInterruptedScenario ends runs of real scenarios, which have sessions open.
func TestInterruptedScenario(t *testing.T) {
	for _, glob := range []string{"idle-6", "storm", "day", "soak", "noop-beside"} {
		t.Run(glob, func(t *testing.T) {
			rig := newRig(t, sink.Options{})
			p := tiny()
			p.SettleFor, p.SettleLimit, p.Hour, p.Soak, p.BesideTime = time.Hour, time.Hour, time.Hour, time.Hour, time.Hour
			p.Limit = time.Hour
			courses, err := Select(Catalogue(p), []string{glob})
			if err != nil {
				t.Fatal(err)
			}
			ctx, interrupt := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer interrupt()
			run := newRun()
			if err := Run(ctx, rig.plan(p, courses, rig.peer("usher", true)), run); err != nil {
				t.Fatal(err)
			}
			if len(run.Faults) > 0 {
				t.Errorf("faults %v of a run that was interrupted, want none", run.Faults)
			}
		})
	}
}

// TestReleased has sessions that parts share closed with the target, not whenever
// the collector finds them.
func TestReleased(t *testing.T) {
	rig := newRig(t, sink.Options{})
	courses, err := Select(Catalogue(tiny()), []string{"idle-6"})
	if err != nil {
		t.Fatal(err)
	}
	before := files(t)
	if err := Run(t.Context(), rig.plan(tiny(), courses, rig.peer("usher", true)), newRun()); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(3 * time.Second); files(t) > before; <-tick.C { // the back end closes late
		if time.Now().After(deadline) {
			t.Fatalf("%d files are open, %d were before", files(t), before)
		}
	}
}

// files is how many this process has open.
func files(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

func TestPassedOver(t *testing.T) {
	rig := newRig(t, sink.Options{})
	starttls := course("starttls", 1, func(context.Context, *Round) error {
		t.Error("a part was run that its target does not serve")
		return nil
	})
	starttls.Parts[0].Needs = []string{"imap tls", "imap starttls"}
	only := course("only", 1, func(_ context.Context, r *Round) error {
		if r.Peer.Name != "usher" {
			t.Errorf("a course that is for usher was run for %s", r.Peer.Name)
		}
		return nil
	})
	only.Only = "usher"
	run := newRun()
	if err := Run(t.Context(), rig.plan(tiny(), []Course{starttls, only}, rig.peer("a", false), rig.peer("usher", false)), run); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(rig.started, []string{"usher"}) || len(run.Faults) > 0 {
		t.Errorf("started %q, faults %v; want usher once and none", rig.started, run.Faults)
	}
}

func TestSelect(t *testing.T) {
	all := Catalogue(Default())
	names := func(globs ...string) (names []string) {
		courses, err := Select(all, globs)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range courses {
			for _, p := range c.Parts {
				names = append(names, p.Name)
			}
		}
		return names
	}
	if everything := names(); slices.Contains(everything, "soak") || !slices.Contains(everything, "fleet-5") {
		t.Errorf("by default %q are run, want all but soak", everything)
	}
	if !reflect.DeepEqual(names("*"), names()) {
		t.Errorf("* selects %q, want what is run by default", names("*"))
	}
	for glob, want := range map[string][]string{
		"soak":        {"soak"},
		"latency":     {"noop-tls-1cpu", "noop-plain-1cpu", "noop-tls-16", "noop-beside", "noop-beside-logins"},
		"idle-2000*":  {"idle-0", "idle-2000", "idle-2000-warm"}, // the course's name
		"idle-9500*":  {"idle-9500", "idle-9500-warm"},
		"idle-0":      {"idle-0"},
		"login-imaps": {"login-imaps"},
		"*-tls-8":     {"down-tls-8", "up-tls-8"},
	} {
		if got := names(glob); !slices.Equal(got, want) {
			t.Errorf("%s selects %q, want %q", glob, got, want)
		}
	}
	for _, glob := range []string{"logins-imap", "[", "so*k"} {
		if courses, err := Select(all, []string{"day", glob}); err == nil {
			t.Errorf("%q selects %d courses, want an error", glob, len(courses))
		}
	}
}
