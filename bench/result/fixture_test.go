package result

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write what is made into testdata/")

// made is a run whose every figure is made up. It has what a report has to cope
// with: a target that is missing, one that failed, one that was not asked, a
// peer that needs ten times as much, losses, and a course over time.
func made() *Run {
	r := &Run{
		Schema:  Schema,
		Started: time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC),
		Elapsed: 83*time.Minute + 12*time.Second,
		Machine: Machine{CPU: "Example 9000", Cores: 4, Memory: 16 << 30, Kernel: "6.1.0-1-amd64", Distribution: "Debian GNU/Linux 12", Arch: "amd64", Go: "go1.26.8"},
		Settings: map[string]string{
			"repetitions": "5", "suite": "TLS_AES_128_GCM_SHA256", "curve": "X25519", sessionsPerUser: "0.85",
		},
		Targets: []Target{
			{Name: "usher", Version: "devel"},
			{Name: "haproxy", Version: "2.6.12", Note: "mode tcp: knows no user"},
			{Name: "nginx-mail", Version: "1.22.1", Note: "4k buffers | auth_http"},
			{Name: "hitch", Missing: "hitch is not installed: make bench-setup"},
			{Name: "perdition", Version: "2.2", Note: "P-256"},
			{Name: "naive"},
		},
	}
	put := func(scenario, metric, unit, better string, medians map[string]float64) {
		for _, t := range r.Targets {
			v, ok := medians[t.Name]
			if !ok {
				continue
			}
			for i, of := range []float64{1, 0.96, 1.07, 1.01, 0.99} {
				r.Add(Sample{scenario, t.Name, metric, unit, better, i, v * of})
			}
		}
	}
	put("login-imaps", "cpu_us", "µs", Lower, map[string]float64{"usher": 452, "haproxy": 590, "nginx-mail": 702, "perdition": 6725, "naive": 553})
	put("login-imaps", "p99_ms", "ms", Lower, map[string]float64{"usher": 9.8, "haproxy": 9.6, "nginx-mail": 93.2, "perdition": 63.3, "naive": 8.2})
	put("login-imaps", "failed", "", Lower, map[string]float64{"usher": 0, "haproxy": 0, "nginx-mail": 0, "perdition": 0, "naive": 0})
	put("login-starttls", "cpu_us", "µs", Lower, map[string]float64{"usher": 520, "nginx-mail": 670, "perdition": 6725})
	put("login-starttls", "failed", "", Lower, map[string]float64{"usher": 0, "nginx-mail": 0, "perdition": 0})
	put("login-rate", "rate", "/s", Higher, map[string]float64{"usher": 1700, "haproxy": 1348, "nginx-mail": 1055, "perdition": 156, "naive": 1521})
	put("idle-2000", "pss_kib", "KiB", Lower, map[string]float64{"usher": 1.31, "haproxy": 17.3, "nginx-mail": 23.9, "perdition": 361, "naive": 53.1})
	put("idle-2000", "pss_kernel_kib", "KiB", Lower, map[string]float64{"usher": 9.4, "haproxy": 25.4, "nginx-mail": 31.9, "naive": 61.4})
	put("idle-2000", "cpu_ms_per_s", "ms/s", Lower, map[string]float64{"usher": 0, "haproxy": 10, "nginx-mail": 0, "naive": 0})
	put("down-tls-1", "cpu_s_per_gb", "s/GB", Lower, map[string]float64{"usher": 0.92, "haproxy": 1.35, "nginx-mail": 2.38, "perdition": 5.45, "naive": 1.35})
	put("storm", "back_s", "s", Lower, map[string]float64{"usher": 6.2, "haproxy": 7.7, "naive": 6.9})
	put("storm", "refused", "", Lower, map[string]float64{"usher": 0, "haproxy": 3, "naive": 0})
	put("storm", "cpu_us", "µs", Lower, map[string]float64{"usher": 600, "haproxy": 700, "naive": 650})
	put("day", "cpu_ms_per_user_hour", "ms", Lower, map[string]float64{"usher": 5, "haproxy": 6, "nginx-mail": 7, "naive": 8})
	put("fleet-1", "cpu_us_one", "µs", Lower, map[string]float64{"usher": 455})
	put("fleet-3", "cpu_us_one", "µs", Lower, map[string]float64{"usher": 461})
	put("trial_of-something", "new_metric", "", Lower, map[string]float64{"usher": 0.000412, "haproxy": 123456})
	r.AddFault(Fault{Scenario: "storm", Target: "nginx-mail", Repetition: 2, Text: "dial: <refused>\n\x1b[31mbind | \xff"})
	for i, target := range []string{"usher", "haproxy", "naive", "perdition"} {
		s := Series{Scenario: "storm", Target: target, Name: "sessions", Unit: "sessions"}
		slow := 1.0
		if target == "perdition" {
			slow = 6
		}
		for x := range 40 {
			s.X = append(s.X, float64(x)/4*slow)
			s.Y = append(s.Y, min(9000, float64(x)*(400-40*float64(i))))
		}
		r.Series = append(r.Series, s)
	}
	return r
}

// golden holds what was made against a file in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s is not what is made now: look at go test ./bench/result -update and git diff", path)
	}
}
