package result

import (
	"fmt"
	"slices"
	"testing"
)

// judged is the row of a figure that is asked for.
func judged(t *testing.T, r *Run, title string) Row {
	t.Helper()
	rows := r.Verdict()
	i := slices.IndexFunc(rows, func(row Row) bool { return row.Title == title })
	if i < 0 {
		t.Fatalf("nobody asks for %q", title)
	}
	return rows[i]
}

func TestVerdict(t *testing.T) {
	before, _ := pair()
	r := before
	r.Targets = append(r.Targets, Target{Name: "naive"}, Target{Name: "nginx-mail"}, Target{Name: "nginx-mail-16k"})
	measure(r, "login-imaps", "usher", "cpu_us", Lower, 80)
	measure(r, "login-imaps", "haproxy", "cpu_us", Lower, 100)
	measure(r, "login-imaps", "naive", "cpu_us", Lower, 10) // no peer
	measure(r, "login-imaps", "nginx-mail", "cpu_us", Lower, 130)
	measure(r, "login-imaps", "nginx-mail-16k", "cpu_us", Lower, 110)
	measure(r, "login-pop3s", "haproxy", "cpu_us", Lower, 100)
	measure(r, "login-starttls", "usher", "cpu_us", Lower, 100)
	measure(r, "login-imaps-resumed", "usher", "cpu_us", Lower, 76)
	measure(r, "login-imaps-resumed", "haproxy", "cpu_us", Lower, 100)
	measure(r, "storm", "usher", "back_s", Lower, 11)
	measure(r, "storm", "haproxy", "back_s", Lower, 12)
	measure(r, "storm", "naive", "back_s", Lower, 10) // as good as a peer here
	measure(r, "storm", "usher", "refused", Lower, 0, 0, 1)
	measure(r, "fleet-1", "usher", "rate_one", Higher, 1000)
	measure(r, "fleet-3", "usher", "rate_one", Higher, 960)
	measure(r, "fleet-5", "usher", "rate_one", Higher, 940)
	measure(r, "fleet-1", "usher", "cpu_us_one", Lower, 100)
	measure(r, "fleet-3", "usher", "cpu_us_one", Lower, 106)
	measure(r, "down-tls-1", "usher", "cpu_s_per_gb", Higher, 1) // not what is asked for
	measure(r, "down-tls-1", "haproxy", "cpu_s_per_gb", Higher, 1)
	measure(r, "idle-2000", "usher", "pss_kib", Lower, 1)
	measure(r, "idle-2000", "haproxy", "pss_kib", Lower, 0)
	for _, tt := range []struct{ title, rival, ratio, verdict string }{
		{"CPU per login, IMAPS, full handshake", "haproxy", "0.800", Met},
		{"the same against nginx mail", "nginx-mail-16k", "0.727", Missed},
		{"CPU per login, IMAPS, resumed", "haproxy", "0.760", Missed},
		{"CPU per login, POP3S", "", "", NotMeasured},
		{"CPU per login, STARTTLS", "", "", NotMeasured},
		{"storm: until all are back", "naive", "1.100", Missed},
		{"logins per second of a node of three", "usher, fleet-1", "0.960", Met},
		{"logins per second of a node of five", "usher, fleet-1", "0.940", Missed},
		{"CPU per login of a node of three", "usher, fleet-1", "1.060", Missed},
		{"CPU per GB down, TLS, 1 session", "", "", NotMeasured},
		{"process memory, 2,000 idle sessions", "haproxy", "–", Missed},
	} {
		row := judged(t, r, tt.title)
		if row.Rival != tt.rival || row.Ratio != tt.ratio || row.Verdict != tt.verdict || (row.Why != "") != (row.Verdict == NotMeasured) {
			t.Errorf("%s: %+v, want %+v", tt.title, row, tt)
		}
	}
}

// TestUnsure: a verdict that single repetitions contradict says so, and one of few.
func TestUnsure(t *testing.T) {
	const title, back = "CPU per login, IMAPS, full handshake", "logins per second of a node of three" // ≤ 0.80, ≥ 0.95
	for _, tt := range []struct {
		name          string
		usher, rival  []float64
		ours, alone   []float64
		login, single string
	}{
		{"clear", []float64{70, 71, 72, 73, 74}, []float64{100, 101, 102, 103, 104}, []float64{97, 98, 99, 100, 101}, []float64{100, 100, 101, 101, 102}, "met", "met"},
		{"few", []float64{70, 71, 72}, []float64{100, 101, 102, 103, 104}, []float64{90, 91, 92}, []float64{100, 100, 101}, "met (n = 3)", "missed (n = 3)"},
		{"apart", []float64{70, 71, 72, 73, 82}, []float64{100, 101, 102, 103, 104}, []float64{90, 91, 92, 93, 96}, []float64{100, 100, 101, 101, 102}, "met, within the spread", "missed, within the spread"},
		{"both", []float64{83, 84}, []float64{100, 106}, []float64{90}, []float64{100}, "missed, within the spread (n = 2)", "missed (n = 1)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := pair()
			measure(r, "login-imaps", "usher", "cpu_us", Lower, tt.usher...)
			measure(r, "login-imaps", "haproxy", "cpu_us", Lower, tt.rival...)
			measure(r, "fleet-3", "usher", "rate_one", Higher, tt.ours...)
			measure(r, "fleet-1", "usher", "rate_one", Higher, tt.alone...)
			if got := judged(t, r, title).Words(); got != tt.login {
				t.Errorf("%s: %q, want %q", title, got, tt.login)
			}
			if got := judged(t, r, back).Words(); got != tt.single {
				t.Errorf("%s: %q, want %q", back, got, tt.single)
			}
		})
	}
}

