package main

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"usher.example/bench/result"
)

func TestCompareCommand(t *testing.T) {
	slower := filepath.Join(t.TempDir(), "slower.json")
	r, err := result.ReadFile(madeRun)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range r.Samples {
		if s.Scenario == "login-imaps" && s.Metric == "cpu_us" && s.Target == "usher" || s.Scenario == "storm" && s.Metric == "back_s" {
			r.Samples[i].Value *= 1.2
		}
	}
	if err := r.WriteFile(slower); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		args  []string
		want  string // in what is printed
		worse bool
		err   string
	}{
		{"table", []string{madeRun, slower}, "+20.0 % (worse)", false, ""},
		{"filtered", []string{madeRun, slower, "--scenario", "storm,idle-*", "--target=usher"}, "idle-2000 pss_kib (KiB)", false, ""},
		{"not worse by so much", []string{madeRun, slower, "--worse", "21"}, "+20.0 % (worse)", false, ""},
		{"worse", []string{madeRun, slower, "--worse", "19"}, "+20.0 % (worse)", true, "cpu_us of usher in login-imaps"},
		{"worse at all", []string{madeRun, slower, "--worse", "0"}, "+20.0 % (worse)", true, "cpu_us of usher in login-imaps"},
		{"not primary", []string{madeRun, slower, "--worse", "0", "--scenario", "storm"}, "+20.0 % (worse)", false, ""},
		{"not primary, but named", []string{madeRun, slower, "--worse", "0", "--scenario", "storm", "--metric", "back_*"}, "+20.0 % (worse)", true, "back_s of usher in storm"},
		{"worse elsewhere", []string{madeRun, slower, "--worse", "0", "--target", "haproxy"}, "~", false, ""},
		{"better", []string{slower, madeRun, "--worse", "0"}, "-16.7 % (better)", false, ""},
		{"a gate without figures", []string{madeRun, slower, "--worse", "0", "--target", "nobody"}, "nothing to compare", false, "nothing was compared"},
		{"a negative gate", []string{madeRun, slower, "--worse", "-3"}, "", false, "0 or more"},
		{"no number", []string{madeRun, slower, "--worse", "NaN"}, "", false, "0 or more"},
		{"no pattern", []string{madeRun, slower, "--metric", "[a"}, "", false, "syntax error"},
		{"one run", []string{madeRun}, "", false, "accepts 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := bench(t, append([]string{"compare"}, tt.args...)...)
			if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) || errors.Is(err, errWorse) != tt.worse {
				t.Errorf("got error %v, want one with %q, of the gate: %v", err, tt.err, tt.worse)
			}
			want := 0
			switch {
			case tt.worse:
				want = exitWorse
			case tt.err != "":
				want = exitFailed
			}
			if got := exitCode(err); got != want {
				t.Errorf("ends with %d, want %d", got, want)
			}
			if !strings.Contains(out, tt.want) {
				t.Errorf("printed\n%s\nwant %q in it", out, tt.want)
			}
		})
	}
}

func TestCompareJSON(t *testing.T) {
	out, err := bench(t, "compare", madeRun, madeRun, "--json", "--scenario", "fleet-3")
	if err != nil {
		t.Fatal(err)
	}
	var c result.Comparison
	if err := json.Unmarshal([]byte(out), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Figures) != 1 || c.Figures[0].Targets[0].Target != "usher" || c.Figures[0].Targets[0].Old.N != 5 || *c.Figures[0].Targets[0].Delta != 0 {
		t.Errorf("got %s", out)
	}
}
