package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"usher.example/balancer/admin"
	"usher.example/health"
)

// pluginLine is what the guidelines for plugins allow of a line: a status, a text
// without |, and numbers, each 'label'=value[unit];[warn];[crit];[min];[max].
var pluginLine = regexp.MustCompile(`^USHER (OK|WARNING|CRITICAL|UNKNOWN) - [^|\n]+( \|( [a-z_]+=-?\d+;(\d+:?)?;(\d+:?)?;\d*;\d*)+)?$`)

// TestJudge judges nodes. The time is fixed: the certificate is good for 61 days.
func TestJudge(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name   string
		change func(*admin.Checkup)
		k      checkup
		status int
		want   string // in the line
	}{
		{"well", func(*admin.Checkup) {}, checkup{}, pluginOK, "ready, 10 sessions, 4 back ends up | sessions=10;;;0;100 prelogin=1;;;0; backends_down=0;0;;0;4 certificate_days=61;7:;2:;0; fleet_alive=3;;;0;3"},
		{"degraded", func(c *admin.Checkup) {
			c.State, c.Reasons = health.StateDegraded, []health.Reason{{Code: health.Isolated, Text: "isolated | alone"}}
		}, checkup{}, pluginWarning, "degraded: isolated / alone"},
		{"draining", func(c *admin.Checkup) { c.State = health.StateDraining }, checkup{}, pluginWarning, "draining"},
		{"isolated", func(c *admin.Checkup) { c.State = health.StateIsolated }, checkup{}, pluginCritical, "isolated"},
		{"unable", func(c *admin.Checkup) { c.State = health.StateLive }, checkup{}, pluginCritical, "live"},
		{"a back end down", func(c *admin.Checkup) { c.Down = []string{"main/mail1"} }, checkup{}, pluginWarning, "1 of 4 back ends down: main/mail1"},
		{"as many as are critical", func(c *admin.Checkup) { c.Down = []string{"a", "b"} }, checkup{crit: map[string]int{"backends": 2}}, pluginCritical, "backends_down=2;0;1;0;4"},
		{"none is too many for him", func(c *admin.Checkup) { c.Down = []string{"a"} }, checkup{warn: map[string]int{"backends": 0}}, pluginOK, "backends_down=1;;;0;4"},
		{"many down are not all named", func(c *admin.Checkup) { c.Down = strings.Split("a b c d e f g", " ") }, checkup{}, pluginWarning, "a; b; c; d; e; 2 more"},
		{"a certificate of six days", func(c *admin.Checkup) { c.Certificate.NotAfter = now.Add(7*24*time.Hour - 1) }, checkup{}, pluginWarning, "certificate mail.example.org ends on 2026-01-07"},
		{"of seven", func(c *admin.Checkup) { c.Certificate.NotAfter = now.Add(7 * 24 * time.Hour) }, checkup{}, pluginOK, "certificate_days=7;"},
		{"of one", func(c *admin.Checkup) { c.Certificate.NotAfter = now.Add(47 * time.Hour) }, checkup{}, pluginCritical, "certificate_days=1;"},
		{"over", func(c *admin.Checkup) { c.Certificate.NotAfter = now.Add(-time.Hour) }, checkup{}, pluginCritical, "certificate_days=0;"},
		{"no TLS", func(c *admin.Checkup) { c.Certificate = nil }, checkup{}, pluginOK, "ready"},
		{"sessions", func(c *admin.Checkup) { c.Sessions = 90 }, checkup{warn: map[string]int{"sessions": 80}, crit: map[string]int{"sessions": 95}}, pluginWarning, "sessions=90;79;94;0;100"},
		{"no quorum", func(c *admin.Checkup) { c.Fleet.Quorum = false }, checkup{}, pluginWarning, "no quorum"},
		{"a voter missing", func(c *admin.Checkup) { c.Fleet.Missing = []string{"edge-3"} }, checkup{}, pluginWarning, "missing voters: edge-3"},
		{"a certificate with a problem", func(c *admin.Checkup) { c.Problems = 1 }, checkup{}, pluginWarning, "1 certificate to see to"},
		{"a bad file", func(c *admin.Checkup) { c.Config = false }, checkup{}, pluginWarning, "the last reload failed"},
		{"the worst counts", func(c *admin.Checkup) { c.State, c.Config = health.StateLive, false }, checkup{}, pluginCritical, "live"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &admin.Checkup{
				Verdict: health.Verdict{State: health.StateReady}, Sessions: 10, Prelogin: 1, MaxSessions: 100, Backends: 4, Config: true,
				Certificate: &admin.CertificateEnd{Name: "mail.example.org", NotAfter: now.Add(61 * 24 * time.Hour)},
				Fleet:       &admin.FleetCheckup{Nodes: 3, Alive: 3, Quorum: true},
			}
			tt.change(c)
			status, text := tt.k.judge(c, now)
			line := "USHER " + pluginStates[status] + " - " + oneLine(text) + " | " + tt.k.numbers(c, now)
			if status != tt.status || !strings.Contains(line, tt.want) {
				t.Errorf("got %d %q, want %d and %q", status, line, tt.status, tt.want)
			}
			if !pluginLine.MatchString(line) {
				t.Errorf("not as plugins talk: %q", line)
			}
		})
	}
}

