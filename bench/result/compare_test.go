package result

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// pair are two runs with the same targets and nothing measured.
func pair() (before, after *Run) {
	for _, r := range []**Run{&before, &after} {
		*r = &Run{
			Schema:   Schema,
			Started:  time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC),
			Machine:  Machine{CPU: "Example 9000", Cores: 2},
			Settings: map[string]string{"curve": "X25519"},
			Targets:  []Target{{Name: "usher", Version: "1"}, {Name: "haproxy", Version: "2.6"}},
		}
	}
	return before, after
}

// measure adds one sample a value.
func measure(r *Run, scenario, target, metric, better string, values ...float64) {
	for i, v := range values {
		r.Add(Sample{scenario, target, metric, "µs", better, i, v})
	}
}

// compared is a comparison with every case in it.
func compared() *Comparison {
	before, after := pair()
	measure(before, "login-imaps", "usher", "cpu_us", Lower, 100, 101, 102, 103, 104)
	measure(after, "login-imaps", "usher", "cpu_us", Lower, 80, 81, 82, 83, 84)
	measure(before, "login-imaps", "haproxy", "cpu_us", Lower, 100, 101, 102, 103, 104)
	measure(after, "login-imaps", "haproxy", "cpu_us", Lower, 99, 102, 103, 105, 100)
	measure(before, "login-pop3s", "usher", "cpu_us", Lower, 100, 100, 100, 100)
	measure(after, "login-pop3s", "usher", "cpu_us", Lower, 125, 125, 125, 125)
	measure(before, "login-rate", "usher", "rate", Higher, 1000, 1001, 1002, 1003)
	measure(after, "login-rate", "usher", "rate", Higher, 900, 901, 902, 903)
	measure(before, "storm", "usher", "failed", Lower, 0, 0, 0, 0)
	measure(after, "storm", "usher", "failed", Lower, 5, 6, 7, 8)
	measure(before, "storm", "haproxy", "failed", Lower, 0, 0, 0, 0)
	measure(after, "storm", "haproxy", "failed", Lower, 0, 0, 0, 0)
	measure(before, "storm", "usher", "lost", Lower, 4, 5, 6, 7)
	measure(after, "storm", "usher", "lost", Lower, 0, 0, 0, 0)
	measure(before, "storm", "haproxy", "lost", Lower, 4, 4, 4, 4)
	measure(after, "storm", "haproxy", "lost", Lower, 2, 2, 2, 2)
	measure(before, "login-starttls", "usher", "lost", Lower, 4, 4, 4, 4)
	measure(after, "login-starttls", "usher", "lost", Lower, 2, 2, 2, 2)
	measure(before, "day", "usher", "cpu_us", Lower, 1, 2, 3)
	measure(after, "day", "usher", "cpu_us", Lower, 11, 12, 13)
	measure(before, "soak", "haproxy", "cpu_us", Lower, 1)
	measure(after, "soak", "usher", "cpu_us", Lower, 1)
	after.Targets[1].Version = "3.0"
	after.Targets = append(after.Targets, Target{Name: "hitch"})
	after.Machine.Cores = 4
	after.Settings["curve"], after.Settings["repetitions"] = "P-256", "5"
	before.Settings["load_average"], after.Settings["load_average"] = "0.10 0.20 0.30", "1.10 0.90 0.80"
	before.Settings["other_cpu"], before.Settings["other_cpu.logins"] = "0.02", "0.01"
	after.Settings["other_cpu"], after.Settings["other_cpu.logins"] = "0.87", "0.99"
	return Compare(before, after, Filter{})
}

func TestCompare(t *testing.T) {
	c := compared()
	var text, json bytes.Buffer
	if err := c.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteJSON(&json); err != nil {
		t.Fatal(err)
	}
	golden(t, "compare.txt", text.Bytes())
	golden(t, "compare.json", json.Bytes())
	for _, tt := range []struct {
		scenario, target   string
		significant, worse bool
		by10, by25         bool // worse by more than that
	}{
		{"login-imaps", "usher", true, false, false, false},
		{"login-imaps", "haproxy", false, false, false, false},
		{"login-pop3s", "usher", true, true, true, false}, // +25 %
		{"login-rate", "usher", true, true, false, false}, // -10 %, less is worse
		{"storm", "usher", true, true, true, true},        // from nothing
		{"storm", "haproxy", false, false, false, false},
		{"day", "usher", false, false, false, false}, // three are too few
		{"soak", "usher", false, false, false, false},
		{"soak", "haproxy", false, false, false, false},
	} {
		i := slices.IndexFunc(c.Figures, func(f FigureDiff) bool { return f.Scenario == tt.scenario })
		if i < 0 {
			t.Errorf("%s is not compared", tt.scenario)
			continue
		}
		j := slices.IndexFunc(c.Figures[i].Targets, func(d Diff) bool { return d.Target == tt.target })
		if j < 0 {
			t.Errorf("%s of %s is not compared", tt.scenario, tt.target)
			continue
		}
		d := c.Figures[i].Targets[j]
		if d.Significant != tt.significant || d.Worse != tt.worse || d.WorseBy(0.10) != tt.by10 || d.WorseBy(0.25) != tt.by25 {
			t.Errorf("%s of %s: significant %v, worse %v, by 10 %% %v, by 25 %% %v; want %+v",
				tt.scenario, tt.target, d.Significant, d.Worse, d.WorseBy(0.10), d.WorseBy(0.25), tt)
		}
	}
	for _, want := range []string{"cores differs: 2, now 4", "curve differs: X25519, now P-256", "repetitions differs: unknown, now 5", "haproxy differs: 2.6, now 3.0", "hitch is only in the new", "1 figures have so few samples", "0.870 processors busy during the new run"} {
		if !slices.ContainsFunc(c.Warnings, func(w string) bool { return strings.Contains(w, want) }) {
			t.Errorf("no warning says %q: %q", want, c.Warnings)
		}
	}
	if len(c.Warnings) != 7 {
		t.Errorf("got %d warnings, want no other than these 7: %q", len(c.Warnings), c.Warnings)
	}
}

