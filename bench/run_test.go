package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"usher.example/bench/peers"
	"usher.example/bench/result"
	"usher.example/bench/scenario"
)

// asBench makes this test program the benchmark: a run starts its own program as
// the back end of all targets.
const asBench = "USHER_BENCH_TEST_IS_BENCH"

func TestMain(m *testing.M) {
	if os.Getenv(asBench) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// measure runs a command as main does.
func measure(ctx context.Context, t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	t.Setenv(asBench, "1")
	var out, errs bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&errs)
	err = root.ExecuteContext(ctx)
	return out.String(), errs.String(), err
}

// TestRun measures usher, a little.
func TestRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "run.json")
	stdout, stderr, err := measure(t.Context(), t, "run", "--quick", "--targets", "usher",
		"--scenarios", "login-imaps,idle-20", "--sessions", "20", "--out", file)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	run := readRun(t, file)
	for _, f := range run.Faults {
		t.Errorf("fault in %s of %s: %s", f.Scenario, f.Target, f.Text)
	}
	for _, want := range []struct {
		scenario, metric string
		least, most      float64
	}{
		{"login-imaps", "cpu_us", 20, 100_000}, // a handshake alone is more, and a tenth of a second is no login
		{"login-imaps", "rate", 1, 100_000},
		{"login-imaps", "failed", 0, 0},
		// Of each session: the client's and the back end's; a pipe may be the first's. A loop
		// without sessions, one for two processors, has a descriptor that it gives back for them.
		{"idle-20", "files", 2 - float64(runtime.NumCPU()+1)/2/20, 2.2},
	} {
		i := slices.IndexFunc(run.Samples, func(s result.Sample) bool {
			return s.Scenario == want.scenario && s.Target == "usher" && s.Metric == want.metric
		})
		switch {
		case i < 0:
			t.Errorf("%s has no %s", want.scenario, want.metric)
		case run.Samples[i].Value < want.least || run.Samples[i].Value > want.most:
			t.Errorf("%s of %s is %v, want %v to %v", want.metric, want.scenario, run.Samples[i].Value, want.least, want.most)
		}
	}
	if run.Machine.Cores == 0 || run.Targets[0].Version == "" || run.Settings["load_average"] == "" || run.Settings["other_cpu"] == "" {
		t.Errorf("the run does not say where and how it was made: %+v, %+v, %v", run.Machine, run.Targets, run.Settings)
	}
	if !strings.Contains(stdout, "login-imaps") {
		t.Errorf("the report does not name the scenario:\n%s", stdout)
	}
	if !strings.Contains(stderr, "1/2 ") || !strings.Contains(stderr, "idle-20 1/1 of usher") {
		t.Errorf("the progress does not say what runs:\n%s", stderr)
	}
}

// TestRunQuick runs everything once, with what is installed.
func TestRunQuick(t *testing.T) {
	if os.Getenv("USHER_LONG") == "" {
		t.Skip("takes two minutes; set USHER_LONG=1")
	}
	file := filepath.Join(t.TempDir(), "run.json")
	_, stderr, err := measure(t.Context(), t, "run", "--quick", "--out", file)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	run := readRun(t, file)
	installed := map[string]bool{}
	for _, target := range run.Targets {
		installed[target.Name] = target.Missing == ""
	}
	courses, err := scenario.Select(scenario.Catalogue(scenario.Quick()), nil)
	if err != nil {
		t.Fatal(err)
	}
	measured, faulty := map[string]bool{}, map[string]bool{}
	for _, s := range run.Samples {
		measured[s.Scenario+" "+s.Target] = true
	}
	for _, f := range run.Faults {
		faulty[f.Scenario+" "+f.Target] = true
		t.Logf("fault in %s of %s: %s", f.Scenario, f.Target, f.Text)
		if strings.HasPrefix(f.Target, "usher") {
			t.Errorf("usher failed in %s", f.Scenario)
		}
	}
	for _, c := range courses {
		for _, part := range c.Parts {
			if !measured[part.Name+" usher"] {
				t.Errorf("usher was not measured in %s", part.Name)
			}
			if installed["haproxy"] && c.Only == "" && part.Name != "login-starttls" && !measured[part.Name+" haproxy"] && !faulty[part.Name+" haproxy"] {
				t.Errorf("haproxy was not measured in %s, and nobody says why", part.Name)
			}
		}
	}
}

// TestRunInterrupted has a run end early, with a result and without a process.
func TestRunInterrupted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "run.json")
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	if _, stderr, err := measure(ctx, t, "run", "--targets", "direct", "--usher", "none", "--out", file); err == nil ||
		!strings.Contains(err.Error(), file) {
		t.Fatalf("error %v, want one that names the file\n%s", err, stderr)
	}
	if run := readRun(t, file); len(run.Targets) != 1 || len(run.Samples)+len(run.Faults) != 0 {
		t.Errorf("it has %d targets, %d samples and %d faults; want 1 and none", len(run.Targets), len(run.Samples), len(run.Faults))
	}
}

func TestRunRefuses(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "no", "such.json")
	for want, args := range map[string][]string{
		"no target is called \"postfix\"; there are usher,": {"--targets", "postfix"},
		"no scenario matches \"logout\"":                    {"--scenarios", "logout"},
		"--out: ":                                           {"--out", missing},
	} {
		if _, _, err := measure(t.Context(), t, append([]string{"run"}, args...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("run %v: error %v, want %q in it", args, err, want)
		}
	}
}

// TestParams holds sessions to what files allow.
func TestParams(t *testing.T) {
	for _, tt := range []struct {
		name  string
		o     runOptions
		files int
		idle  []int
		storm int
	}{
		{"enough", runOptions{}, 20_000, []int{2000, 9500}, 9000},
		{"few", runOptions{}, 5000, []int{2000}, 2000},
		{"asked", runOptions{sessions: 300}, 20_000, []int{300}, 300},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := tt.o.params(tt.files)
			var idle []int
			for _, h := range p.Idle {
				idle = append(idle, h.Sessions)
			}
			if !slices.Equal(idle, tt.idle) || p.Storm != tt.storm {
				t.Errorf("idle %v and storm %d, want %v and %d", idle, p.Storm, tt.idle, tt.storm)
			}
		})
	}
}

func TestList(t *testing.T) {
	stdout, _, err := measure(t.Context(), t, "list")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range append([]string{"login-imaps-resumed", "soak"}, peers.All()[0].Name) {
		if !strings.Contains(stdout, want) {
			t.Errorf("list does not name %q:\n%s", want, stdout)
		}
	}
}

func readRun(t *testing.T, file string) *result.Run {
	t.Helper()
	run, err := result.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return run
}
