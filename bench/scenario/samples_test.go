package scenario

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"usher.example/bench/peers"
	"usher.example/bench/result"
	"usher.example/bench/sink"
)

// TestSamples runs every scenario that a relay can serve and wants each to hand in
// what it promises, and nothing to fail.
func TestSamples(t *testing.T) {
	if testing.Short() {
		t.Skip("runs every scenario")
	}
	rig := newRig(t, sink.Options{})
	courses, err := Select(Catalogue(tiny()), []string{"*", "soak"})
	if err != nil {
		t.Fatal(err)
	}
	run := newRun()
	if err := Run(t.Context(), rig.plan(tiny(), courses, rig.peer("usher", true)), run); err != nil {
		t.Fatal(err)
	}
	for _, f := range run.Faults {
		t.Errorf("fault in %s: %s", f.Scenario, f.Text)
	}
	if err := run.Validate(); err != nil {
		t.Error(err)
	}
	for _, scenario := range partsOf(courses) {
		if scenario == "login-starttls" {
			continue // a relay has none
		}
		for _, metric := range Metrics(scenario) {
			name := metric.Name
			got, ok := value(run, scenario, name)
			switch {
			case !ok && !metric.Maybe:
				t.Errorf("%s has no %s", scenario, name)
			case strings.HasPrefix(name, "failed") || name == "refused" || strings.HasSuffix(name, "lost"):
				if got != 0 {
					t.Errorf("%s of %s is %v, want 0", name, scenario, got)
				}
			case ok && (strings.HasSuffix(name, "_ms") || strings.HasPrefix(name, "rate") || name == "mb_per_s" || name == "back_s"):
				if got <= 0 {
					t.Errorf("%s of %s is %v, want more than 0", name, scenario, got)
				}
			}
		}
	}
	for _, s := range run.Samples {
		if !slices.ContainsFunc(Metrics(s.Scenario), func(m Metric) bool { return m.Name == s.Metric }) {
			t.Errorf("%s hands in %s, which is not promised", s.Scenario, s.Metric)
		}
	}
	if resumed, _ := value(run, "login-imaps-resumed", "resumed"); resumed != 1 {
		t.Errorf("%v of the resumed logins were", resumed)
	}
	// The target's process does nothing: what it weighs by itself is not its sessions'.
	for metric, most := range map[string]float64{"files": 0, "threads": 0, "private_kib": 10} {
		if got, _ := value(run, "idle-6-warm", metric); math.Abs(got) > most {
			t.Errorf("%s of idle-6-warm is %v, want 0 within %v", metric, got, most)
		}
	}
	if failures, _ := value(run, "fleet-3", "death_failures"); failures == 0 {
		t.Error("a node was killed and nobody noticed")
	}
	if got := run.Settings["sessions_per_user"]; got != "0.917" { // 11 of 12 users: 6 phones, 5 desks
		t.Errorf("a user of the day has %s sessions", got)
	}
	checkSeries(t, run)
}

// partsOf are the names of all parts.
func partsOf(courses []Course) (names []string) {
	for _, c := range courses {
		for _, p := range c.Parts {
			names = append(names, p.Name)
		}
	}
	return names
}

func checkSeries(t *testing.T, run *result.Run) {
	t.Helper()
	i := slices.IndexFunc(run.Series, func(s result.Series) bool { return s.Scenario == "storm" && s.Name == "sessions" })
	if i < 0 {
		t.Fatal("storm has no series of sessions")
	}
	if s := run.Series[i]; s.Y[0] != 0 || s.Y[len(s.Y)-1] != float64(tiny().Storm) {
		t.Errorf("sessions over time are %v, want from 0 to %d", s.Y, tiny().Storm)
	}
	if !slices.ContainsFunc(run.Series, func(s result.Series) bool { return s.Scenario == "soak" && len(s.Y) >= 3 }) {
		t.Error("soak has no series")
	}
}

// TestEmpty: a target is empty when it has been used and is left alone, not when
// nobody has used it yet; and it is so once for all parts of a round.
func TestEmpty(t *testing.T) {
	rig := newRig(t, sink.Options{})
	peer := rig.peer("usher", true)
	target, err := peer.Start(t.Context(), rig.site)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rig.end(target) }()
	p := tiny()
	p.WarmUp = 7
	r := &Round{Params: p, Peer: peer, Target: target, Roots: rig.roots, ServerName: peers.ServerName}
	before := rig.logins()
	for range 2 {
		if _, err := r.empty(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := rig.logins() - before; got != 7 {
		t.Errorf("%d logins before the target counts as empty, want 7, the warm-up once", got)
	}
}

// TestSettleOutlasts: what usher does 5 to 10 s after its last login is over when
// memory counts.
func TestSettleOutlasts(t *testing.T) {
	p := Default()
	if tidied := 10 * time.Second; p.SettleFor <= tidied || p.SettleLimit < 2*p.SettleFor {
		t.Errorf("memory counts after %v, at the latest after %v: too early for those who tidy up after %v", p.SettleFor, p.SettleLimit, tidied)
	}
}

// TestBare is of a target that has no process: what it would cost is not there, and
// not zero.
func TestBare(t *testing.T) {
	rig := newRig(t, sink.Options{})
	courses, err := Select(Catalogue(tiny()), []string{"login-plain", "down-plain-1", "idle-6", "storm", "noop-plain-1cpu"})
	if err != nil {
		t.Fatal(err)
	}
	run := newRun()
	if err := Run(t.Context(), rig.plan(tiny(), courses, rig.peer("direct", false)), run); err != nil {
		t.Fatal(err)
	}
	if len(run.Faults) > 0 {
		t.Errorf("faults %v, want none: a cost that is not there is no fault", run.Faults)
	}
	for _, s := range run.Samples {
		if strings.HasPrefix(s.Metric, "cpu") {
			t.Errorf("%s has %s = %v, though it has no process", s.Scenario, s.Metric, s.Value)
		}
	}
	for scenario, metric := range map[string]string{"login-plain": "rate", "down-plain-1": "mb_per_s", "noop-plain-1cpu": "p50_ms"} {
		if got, ok := value(run, scenario, metric); !ok || got <= 0 {
			t.Errorf("%s of %s is %v, want a figure", metric, scenario, got)
		}
	}
}

// value is a metric's first sample.
func value(run *result.Run, scenario, metric string) (float64, bool) {
	i := slices.IndexFunc(run.Samples, func(s result.Sample) bool { return s.Scenario == scenario && s.Metric == metric })
	if i < 0 {
		return math.NaN(), false
	}
	return run.Samples[i].Value, true
}
