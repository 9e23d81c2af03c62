package main_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"usher.example/cmd/internal/dovecot"
)

// idleSessions is what the issue of the engine asks for; the test process holds
// both peers of each, and 20,000 files are often the limit.
const idleSessions = 4900

// splicedCopies is how many of two goroutines each there can be in plaintext: package
// net's splice(2) keeps a pipe for each direction, four files a session.
const splicedCopies = 2500

// warmth is what each session moves in each direction before the second look.
const warmth = 100 << 10

// BenchmarkIdle reports the private memory that usher's process needs for each
// session that is logged in and says nothing, above that of the process without
// sessions: fresh, and after each has moved 100 KiB both ways. Of that anon- is
// what is not the program's own file: more pages of that come in with the first
// sessions, some 1.4 MB of code and tables, however many there are.
func BenchmarkIdle(b *testing.B) {
	for _, path := range []string{"auto", "copy"} {
		for _, secure := range []bool{true, false} {
			name := path + "/plain"
			if secure {
				name = path + "/tls"
			}
			b.Run(name, func(b *testing.B) {
				for range b.N {
					n := idleSessions
					if path == "copy" && !secure {
						n = splicedCopies
					}
					measureIdle(b, path, secure, n)
				}
			})
		}
	}
}

func measureIdle(b *testing.B, path string, secure bool, n int) {
	store := newStub(b)
	s := &site{t: b, host: reserve(b), dir: b.TempDir(), authority: dovecot.NewAuthority(b)}
	s.head = fmt.Sprintf("data_path = %q\n[limits]\nsessions_per_address = 0\nprelogin = 200\n[log]\nlevel = \"error\"\n", path)
	mode, more := "none", "plaintext_login = true\n"
	if secure {
		mode, more = "implicit", ""
	}
	s.listeners = []listener{{name: "idle", protocol: "imap", tls: mode, port: portIMAPS, more: more}}
	host, port, _ := net.SplitHostPort(store.l.Addr().String())
	s.pools = []pool{{name: "main", storage: "shared", health: calmHealth, backends: []backend{{
		name: "stub", host: host, imap: net.JoinHostPort(host, port), more: "tls = \"none\"\n",
	}}}}
	s.renew()
	p := s.serve()
	p.settle()
	empty, anon, goroutines := private(b, p.pid()), anonymous(b, p.pid()), p.metric(b, "go_goroutines")
	files := openFiles(b, p.pid())

	sessions := make([]net.Conn, n)
	var wg sync.WaitGroup
	lane := make(chan struct{}, 8)
	for i := range sessions {
		lane <- struct{}{}
		wg.Go(func() {
			defer func() { <-lane }()
			sessions[i] = p.idle(b, secure, i)
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
	p.settle()
	fresh := private(b, p.pid())
	b.ReportMetric(float64(fresh-empty)/float64(n), "fresh-B/session")
	b.ReportMetric(float64(anonymous(b, p.pid())-anon)/float64(n), "fresh-anon-B/session")
	b.ReportMetric((p.metric(b, "go_goroutines")-goroutines)/float64(n), "goroutines/session")
	b.ReportMetric(float64(openFiles(b, p.pid())-files)/float64(n), "files/session")
	for _, c := range sessions {
		lane <- struct{}{}
		wg.Go(func() {
			defer func() { <-lane }()
			warm(b, c)
		})
	}
	wg.Wait()
	p.settle()
	b.ReportMetric(float64(private(b, p.pid())-empty)/float64(n), "warm-B/session")
	b.ReportMetric(float64(anonymous(b, p.pid())-anon)/float64(n), "warm-anon-B/session")
	for _, c := range sessions {
		_ = c.Close()
	}
}

// idle logs a session in.
func (p *proc) idle(b *testing.B, secure bool, i int) net.Conn {
	c, err := net.Dial("tcp", p.addr(portIMAPS))
	if err != nil {
		b.Error(err)
		return nil
	}
	if secure {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}})
	}
	fmt.Fprintf(c, "a LOGIN user%d@example.org secret\r\n", i)
	r := bufio.NewReaderSize(c, 512)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			b.Errorf("session %d: %v", i, err)
			return nil
		}
		if strings.HasPrefix(line, "a ") {
			if !strings.HasPrefix(line, "a OK") {
				b.Errorf("session %d: %s", i, line)
				return nil
			}
			return c
		}
	}
}

// warm moves data both ways.
func warm(b *testing.B, c net.Conn) {
	chunk := make([]byte, warmth)
	if _, err := c.Write(chunk); err != nil {
		b.Error(err)
		return
	}
	if _, err := io.ReadFull(c, chunk); err != nil {
		b.Error(err)
	}
}

// settle waits until the process has given back what it does not need.
func (p *proc) settle() {
	last, calm := -1, 0
	for calm < 3 { // usher tidies up every five seconds, and drops ciphers after ten
		<-time.After(6 * time.Second)
		now := private(p.t, p.pid())
		if last >= 0 && now >= last-last/200 {
			calm++
		} else {
			calm = 0
		}
		last = now
	}
}

// private is the memory in octets that nobody shares with the process.
func private(t testing.TB, pid int) int {
	t.Helper()
	return rollup(t, pid, "Private_")
}

// anonymous is the memory in octets that no file stands behind.
func anonymous(t testing.TB, pid int) int {
	t.Helper()
	return rollup(t, pid, "Anonymous:")
}

// rollup sums what the kernel says of a process under names with a prefix.
func rollup(t testing.TB, pid int, prefix string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[0], prefix) {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			sum += n << 10
		}
	}
	return sum
}

func openFiles(t testing.TB, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// A stub is a back end that lets everybody in and echoes what comes then.
type stub struct{ l net.Listener }

func newStub(b testing.TB) *stub {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &stub{l}
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s
}

func (s *stub) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 512)
	fmt.Fprint(c, "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] stub\r\n")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		tag, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch verb, _, _ := strings.Cut(rest, " "); verb {
		case "AUTHENTICATE", "LOGIN":
			fmt.Fprintf(c, "%s OK [CAPABILITY IMAP4rev1 IDLE] in\r\n", tag)
			_, _ = io.Copy(c, r)
			return
		case "LOGOUT":
			fmt.Fprintf(c, "* BYE\r\n%s OK\r\n", tag)
			return
		default:
			fmt.Fprintf(c, "* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN\r\n%s OK\r\n", tag)
		}
	}
}
