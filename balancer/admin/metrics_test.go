package admin_test

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"usher.example/balancer"
	"usher.example/balancer/admin"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

// busy has a node do a bit of everything.
func busy(t *testing.T) *node {
	t.Helper()
	n := newNode(t)
	n.reloads.Record(nil)
	n.reloads.Record(errors.New("no"))
	n.connect(t).login(t, "joe", "good")
	n.connect(t).login(t, "ann", "wrong")
	m := n.connect(t)
	m.login(t, "bob", "good")
	n.balancer.KickUser("bob", "test")
	m.ended(t)
	<-n.ended
	return n
}

func TestMetrics(t *testing.T) {
	n := busy(t)
	text := n.scrape(t)
	for _, want := range []string{
		`usher_build_info{goversion="go`,
		`usher_ready 1`,
		`usher_draining 0`,
		`usher_state{state="ready"} 1`,
		`usher_state{state="draining"} 0`,
		`usher_reason{code="pool_down"} 0`,
		`usher_listener_open{listener="imap",proto="imap"} 1`,
		`usher_connections_limit{state="any"} 0`,
		`usher_fleet_lease_seconds +Inf`,
		`usher_config_last_reload_successful 0`,
		`usher_config_reloads_total{result="failed"} 1`,
		`usher_accepts_total{listener="imap",proto="imap"} 3`,
		`usher_connections{listener="imap",proto="imap",state="login"} 1`,
		`usher_connections{listener="imap",proto="imap",state="forward"} 1`,
		`usher_sessions_total{failure="none",listener="imap",proto="imap"} 1`,
		`usher_sessions_total{failure="backend_dial",listener="imap",proto="imap"} 0`,
		`usher_session_ends_total{end="killed"} 1`,
		`usher_session_ends_total{end="idle"} 0`,
		`usher_auth_total{mech="command",proto="imap",result="ok"} 2`,
		`usher_auth_total{mech="command",proto="imap",result="failed"} 1`,
		`usher_login_seconds_count{proto="imap"} 2`,
		`usher_login_seconds_bucket{proto="imap",le="60"} 2`,
		`usher_sessions_established_total{path="splice"} 2`,
		`usher_sessions_established_total{path="user"} 0`,
		`usher_tls_fallbacks_total{reason="self_check"} 0`,
		`usher_tls_handshakes_total{result="failed"} 0`,
		`usher_cert_not_after_timestamp_seconds{key="ECDSA",listener="imaps",name="mail.example.org",source="file"} 1.8e+09`,
		`usher_cert_problem{key="ECDSA",listener="imaps",name="mail.example.org",source="file"} 1`,
		`usher_cert_problem{key="ECDSA",listener="pop3s",name="mail.example.org",source="file"} 0`,
		`usher_cert_problem{key="",listener="imaps",name="/etc/usher/?.pem",source="file"} 1`,
		`usher_cert_not_after_timestamp_seconds{key="ECDSA",listener="imaps",name="on demand",source="acme"} 1.7999964e+09`,
		`usher_placements_total{result="home"} 3`,
		`usher_pool_usable_backends{pool="main"} 1`,
		`usher_backend_up{backend="mail1",pool="main"} 1`,
		`usher_backend_state{backend="mail2",pool="main",state="drain"} 1`,
		`usher_backend_state{backend="mail2",pool="main",state="up"} 0`,
		`usher_backend_sessions{backend="mail1",pool="main"} 1`,
		`usher_backend_dial_seconds_count{backend="mail1",pool="main"} 3`,
		`usher_backend_checks_total{backend="mail1",pool="main"} 5`,
		`usher_backend_check_failures_total{backend="mail1",pool="main"} 2`,
		`usher_backend_transitions_total{backend="mail1",pool="main",to="down"} 1`,
		`go_goroutines `,
		`process_open_fds `,
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no %q", want)
		}
	}
	if strings.Contains(text, "made-up") {
		t.Error("a name that a stranger chose is in the metrics")
	}
	if strings.Contains(text, "joe") || strings.Contains(text, "127.0.0.1") {
		t.Error("a user or an address is in the metrics")
	}
	if t.Failed() {
		t.Log(text)
	}
}

// TestCountsOutliveListeners: a drained node is still asked how it ended.
func TestCountsOutliveListeners(t *testing.T) {
	n := busy(t)
	n.scrape(t)
	n.balancer.StopAccepting()
	if text := n.scrape(t); !strings.Contains(text, `usher_accepts_total{listener="imap",proto="imap"} 3`) {
		t.Errorf("the counts of a closed listener are gone:\n%s", text)
	}
}

func TestMetricsCanOnlyBeRead(t *testing.T) {
	n := newNode(t)
	w := httptest.NewRecorder()
	n.Metrics().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://usher/metrics", http.NoBody))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("got %d, want %d", w.Code, http.StatusMethodNotAllowed)
	}
}

func TestPublicGivesNoOrders(t *testing.T) {
	n := newNode(t)
	health := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for path, want := range map[string]int{
		"/metrics": http.StatusOK, "/healthz": http.StatusTeapot,
		admin.StatusPath: http.StatusTeapot, admin.SessionsPath: http.StatusTeapot, admin.KickPath: http.StatusTeapot,
	} {
		w := httptest.NewRecorder()
		n.Public(health).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://usher"+path, http.NoBody))
		if w.Code != want {
			t.Errorf("%s: got %d, want %d", path, w.Code, want)
		}
	}
}

func TestLint(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(busy(t).scrape(t))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestPromtool has Prometheus' own tool judge the metrics.
func TestPromtool(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		if cmp.Or(os.Getenv("CI"), os.Getenv("USHER_REQUIRE_REAL")) != "" {
			t.Fatal("promtool is not installed: apt-get install prometheus")
		}
		t.Skip("promtool is not installed: apt-get install prometheus")
	}
	cmd := exec.CommandContext(t.Context(), tool, "check", "metrics")
	cmd.Stdin = strings.NewReader(busy(t).scrape(t))
	if out, err := cmd.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestReference holds docs/metrics.md to the source, and both to what is
// shown: every metric of the table appears, and no other.
func TestReference(t *testing.T) {
	page := repository("docs/metrics.md")
	if *update {
		if err := os.WriteFile(page, []byte(admin.Reference()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != admin.Reference() {
		t.Error("docs/metrics.md is not what the source says: go test ./balancer/admin -run TestReference -update")
	}
	var documented, shown []string
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "| `usher_"); ok {
			name, rest, _ := strings.Cut(rest, "` | ")
			kind, _, _ := strings.Cut(rest, " |")
			documented = append(documented, "usher_"+name+" "+kind)
		}
	}
	for line := range strings.Lines(busy(t).scrape(t)) {
		if rest, ok := strings.CutPrefix(line, "# TYPE usher_"); ok {
			shown = append(shown, "usher_"+strings.TrimSpace(rest))
		}
	}
	slices.Sort(documented)
	slices.Sort(shown)
	if !slices.Equal(documented, shown) {
		t.Errorf("documented:\n%s\nshown:\n%s", strings.Join(documented, "\n"), strings.Join(shown, "\n"))
	}
}

// TestLabelsOfKinds: the page lists what can be counted.
func TestLabelsOfKinds(t *testing.T) {
	for _, k := range balancer.Kinds() {
		if !strings.Contains(admin.Reference(), "`"+k.String()+"`") {
			t.Errorf("no %v in the reference", k)
		}
	}
}
