package balancer_test

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"usher.example/balancer"
	"usher.example/balancer/balancertest"
)

// CVE-2011-0411 and its family: what stands behind STARTTLS in plaintext ends
// the session; it is not answered and reaches no back end.
func TestStartTLSInjectionByClient(t *testing.T) {
	for _, tt := range []struct{ listener, hello, injected string }{
		{"imap", "* OK", "a STARTTLS\r\nb LOGIN joe secret\r\n"},
		{"imap", "* OK", "a STARTTLS\r\nb NOOP"},
		{"imap", "* OK", "a STARTTLS\r\n\x16"},
		{"pop3", "+OK", "STLS\r\nUSER joe\r\nPASS secret\r\n"},
		{"pop3", "+OK", "STLS\r\n "},
	} {
		t.Run(fmt.Sprintf("%s %q", tt.listener, tt.injected), func(t *testing.T) {
			r := newRig(t, one(t, func(c *balancertest.Conn) { t.Error("a back end was dialled"); c.Hang() }), nil)
			c := r.dial(tt.listener)
			c.expect(tt.hello)
			c.say(tt.injected)
			if rest := c.closed(); rest != "" {
				t.Errorf("answered with %q", rest)
			}
			until(t, "it is counted", func() bool {
				return r.server.Stats()[tt.listener].Ended[balancer.ClientInjection].Load() == 1
			})
		})
	}
}

// The same from a back end: an answer injected before TLS does not reach the
// client, and no credentials reach the back end.
func TestStartTLSInjectionByBackend(t *testing.T) {
	for _, tt := range []struct {
		listener, login, refusal string
		script                   func(*balancertest.Conn)
	}{
		{"imap", "a LOGIN joe secret\r\n", "a NO [UNAVAILABLE]", func(c *balancertest.Conn) {
			c.Say("* OK [CAPABILITY IMAP4rev1 STARTTLS] hello")
			line, _ := c.Line()
			tag, _, _ := strings.Cut(line, " ")
			c.Say(tag+" OK begin", "* OK injected", "x OK injected")
			c.Hang()
		}},
		{"pop3", "USER joe\r\nPASS secret\r\n", "-ERR [SYS/TEMP]", func(c *balancertest.Conn) {
			c.Say("+OK hello")
			c.Line()
			c.Say("+OK begin", "+OK injected", "+OK injected")
			c.Hang()
		}},
	} {
		t.Run(tt.listener, func(t *testing.T) {
			r := newRig(t, one(t, tt.script), func(r *rig, o *balancer.Options) {
				b := &o.Pools[0].Backends[0]
				b.TLS, b.Config = balancer.TLSStart, &tls.Config{RootCAs: r.ca.Pool(), ServerName: "127.0.0.1"}
			})
			c := r.dial(tt.listener)
			c.expect("OK")
			c.say(tt.login)
			if tt.listener == "pop3" {
				c.expect("+OK")
			}
			line := c.expect(tt.refusal)
			if strings.Contains(line, "injected") {
				t.Errorf("the client got %q", line)
			}
		})
	}
}

// Hostile and dead back ends: the right reply within the stated time, and
// nothing of theirs reaches the client.
func TestHostileBackends(t *testing.T) {
	const limit = 500 * time.Millisecond // BackendLoginTime of this test
	for _, tt := range []struct {
		name   string
		script func(*balancertest.Conn)
		kind   balancer.Kind
	}{
		{"silent", func(c *balancertest.Conn) { c.Hang() }, balancer.BackendTimeout},
		{"silent after the greeting", func(c *balancertest.Conn) { c.Say("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi"); c.Hang() }, balancer.BackendTimeout},
		{"closes at once", func(*balancertest.Conn) {}, balancer.BackendGone},
		{"resets at once", func(c *balancertest.Conn) { c.Reset() }, 0},
		{"closes instead of answering", func(c *balancertest.Conn) { c.Say("* OK [CAPABILITY IMAP4rev1] hi"); c.Line() }, balancer.BackendGone},
		{"garbage", func(c *balancertest.Conn) { c.Say("HTTP/1.1 400 Bad Request"); c.Hang() }, balancer.BackendGreeting},
		{"binary", func(c *balancertest.Conn) { c.Say("* OK \x00\x01%n%s\xff"); c.Hang() }, 0},
		{"PREAUTH", func(c *balancertest.Conn) { c.Say("* PREAUTH [CAPABILITY IMAP4rev1] welcome root"); c.Hang() }, balancer.BackendGreeting},
		{"BYE", func(c *balancertest.Conn) { c.Say("* BYE marker too busy"); c.Hang() }, balancer.BackendUnavailable},
		{"endless greeting", func(c *balancertest.Conn) { endless(c, "x") }, 0},
		{"endless untagged lines", func(c *balancertest.Conn) { c.Say("* OK [CAPABILITY IMAP4rev1] hi"); endless(c, "* OK marker\r\n") }, 0},
		{"wrong tag", func(c *balancertest.Conn) {
			c.Say("* OK [CAPABILITY IMAP4rev1] hi")
			c.Line()
			c.Say("marker OK you are root")
			c.Hang()
		}, balancer.BackendProtocol},
		{"BAD", func(c *balancertest.Conn) {
			c.Say("* OK [CAPABILITY IMAP4rev1] hi")
			line, _ := c.Line()
			c.Say(line[:strings.IndexByte(line, ' ')] + " BAD marker")
			c.Hang()
		}, balancer.BackendProtocol},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, one(t, tt.script), func(_ *rig, o *balancer.Options) {
				o.Limits.BackendLoginTime = limit
				o.Limits.DialTries = 2
			})
			c := r.dial("imap")
			c.expect("* OK")
			begin := time.Now()
			c.say("a LOGIN joe secret\r\n")
			line := c.expect("a NO [UNAVAILABLE]")
			if took := time.Since(begin); took > 2*limit+2*time.Second {
				t.Errorf("answered after %v", took)
			}
			if strings.Contains(line, "marker") {
				t.Errorf("the client sees %q", line)
			}
			r.mu.Lock()
			if len(r.failed) != 1 || (tt.kind != 0 && r.failed[0].Kind != tt.kind) {
				t.Errorf("reported %+v, want %v", r.failed, tt.kind)
			}
			r.mu.Unlock()
			c.say("b NOOP\r\n") // the session goes on
			c.expect("b OK")
		})
	}
}

