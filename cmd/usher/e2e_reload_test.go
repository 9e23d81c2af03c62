package main_test

import (
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"usher.example/cmd/internal/dovecot"
)

// reload writes the configuration and has it read, and returns what the log
// says of it: one line.
func (p *proc) reload(t testing.TB, s *site) string {
	t.Helper()
	const verdict = ` msg="(configuration reloaded|the configuration is not good)`
	n := len(p.log.lines(verdict))
	s.write()
	p.signal(syscall.SIGHUP)
	return p.log.await(t, verdict, n+1)[n]
}

// load logs in and out without a pause, through all doors, until stop.
type load struct {
	wg     sync.WaitGroup
	stop   atomic.Bool
	logins atomic.Int64
	mu     sync.Mutex
	faults map[string]int // guarded by mu
}

func startLoad(s *site, workers int) *load {
	l := &load{faults: map[string]int{}}
	for w := range workers {
		l.wg.Go(func() {
			for i := 0; !l.stop.Load(); i++ {
				door, user := doors[i%len(doors)], fmt.Sprintf("load%d-%d", w, i%7)
				c := s.enter(door, entry{})
				verdict := c.login(user, "secret")
				if c.err == nil && good(verdict) && c.works() {
					c.logout()
				}
				c.Close()
				l.logins.Add(1)
				if c.err != nil || !good(verdict) {
					l.mu.Lock()
					l.faults[fmt.Sprintf("%s: %s %v", door, verdict, c.err)]++
					l.mu.Unlock()
				}
			}
		})
	}
	return l
}

// end waits for the last logins and reports those that went wrong.
func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop.Store(true)
	l.wg.Wait()
	for fault, n := range l.faults {
		t.Errorf("%d logins: %s", n, fault)
	}
	t.Logf("%d logins", l.logins.Load())
}

// TestReloads reloads a hundred times, each time with something changed, under
// logins and live sessions: none of either is lost. Every tenth configuration is
// broken; the one in force stays, and the log says where the fault is.
func TestReloads(t *testing.T) {
	reloads, live := 100, 50
	if long() {
		reloads = 1000
	}
	one, two := pair(t, dovecot.Options{})
	s := newSite(t, "shared", one, two)
	p := s.serve()
	cr := gather(t, s, p, live)
	l := startLoad(s, 4)
	t.Cleanup(func() { l.stop.Store(true); l.wg.Wait() })

	usual, head := slices.Clone(s.listeners), s.head
	good, bad := 0, 0
	var took time.Duration
	for i := range reloads {
		if i%10 == 9 {
			bad++
			breakAndReload(t, s, p)
			continue
		}
		good++
		s.listeners = slices.Clone(usual)
		s.head = head
		s.pools[0].backends[0].more = fmt.Sprintf("weight = %d\n", 50+i%100)
		if i%3 == 1 {
			s.listeners = append(s.listeners, listener{name: "extra", protocol: "imap", tls: "implicit", port: portExtra})
		}
		if i%4 == 1 {
			s.head += fmt.Sprintf("hostname = \"mail%d.example.org\"\n[limits]\nprelogin = %d\nlogin_time = \"50s\"\n", i, 1000+i)
		}
		serial := ""
		if i%5 == 1 {
			s.renew()
			serial = fmt.Sprint(presented(t, s, portIMAPS))
		}
		start := time.Now()
		if line := p.reload(t, s); !strings.Contains(line, "configuration reloaded") {
			t.Fatalf("reload %d: %s", i, line)
		}
		took = max(took, time.Since(start))
		if serial != "" && serial == fmt.Sprint(presented(t, s, portIMAPS)) {
			t.Errorf("reload %d: the certificate is the old one", i)
		}
		c := s.enter("imaps", entry{port: portExtra})
		if open := c.err == nil; open != (i%3 == 1) {
			t.Errorf("reload %d: the extra listener answers: %v (%v)", i, open, c.err)
		}
		c.Close()
	}
	l.end(t)
	t.Logf("%d reloads, %d of them refused; the longest took %v", reloads, bad, took.Round(time.Millisecond))
	if l.logins.Load() < int64(reloads) {
		t.Errorf("%d logins in %d reloads: that was no load", l.logins.Load(), reloads)
	}
	together(slices.Collect(maps.Keys(cr.clients)), func(user string) {
		if c := cr.clients[user]; !c.alive() {
			t.Errorf("%s lost his session: %v", user, c.err)
		}
	})
	for result, want := range map[string]int{"ok": good + 1, "failed": bad} { // the start is one
		if got := p.metric(t, "usher_config_reloads_total", `result="`+result+`"`); int(got) != want {
			t.Errorf("metrics: %v reloads %q, want %d", got, result, want)
		}
	}
	if got := p.metric(t, "usher_auth_total", `result="ok"`); int64(got) != l.logins.Load()+int64(live) {
		t.Errorf("metrics: %v logins, want %d", got, l.logins.Load()+int64(live))
	}
}

// breakAndReload tries configurations that are wrong in different ways.
func breakAndReload(t *testing.T, s *site, p *proc) {
	t.Helper()
	site := *s // which the load goes on reading
	s = &site
	lines := strings.Count(s.toml(), "\n")
	var want []string
	switch n := len(p.log.lines("the configuration is not good")); n % 3 {
	case 0: // two faults at once
		s.pools = slices.Clone(s.pools)
		s.pools[0].backends = slices.Clone(s.pools[0].backends)
		s.pools[0].backends[1].more = "wieght = 7\nsessions = \"many\"\n"
		want = []string{fmt.Sprintf("usher.toml:%d:1: ", lines+1), "wieght", fmt.Sprintf("usher.toml:%d:1: ", lines+2), "sessions"}
	case 1: // a file that is not there
		s.listeners = slices.Clone(s.listeners)
		s.listeners[0].more = "certificates = [{ cert_file = \"/nowhere/mail.pem\", key_file = \"/nowhere/mail.key\" }]\n"
		want = []string{"usher.toml:", "cert_file", "/nowhere/mail.pem"}
	case 2: // a port that somebody else has
		s.listeners = append(slices.Clone(s.listeners), listener{name: "taken", protocol: "imap", tls: "implicit", port: portReserve})
		want = []string{"taken", "address already in use"}
	}
	line := p.reload(t, s)
	for _, w := range append(want, "the configuration is not good; the one in force stays") {
		if !strings.Contains(line, w) {
			t.Errorf("a broken configuration: got %q, want it to have %q", line, w)
		}
	}
	if got := p.metric(t, "usher_config_last_reload_successful"); got != 0 {
		t.Errorf("metrics: the last reload was successful: %v", got)
	}
}

// presented is the serial number of the certificate that a listener shows.
func presented(t testing.TB, s *site, port int) any {
	t.Helper()
	c, err := tls.Dial("tcp", hostPort(s.host, port), s.clientTLS())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber
}
