package main_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"usher.example/cmd/internal/dovecot"
)

const (
	// localPorts is how many the kernel of the test has to give.
	localPorts = 40
	// often is the time between probes, so that a verdict takes no time.
	often = 100 * time.Millisecond
)

// TestPortsRunOut: a node that has no local port left for connections to a back end
// refuses a login and says what to do. The back end stays up: its probes that cannot be made
// are no verdict, those whose sessions it has go on, and when one ends the next gets in.
func TestPortsRunOut(t *testing.T) {
	t.Parallel()
	if !inNetwork(t) {
		return
	}
	ip(t, "link", "set", "lo", "up")
	ports := fmt.Sprintf("40000 %d", 40000+localPorts-1)
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte(ports), 0); err != nil {
		t.Fatal(err)
	}
	store := newStub(t)
	s := &site{t: t, host: "127.0.0.1", dir: t.TempDir(), authority: dovecot.NewAuthority(t)}
	s.head = "[limits]\nsessions_per_user = 0\n"
	s.listeners = []listener{{name: "plain", protocol: "imap", tls: "none", port: portIMAP, more: "plaintext_login = true\n"}}
	host, port, _ := net.SplitHostPort(store.l.Addr().String())
	health := fmt.Sprintf("interval = %q\nfast_interval = %q\ntimeout = %q\n", often, often, often)
	s.pools = []pool{{name: "main", storage: "shared", health: health, backends: []backend{{
		name: "stub", host: host, imap: net.JoinHostPort(host, port), more: "tls = \"none\"\n",
	}}}}
	s.renew()
	p := s.serve()
	came := 0
	login := func() (*client, string) {
		came++ // clients have ports of their own: each comes from another address
		c := enter(t, s, "imap", entry{plain: true, from: fmt.Sprintf("127.1.%d.%d", came>>8, came&255)})
		c.send("a LOGIN joe@example.org secret")
		return c, c.until("a ")
	}

	var sessions []*client
	for len(sessions) <= localPorts {
		c, verdict := login()
		if strings.HasPrefix(verdict, "a NO [UNAVAILABLE]") {
			c.Close()
			break
		}
		if !strings.HasPrefix(verdict, "a OK") {
			t.Fatalf("login %d: %q, %v", len(sessions), verdict, c.err)
		}
		sessions = append(sessions, c)
	}
	if n := len(sessions); n < localPorts/2 || n > localPorts {
		t.Fatalf("%d sessions by %d ports", n, localPorts)
	}
	for began := time.Now(); time.Since(began) < 20*often; { // probes enough for a verdict
		c, verdict := login()
		if strings.HasPrefix(verdict, "a OK") && len(sessions) < localPorts {
			sessions = append(sessions, c) // by the port that a probe had a moment ago
			continue
		}
		if !strings.HasPrefix(verdict, "a NO [UNAVAILABLE]") {
			t.Fatalf("without a port: %q, %v", verdict, c.err)
		}
		c.Close()
	}
	if up := p.metric(t, "usher_backend_up"); up != 1 {
		t.Errorf("usher_backend_up is %v, though only ports are lacking", up)
	}
	if text := p.log.String(); !strings.Contains(text, "event=resources_exhausted") || !strings.Contains(text, "ip_local_port_range") {
		t.Errorf("the log does not say what to do:\n%s", text)
	}
	for i, c := range sessions {
		c.send("hello %d", i)
		if got, want := c.line(), fmt.Sprintf("hello %d", i); got != want {
			t.Errorf("session %d: %q, %v", i, got, c.err)
		}
	}
	sessions[0].Close()
	eventually(t, "the port of an ended session lets the next in", func() bool {
		c, verdict := login()
		if strings.HasPrefix(verdict, "a OK") {
			return true
		}
		c.Close()
		return false
	})
}