// TestTooFew holds the number of samples that are warned of to the test itself: values
// that are wholly apart are as far apart as can be.
func TestTooFew(t *testing.T) {
	for n := 1; n <= 8; n++ {
		for m := 1; m <= 8; m++ {
			var low, high []float64
			for i := range n {
				low = append(low, float64(i))
			}
			for i := range m {
				high = append(high, float64(100+i))
			}
			if got, p := tooFew(n, m), differ(low, high); got != (p >= significant) {
				t.Errorf("%d and %d samples are too few: %v, but the test says p = %.3f", n, m, got, p)
			}
		}
	}
}

// TestGeomeans leaves out what has no ratio: from and to nothing.
func TestGeomeans(t *testing.T) {
	c := compared()
	for _, f := range c.Figures {
		if f.Metric == "lost" && f.Geomean != 0 {
			t.Errorf("%s: a geomean %v of one ratio", f.Scenario, f.Geomean)
		}
	}
	for _, g := range c.Overall {
		if g.Metric == "lost" {
			t.Errorf("a geomean of one scenario: %+v", g)
		}
	}
	// The root of 82/102 × 102/102.
	if f, want := c.Figures[0], math.Sqrt(82.0/102); math.Abs(f.Geomean-want) > 1e-9 {
		t.Errorf("%s: geomean %v, want %v", f.Scenario, f.Geomean, want)
	}
}

func TestCompareAlike(t *testing.T) {
	before, after := pair()
	measure(before, "day", "usher", "cpu_us", Lower, 1, 2, 3, 4)
	measure(after, "day", "usher", "cpu_us", Lower, 1, 2, 3, 4)
	if c := Compare(before, after, Filter{}); len(c.Warnings) > 0 || c.Figures[0].Targets[0].Significant {
		t.Errorf("two runs that are the same: %+v", c)
	}
}

func TestCompareUnits(t *testing.T) {
	before, after := pair()
	measure(before, "day", "usher", "cpu_us", Lower, 1, 2, 3, 4)
	measure(after, "day", "usher", "cpu_us", Higher, 1, 2, 3, 4)
	c := Compare(before, after, Filter{})
	if len(c.Figures) != 0 || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "left out") {
		t.Errorf("a metric that changed its direction: %+v", c)
	}
}

func TestFilter(t *testing.T) {
	before, after := pair()
	for _, r := range []*Run{before, after} {
		for _, scenario := range []string{"login-imaps", "login-pop3s", "day"} {
			for _, target := range []string{"usher", "haproxy"} {
				measure(r, scenario, target, "cpu_us", Lower, 1, 2, 3, 4)
				measure(r, scenario, target, "rate", Higher, 1, 2, 3, 4)
			}
		}
	}
	for _, tt := range []struct {
		name             string
		filter           Filter
		figures, targets int
	}{
		{"all", Filter{}, 6, 12},
		{"scenarios by pattern", Filter{Scenarios: []string{"login-*"}}, 4, 8},
		{"two scenarios", Filter{Scenarios: []string{"day", "login-imaps"}}, 4, 8},
		{"target", Filter{Targets: []string{"usher"}}, 6, 6},
		{"all three", Filter{Scenarios: []string{"day"}, Targets: []string{"ha*"}, Metrics: []string{"rate"}}, 1, 1},
		{"nothing", Filter{Targets: []string{"hitch"}}, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := Compare(before, after, tt.filter)
			targets := 0
			for _, f := range c.Figures {
				targets += len(f.Targets)
			}
			if len(c.Figures) != tt.figures || targets != tt.targets {
				t.Errorf("%d figures of %d targets, want %d of %d", len(c.Figures), targets, tt.figures, tt.targets)
			}
		})
	}
	if err := (Filter{Metrics: []string{"[a"}}).Validate(); err == nil {
		t.Error("a pattern that is none was taken")
	}
}