// TestCheckHealth asks a running node by both ways, drained and gone.
func TestCheckHealth(t *testing.T) {
	p := newPlant(t)
	p.mail("mail1", "one")
	p.socket = filepath.Join(t.TempDir(), "socket")
	s := p.serve()
	check := func(want int, part string, args ...string) {
		t.Helper()
		out, status, _ := run(t, append([]string{"check-health", "--socket", s.socket, "--timeout", "20s"}, args...)...)
		line := strings.TrimSuffix(out, "\n")
		if status != want || !pluginLine.MatchString(line) || !strings.Contains(line, part) {
			t.Errorf("%q: got %d %q, want %d and %q", args, status, out, want, part)
		}
	}
	check(pluginOK, "ready, 0 sessions, 1 back end up")
	check(pluginOK, "ready", "--ready")
	check(pluginUnknown, "-w sheep=1", "-w", "sheep=1")
	check(pluginUnknown, "invalid", "-c", "nonsense")
	check(pluginUnknown, "unknown", "extra")
	check(pluginUnknown, "--url", "--url", "ftp://x")
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if out, status, err := run(t, "node", "drain", name, "--socket", s.socket); status != 0 {
		t.Fatalf("drain: %v\n%s", err, out)
	}
	check(pluginWarning, "draining: drained by an administrator")
	check(pluginCritical, "draining: drained by an administrator", "--ready")

	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) }))
	defer other.Close()
	check(pluginUnknown, "is not usher's", "--url", other.URL)
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer silent.Close()
	began := time.Now()
	check(pluginCritical, "deadline", "--url", silent.URL, "--timeout", "50ms")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("a check with a timeout of 50 ms took %v", took)
	}
	check(pluginCritical, "not running", "--socket", t.TempDir()+"/none")
}

// TestReasonCodes holds the table of the manual to the list.
func TestReasonCodes(t *testing.T) {
	page, err := os.ReadFile("../../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| code | meaning |\n| --- | --- |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var want []string
	for _, r := range health.Codes() {
		want = append(want, "| `"+string(r.Code)+"` | "+r.Text+" |")
	}
	if got := strings.Join(want, "\n"); table != got {
		t.Errorf("docs/monitoring.md has\n%s\nwant\n%s", table, got)
	}
	for _, s := range health.States() {
		if !strings.Contains(string(page), "\n| `"+string(s)+"` | ") {
			t.Errorf("docs/monitoring.md has no state %s", s)
		}
	}
}

// TestWithdraw: a node that is told to stop says so at once and goes on, until a
// second order or its time is over.
func TestWithdraw(t *testing.T) {
	p := newPlant(t)
	p.mail("mail1", "one")
	p.socket = filepath.Join(t.TempDir(), "socket")
	p.head = "withdraw = \"30s\"\ndrain = \"0s\"\n"
	s := p.serve()
	s.orders.stop <- os.Interrupt
	await(t, "the node says that it drains", func() bool {
		out, status, _ := run(t, "check-health", "--ready", "--timeout", "20s", "--socket", s.socket)
		return status == pluginCritical && strings.Contains(out, "draining")
	})
	if strings.Contains(s.log.String(), "the listeners are closed now") {
		t.Error("the listeners are closed already")
	}
	if out, _, err := run(t, "status", "--socket", s.socket); err != nil || strings.Contains(out, "no listener is open") {
		t.Errorf("got %v\n%s", err, out)
	}
	select {
	case err := <-s.ended:
		t.Fatalf("it has ended: %v", err)
	default:
	}
	s.orders.stop <- os.Interrupt
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
	saidWithdrawn(t, s.log.String())
}

// saidWithdrawn wants a node to say that its listeners are closed, when they are.
func saidWithdrawn(t *testing.T, log string) {
	t.Helper()
	closed, withdrawn := strings.LastIndex(log, "event=listener_closed"), strings.Index(log, "event=node_withdrawn")
	if closed < 0 || withdrawn < closed || strings.Count(log, "event=node_withdrawn") != 1 {
		t.Errorf("the listeners are closed at %d, said to be at %d of\n%s", closed, withdrawn, log)
	}
}

// TestWithdrawAtOnce: also a node that waits for nobody says when its listeners are closed.
func TestWithdrawAtOnce(t *testing.T) {
	p := newPlant(t)
	p.mail("mail1", "one")
	p.head = "withdraw = \"0s\"\ndrain = \"0s\"\n"
	s := p.serve()
	s.orders.stop <- os.Interrupt
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
	saidWithdrawn(t, s.log.String())
}