func endless(c *balancertest.Conn, text string) {
	chunk := bytes.Repeat([]byte(text), 1+4096/len(text))
	for range 64 << 20 / len(chunk) { // bounded all the same
		if _, err := c.Write(chunk); err != nil {
			return
		}
	}
}

// Untagged lines before the answer to the login are the back end's affair, not
// the client's.
func TestUntaggedBeforeTheAnswerIsDropped(t *testing.T) {
	r := newRig(t, one(t, func(c *balancertest.Conn) {
		c.Say("* OK [CAPABILITY IMAP4rev1] hi")
		line, _ := c.Line()
		c.Say("* OK marker", "* 23 EXISTS", line[:strings.IndexByte(line, ' ')]+" OK [CAPABILITY IMAP4rev1 X] fine", "* OK behind")
		c.Hang()
	}), nil)
	c := r.dial("imap")
	c.expect("* OK")
	c.say("a LOGIN joe secret\r\n")
	c.expect("a OK [CAPABILITY IMAP4rev1 X] fine")
	c.expect("* OK behind")
}

// slowHello begins a TLS record with a ClientHello and never gets to its end.
const slowHello = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" +
	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// One total limit of time holds before login, and traffic does not renew it:
// for a silent client, one that talks, one that sends an octet now and then,
// and a half-open TLS handshake.
func TestLoginTimeIsTotal(t *testing.T) {
	const limit = 600 * time.Millisecond
	for _, tt := range []struct{ name, listener, drip string }{
		{"silent", "imap", ""},
		{"talking", "imap", "a NOOP\r\n"},
		{"an octet at a time", "imap", "a"},
		{"half-open TLS", "imaps", ""},
		{"TLS an octet at a time", "imaps", slowHello},
		{"POP3", "pop3", "CAPA\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, one(t, func(c *balancertest.Conn) { c.Hang() }), func(_ *rig, o *balancer.Options) { o.Limits.LoginTime = limit })
			c := r.dial(tt.listener)
			begin := time.Now()
			done := make(chan struct{})
			go func() {
				tick := time.NewTicker(limit / 20)
				defer tick.Stop()
				for i := 0; tt.drip != ""; i++ {
					drip := tt.drip
					if drip == slowHello {
						drip = drip[i : i+1]
					}
					select {
					case <-done:
						return
					case <-tick.C:
						_, _ = c.Write([]byte(drip))
					}
				}
			}()
			c.closed()
			close(done)
			if took := time.Since(begin); took < limit-50*time.Millisecond || took > limit+2*time.Second {
				t.Errorf("closed after %v, the limit is %v", took, limit)
			}
			until(t, "it is counted", func() bool {
				s := r.server.Stats()[tt.listener]
				return s.Ended[balancer.ClientTimeout].Load()+s.Ended[balancer.ClientProtocol].Load()+s.Ended[balancer.ClientTLS].Load() == 1
			})
		})
	}
}

