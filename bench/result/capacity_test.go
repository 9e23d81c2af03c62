package result

import (
	"math"
	"strings"
	"testing"
)

// TestCapacity reckons a node by hand.
func TestCapacity(t *testing.T) {
	r, _ := pair()
	measure(r, "login-imaps", "usher", "cpu_us", Lower, 400, 500, 900)
	measure(r, "login-imaps", "haproxy", "cpu_us", Lower, 1) // nobody's capacity but usher's
	measure(r, "down-tls-8", "usher", "cpu_s_per_gb", Lower, 0.8)
	measure(r, "day", "usher", "cpu_ms_per_user_hour", Lower, 36)
	measure(r, "storm", "usher", "cpu_us", Lower, 600)
	measure(r, "idle-2000", "usher", "pss_kernel_kib", Lower, 99) // fewer sessions say less
	measure(r, "idle-9500", "usher", "pss_kernel_kib", Lower, 8)
	measure(r, "idle-9500-warm", "usher", "pss_kernel_kib", Lower, 10)
	measure(r, "idle-9500", "usher", "files", Lower, 2)
	r.Settings[sessionsPerUser] = "0.5"
	of := r.costs()
	if got := of["memory"].scenario; got != "idle-9500-warm" {
		t.Errorf("memory is of %s, want that of most sessions, at its dearest", got)
	}
	got := carried(of, 2, 2)
	for name, tt := range map[string]struct{ got, want float64 }{
		"logins":                     {got.full, 2000},                 // 1 s of CPU a second, 500 µs each
		"resumed logins":             {got.resumed, 0},                 // not measured
		"Gbit/s":                     {got.down, 10},                   // 1 / 0.8 GB
		"users by CPU":               {got.usersCPU, 100_000},          // 3,600,000 ms, 36 each
		"idle sessions":              {got.idle, 1 << 20 / 10.0},       // 1 GiB, 10 KiB each
		"users by memory":            {got.usersMemory, 1 << 20 / 5.0}, // two of them share one
		"users":                      {got.users, 100_000},             // the smaller
		"descriptors":                {got.files, 100_000},             // 50,000 sessions
		"seconds until all are back": {got.back, 50_000 * 0.0006 / 2},  // both cores
	} {
		if math.Abs(tt.got-tt.want) > tt.want*1e-9 {
			t.Errorf("%s: %v, want %v", name, tt.got, tt.want)
		}
	}
	text := r.capacityTable()
	for _, want := range []string{"| 2 cores, 2 GiB | 2,000 | – | 10 | – | 100,000 | 100,000 | 100,000 | 100,000 | 15 s |", "that of CPU = 100,000"} {
		if !strings.Contains(text, want) {
			t.Errorf("the table has no %q:\n%s", want, text)
		}
	}
}

// TestNoCapacity: what was not measured is not guessed.
func TestNoCapacity(t *testing.T) {
	r, _ := pair()
	if got := r.capacityTable(); got != "" {
		t.Errorf("a capacity of nothing:\n%s", got)
	}
	page := "<!-- bench:begin capacity -->\n<!-- bench:end capacity -->\n"
	if got, err := Insert(page, r, "x", true); err != nil || !strings.Contains(got, "Nothing of this was measured") {
		t.Errorf("%v, in a page: %s", err, got)
	}
	measure(r, "idle-9500", "usher", "pss_kib", Lower, 4) // of a machine that does not count the kernel's
	measure(r, "idle-9500", "usher", "files", Lower, -1)
	measure(r, "login-imaps", "usher", "cpu_us", Lower, 0)
	text := r.capacityTable()
	if !strings.Contains(text, "process alone") || strings.Contains(text, "-1") || strings.Contains(text, "Inf") {
		t.Errorf("got\n%s", text)
	}
}

func TestAbout(t *testing.T) {
	for v, want := range map[float64]string{
		0: "–", -3: "–", 0.0456: "0.045", 0.5: "0.50", 1: "1.0", 9.99: "9.9", 10: "10", 10.9: "10", 999: "990", 1234: "1,200", 12345678: "12,000,000",
	} {
		if got := about(v); got != want {
			t.Errorf("about(%v) is %s, want %s", v, got, want)
		}
	}
}

// TestBlank takes out what a run has put in, and nothing else.
func TestBlank(t *testing.T) {
	const page = "a\n<!-- bench:begin losses pictures=p -->\n<!-- bench:end losses -->\nb\n<!-- bench:begin day run=x -->\n<!-- bench:end day --> c"
	full, err := Insert(page, made(), "x", true)
	if err != nil || full == page {
		t.Fatalf("%v: %s", err, full)
	}
	if got, err := Blank(full); err != nil || got != page {
		t.Errorf("%v: got %q, want %q", err, got, page)
	}
	if _, err := Blank("<!-- bench:begin losses -->\n"); err == nil {
		t.Error("a part without an end was taken")
	}
}

// TestCut: a target that takes many times as long as the others ends at the edge of
// a line chart, and the key says when it did.
func TestCut(t *testing.T) {
	line := func(target string, end float64) Series {
		return Series{Target: target, X: []float64{0, end}, Y: []float64{0, 100}}
	}
	c := course{series: []Series{line("a", 1), line("b", 2), line("c", 40)}}
	end := c.end()
	if end != 2 {
		t.Fatalf("the scale ends at %v, want 2", end)
	}
	slow := c.series[2].until(end)
	if slow.X[1] != 2 || slow.Y[1] != 5 || c.series[2].X[1] != 40 {
		t.Errorf("cut to %v %v", slow.X, slow.Y)
	}
	if got := c.series[2].key(end); got != "c, to 40.0 s" {
		t.Errorf("key %q", got)
	}
	if got := c.series[1].key(end); got != "b" {
		t.Errorf("key %q", got)
	}
	if late := (Series{X: []float64{3, 4}, Y: []float64{1, 2}}).until(end); len(late.X) != 0 {
		t.Errorf("what begins beyond the scale is %v", late)
	}
}