// TestTimes: who judges medians has to see of how many they are.
func TestTimes(t *testing.T) {
	r, _ := pair()
	measure(r, "login-imaps", "usher", "cpu_us", Lower, 1, 2, 3, 4, 5)
	measure(r, "login-imaps", "haproxy", "cpu_us", Lower, 1, 2, 3)
	measure(r, "storm", "usher", "refused", Lower, 0, 0)
	for title, want := range map[string]int{
		"CPU per login, IMAPS, full handshake": 3, "storm: refused": 2, "CPU per login, POP3S": 0,
	} {
		if got := judged(t, r, title).Times; got != want {
			t.Errorf("%s is of %d repetitions, want %d", title, got, want)
		}
	}
}

// TestRefused wants none of any repetition: a median of 0 hides a bad one.
func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   string
	}{
		{[]float64{0, 0, 0}, Met},
		{[]float64{0, 1, 0}, Missed},
	} {
		r, _ := pair()
		measure(r, "storm", "usher", "refused", Lower, tt.values...)
		if got := judged(t, r, "storm: refused").Verdict; got != tt.want {
			t.Errorf("%v refused: %s, want %s", tt.values, got, tt.want)
		}
	}
}

func TestSteady(t *testing.T) {
	for _, tt := range []struct {
		name    string
		seconds int
		of      func(second int) float64
		want    string
	}{
		{"level", 1800, func(int) float64 { return 100 }, Met},
		{"a hill in the middle", 1800, func(s int) float64 { return 100 + float64(s%900)/9 }, Missed},
		{"grown by 2 %", 1800, func(s int) float64 { return 100 + float64(s)/900 }, Met},
		{"grown by 4 %", 1800, func(s int) float64 { return 100 + float64(s)/450 }, Missed},
		{"shrunk by 4 %", 1800, func(s int) float64 { return 100 - float64(s)/450 }, Missed},
		{"too short", 600, func(int) float64 { return 100 }, NotMeasured},
		{"nothing", 1800, func(int) float64 { return 0 }, NotMeasured},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := pair()
			s := Series{Scenario: "soak", Target: "usher", Name: steady[0].series, Unit: "MiB"}
			for second := range tt.seconds + 1 {
				s.X, s.Y = append(s.X, float64(second)), append(s.Y, tt.of(second))
			}
			r.Series = append(r.Series, s)
			row := judged(t, r, steady[0].title)
			if row.Verdict != tt.want || (row.Why != "") != (tt.want == NotMeasured) {
				t.Errorf("%+v, want %s", row, tt.want)
			}
		})
	}
}

// TestAsked holds what is asked to the words of the report: a scenario that no
// chapter knows, or a metric without a title, is a slip of the pen.
func TestAsked(t *testing.T) {
	for _, a := range asked {
		known := a.metric == failed
		for _, g := range groups {
			known = known || g.name == groupOf(a.scenario) && slices.ContainsFunc(g.metrics, func(m metric) bool { return m.name == a.metric })
		}
		if !known || groupOf(a.scenario) == "other" {
			t.Errorf("%s: no chapter has the %s of %s", a.title, a.metric, a.scenario)
		}
	}
}

func TestLosses(t *testing.T) {
	r, _ := pair()
	measure(r, "day", "usher", "cpu_us", Lower, 11, 12, 13)
	measure(r, "day", "haproxy", "cpu_us", Lower, 9, 10, 11)
	measure(r, "login-rate", "usher", "rate", Higher, 90)
	measure(r, "login-rate", "haproxy", "rate", Higher, 100)
	measure(r, "login-rate", "usher", "cpu_us", Lower, 100)
	measure(r, "login-rate", "haproxy", "cpu_us", Lower, 90)
	measure(r, "storm", "usher", "failed", Lower, 0)
	measure(r, "storm", "haproxy", "failed", Lower, 0)
	var got []string
	for _, l := range r.Losses() {
		got = append(got, fmt.Sprint(l.Scenario, " ", l.Metric, " ", l.Overlap))
	}
	if want := []string{"day cpu_us true", "login-rate rate false", "login-rate cpu_us false"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