// Endless lines and huge literals: a clear error or a close, bounded memory.
func TestHostileClients(t *testing.T) {
	for _, tt := range []struct{ name, listener, input, answer string }{
		{"endless line", "imap", strings.Repeat("x", 1<<20), "BAD"},
		{"endless line", "pop3", strings.Repeat("x", 1<<20), "-ERR"},
		{"giant tag", "imap", strings.Repeat("a", 4096) + " NOOP\r\n", "BAD"},
		{"literal of 4 GiB", "imap", "a LOGIN {4294967295}\r\n", "a "},
		{"literal of 2^64", "imap", "a LOGIN {18446744073709551616}\r\n", "a "},
		{"negative literal", "imap", "a LOGIN {-1}\r\n", "a BAD"},
		{"literal in the tag", "imap", "{3}\r\nabc NOOP\r\n", "BAD"},
		{"NUL", "imap", "a LOGIN joe\x00x secret\r\n", "BAD"},
		{"NUL", "pop3", "USER joe\x00x\r\n", "-ERR"},
		{"bare CR", "imap", "a NOOP\rb NOOP\r\n", "BAD"},
		{"bare LF", "imap", "a NOOP\nb NOOP\n", "BAD"},
		{"8-bit", "imap", "a LOGIN jo\xffe secret\r\n", "a "},
		{"PROXY header from a stranger", "imap", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "* BYE"},
		{"PROXY header from a stranger", "pop3", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "-ERR"},
		{"PROXY header v2 from a stranger", "imap", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00\x02", "BAD"},
	} {
		t.Run(tt.listener+" "+tt.name, func(t *testing.T) {
			r := newRig(t, one(t, func(c *balancertest.Conn) { t.Error("a back end was dialled"); c.Hang() }), nil)
			c := r.dial(tt.listener)
			c.expect("OK")
			go func() {
				_, _ = c.Write([]byte(tt.input))
				_ = c.Conn.(*net.TCPConn).CloseWrite()
			}()
			got := c.closed()
			if !strings.Contains(got, tt.answer) || strings.Contains(got, "OK done") {
				t.Errorf("answered with %q, want %q in it", got, tt.answer)
			}
		})
	}
}

// 10,000 connections of random octets harm nobody: honest clients log in
// meanwhile, and the memory is as before.
func TestRandomOctets(t *testing.T) {
	const connections, workers = 10_000, 8
	r := newRig(t, one(t, balancertest.IMAP("store0")), nil)
	before := heap()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			listener := []string{"imap", "imaps", "pop3", "imap"}[w%4]
			address := r.server.Addr(listener).String()
			junk := make([]byte, 2048)
			for range connections / workers {
				c, err := net.Dial("tcp", address)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = rand.Read(junk)
				_, _ = c.Write(junk)
				_ = c.(*net.TCPConn).SetLinger(0) // no TIME_WAIT: ports are few
				_ = c.Close()
			}
		})
	}
	honest := 0
	flood := make(chan struct{})
	go func() { wg.Wait(); close(flood) }()
	for done := false; !done; {
		select {
		case <-flood:
			done = true
		default:
			c := r.dial("imap")
			c.expect("* OK")
			c.say("a LOGIN joe secret\r\nb LOGOUT\r\n")
			c.expect("a OK")
			c.closed()
			_ = c.Close()
			honest++
		}
	}
	until(t, "all sessions have ended", func() bool { n, _ := r.server.Counts(); return n == 0 })
	after := heap()
	t.Logf("%d honest logins during the flood; heap %d KiB before, %d KiB after", honest, before>>10, after>>10)
	if honest == 0 {
		t.Error("nobody could log in")
	}
	if after > before+8<<20 {
		t.Errorf("the heap grew from %d to %d octets", before, after)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// nginx CVE-2026-113425: clients that reset in the middle of everything.
func TestClientsResetInTheMiddle(t *testing.T) {
	const times = 400
	r := newRig(t, one(t, balancertest.IMAP("store0")), nil)
	for i := range times {
		c := r.dial("imap")
		switch i % 4 {
		case 0:
			c.say("a LOGIN joe secret\r\n")
		case 1:
			c.expect("* OK")
			c.say("a LOGIN joe secret\r\n")
		case 2:
			c.expect("* OK")
			c.say("a STARTTLS\r\n")
		case 3:
			c.expect("* OK")
			c.say("a LOGIN joe secret\r\n")
			c.expect("a OK")
		}
		_ = c.Conn.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
	until(t, "all sessions have ended", func() bool { n, _ := r.server.Counts(); return n == 0 })
	if n := r.server.Pool("main").Backend("b0").Live(); n != 0 {
		t.Errorf("%d sessions are counted on the back end", n)
	}
}

// Dovecot CVE-2017-15132: 1000 aborted AUTHENTICATE leave nothing behind.
func TestAbortedAuthenticateLeavesNothing(t *testing.T) {
	r := newRig(t, one(t, balancertest.IMAP("store0")), nil)
	first := r.dial("imap") // when its session has been accounted for, everything runs
	first.say("a LOGIN joe secret\r\nb LOGOUT\r\n")
	first.closed()
	_ = first.Close()
	until(t, "the first session has ended", func() bool { n, _ := r.server.Counts(); return n == 0 })
	goroutines := runtime.NumGoroutine()
	for range 1000 {
		c := r.dial("imap")
		c.say("a AUTHENTICATE PLAIN\r\n*\r\nb AUTHENTICATE LOGIN\r\n")
		c.expect("* OK")
		_ = c.Conn.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
	until(t, "all sessions have ended", func() bool { n, _ := r.server.Counts(); return n == 0 })
	until(t, "goroutines are back", func() bool { return runtime.NumGoroutine() <= goroutines })
}
