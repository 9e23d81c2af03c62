package main_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"usher.example/cmd/internal/dovecot"
)

// stopping is a site with a live session of IMAP and one of POP3, and a client
// that has not logged in, where usher has just got SIGTERM.
func stopping(t *testing.T, drain string) (p *proc, imap, pop, silent *client) {
	t.Helper()
	one, two := pair(t, dovecot.Options{})
	s := newSite(t, "shared", one, two)
	s.head = "drain = \"" + drain + "\"\n"
	p = s.serve()
	imap, pop, silent = enter(t, s, "imaps", entry{}), enter(t, s, "pop3", entry{}), enter(t, s, "imap", entry{})
	for _, c := range []*client{imap, pop} {
		if got := c.login("joe", "secret"); !good(got) {
			t.Fatalf("login: %s %v", got, c.err)
		}
	}
	start := time.Now()
	p.signal(syscall.SIGTERM)
	var status int
	var body string
	eventually(t, "/readyz says that usher is draining", func() bool {
		status, body = p.ask("/readyz")
		return status != http.StatusOK
	})
	if took := time.Since(start); took > time.Second {
		t.Errorf("/readyz changed after %v, want at once", took)
	}
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "draining") {
		t.Errorf("/readyz: got %d %q, want 503 and draining", status, body)
	}
	if status, _ := p.ask("/healthz"); status != http.StatusOK {
		t.Errorf("/healthz: got %d, want 200 as long as it lives", status)
	}
	eventually(t, "no port answers", func() bool {
		for _, port := range []int{portIMAP, portIMAPS, portPOP3, portPOP3S} {
			if c, err := net.Dial("tcp", p.addr(port)); err == nil {
				c.Close()
				return false
			}
		}
		return true
	})
	for _, c := range []*client{imap, pop} {
		if !c.works() {
			t.Errorf("a live session does not outlive SIGTERM: %v", c.err)
		}
	}
	return p, imap, pop, silent
}

// TestDrain stops usher and lets all sessions end by themselves: it ends then.
func TestDrain(t *testing.T) {
	p, imap, pop, silent := stopping(t, "1m")
	silent.Close()
	imap.logout()
	pop.logout()
	imap.must(t)
	pop.must(t)
	start := time.Now()
	p.wait()
	if took := time.Since(start); took > patience/2 {
		t.Errorf("usher ended %v after the last session", took)
	}
	if lines := p.log.lines(" msg=session .*result=ok end=server_closed"); len(lines) != 2 {
		t.Errorf("log has %d sessions with an orderly end, want 2", len(lines))
	}
}

// TestDrainEnds stops usher and does not let go: sessions are closed when the
// time is over.
func TestDrainEnds(t *testing.T) {
	start := time.Now()
	p, imap, pop, silent := stopping(t, "2s")
	closed(t, p, imap, pop, silent)
	if took := time.Since(start); took < 2*time.Second {
		t.Errorf("sessions were closed after %v, want after 2s", took)
	}
}

// TestSecondSignal stops usher twice: sessions are closed at once.
func TestSecondSignal(t *testing.T) {
	p, imap, pop, silent := stopping(t, "1h")
	start := time.Now()
	p.signal(syscall.SIGTERM)
	closed(t, p, imap, pop, silent)
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("usher ended %v after the second signal, want at once", took)
	}
}

// closed wants sessions closed by a usher that ends; who has not logged in is
// told why.
func closed(t *testing.T, p *proc, imap, pop, silent *client) {
	t.Helper()
	if got := silent.until("* BYE"); !strings.HasPrefix(got, "* BYE [UNAVAILABLE]") {
		t.Errorf("who has not logged in: got %q %v, want * BYE [UNAVAILABLE]", got, silent.err)
	}
	for _, c := range []*client{imap, pop, silent} {
		if !c.ended() {
			t.Errorf("a session is not ended: %v", c.err)
		}
	}
	p.wait()
	if lines := p.log.lines(" msg=session .*result=ok end=shutting_down"); len(lines) != 2 {
		t.Errorf("log has %d live sessions closed by the stop, want 2", len(lines))
	}
}

// A manager is systemd as far as a service sees it.
type manager struct {
	path string
	mu   sync.Mutex
	said []string // guarded by mu
}

func newManager(t *testing.T) *manager {
	t.Helper()
	m := &manager{path: t.TempDir() + "/notify"}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.said = append(m.said, string(buf[:n]))
			m.mu.Unlock()
		}
	})
	t.Cleanup(func() { c.Close(); wg.Wait() })
	return m
}

// await waits for a message with all these lines beyond the first skip messages,
// and returns how many messages there are up to it.
func (m *manager) await(t *testing.T, skip int, lines ...string) int {
	t.Helper()
	found := 0
	if !poll(patience, func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		for i := skip; i < len(m.said) && found == 0; i++ {
			all := true
			for _, want := range lines {
				all = all && strings.Contains("\n"+m.said[i], "\n"+want)
			}
			if all {
				found = i + 1
			}
		}
		return found > 0
	}) {
		t.Fatalf("no message %q after the first %d of %q", lines, skip, m.said)
	}
	return found
}

// TestNotify plays systemd: it is told of readiness, reloads, the end and, as
// long as it asks for that, that usher is alive.
func TestNotify(t *testing.T) {
	one, two := pair(t, dovecot.Options{})
	s := newSite(t, "shared", one, two)
	m := newManager(t)
	p := s.serve("NOTIFY_SOCKET="+m.path, "WATCHDOG_USEC=200000")
	n := m.await(t, 0, "READY=1", "STATUS=0 sessions, 0 of them not logged in")
	n = m.await(t, n, "WATCHDOG=1")
	c := enter(t, s, "imaps", entry{})
	if got := c.login("joe", "secret"); !good(got) {
		t.Fatalf("login: %s", got)
	}
	n = m.await(t, n, "WATCHDOG=1", "STATUS=1 sessions, 0 of them not logged in")

	if line := p.reload(t, s); !strings.Contains(line, "configuration reloaded") {
		t.Fatal(line)
	}
	n = m.await(t, n, "RELOADING=1", "MONOTONIC_USEC=")
	n = m.await(t, n, "READY=1", "STATUS=1 sessions")
	head := s.head
	s.head += "drian = \"1s\"\n"
	before, _, _ := strings.Cut(s.toml(), "drian")
	where := fmt.Sprintf("usher.toml:%d:1: unknown key", strings.Count(before, "\n")+1)
	if line := p.reload(t, s); !strings.Contains(line, where) {
		t.Errorf("reload: %s", line)
	}
	s.head = head
	n = m.await(t, n, "RELOADING=1", "MONOTONIC_USEC=")
	n = m.await(t, n, "READY=1")

	p.signal(syscall.SIGTERM)
	n = m.await(t, n, "STOPPING=1", "STATUS=draining")
	m.await(t, n, "WATCHDOG=1") // or systemd would kill it while it drains
	c.logout()
	c.must(t)
	p.wait()
}

// TestStopStorm sends SIGTERM until the process is gone: also one that comes when
// all is done must not make a clean stop look like a death.
func TestStopStorm(t *testing.T) {
	one, two := pair(t, dovecot.Options{})
	s := newSite(t, "shared", one, two)
	p := s.serve()
	for ended := false; !ended; {
		select {
		case <-p.done:
			ended = true
		default:
			p.signal(syscall.SIGTERM)
		}
	}
	p.wait()
}
