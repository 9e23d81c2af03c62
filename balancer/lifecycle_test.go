package balancer_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"usher.example/balancer"
	"usher.example/balancer/balancertest"
	"usher.example/sniff"
)

// A dial is retried on the same back end, and health is told of each failure;
// a back end that comes back in between serves the login.
func TestDialIsRetriedOnTheSameBackend(t *testing.T) {
	var calls atomic.Int64
	flaky := balancertest.NewBackend(t, func(c *balancertest.Conn) {
		if calls.Add(1) < 3 {
			c.Reset()
			return
		}
		balancertest.IMAP("store0")(c)
	})
	other := balancertest.NewBackend(t, func(*balancertest.Conn) { t.Error("the user was moved") })
	r := newRig(t, []*balancertest.Backend{flaky, other}, func(_ *rig, o *balancer.Options) { o.Limits.DialWait = 10 * time.Millisecond })
	c := r.dial("imap")
	c.expect("* OK")
	c.say("a LOGIN joe secret\r\n")
	c.expect("a OK", "store0")
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.observed) != 3 || r.observed[0] == nil || r.observed[1] == nil || r.observed[2] != nil {
		t.Errorf("health was told %v, want two failures and a success", r.observed)
	}
}

func TestRefusedConnectionIsUnavailable(t *testing.T) {
	b := balancertest.NewBackend(t, balancertest.IMAP("store0"))
	r := newRig(t, []*balancertest.Backend{b}, nil)
	b.Kill()
	for _, tt := range []struct{ listener, login, answer string }{
		{"imap", "a LOGIN joe secret\r\n", "a NO [UNAVAILABLE]"},
		{"pop3", "USER joe\r\nPASS secret\r\n", "-ERR [SYS/TEMP]"},
	} {
		c := r.dial(tt.listener)
		c.expect("OK")
		c.say(tt.login)
		if tt.listener == "pop3" {
			c.expect("+OK")
		}
		c.expect(tt.answer)
	}
}

func TestNoPlaceIsUnavailable(t *testing.T) {
	r := newRig(t, one(t, balancertest.IMAP("store0")), nil)
	r.placer.set("", errors.New("all back ends are down"))
	c := r.dial("imap")
	c.expect("* OK")
	c.say("a LOGIN joe secret\r\n")
	if line := c.expect("a NO [UNAVAILABLE]"); strings.Contains(line, "down") {
		t.Errorf("a stranger learns %q", line)
	}
}

// While a login waits for a back end that is given up, it asks for a new place.
func TestLoginOnItsWayAsksForANewPlace(t *testing.T) {
	arrived := make(chan struct{}, 1)
	hang := balancertest.NewBackend(t, func(c *balancertest.Conn) { arrived <- struct{}{}; c.Hang() })
	good := balancertest.NewBackend(t, balancertest.IMAP("store1"))
	r := newRig(t, []*balancertest.Backend{hang, good}, nil)
	c := r.dial("imap")
	c.expect("* OK")
	c.say("a LOGIN joe secret\r\n")
	<-arrived
	r.placer.set("b1", nil)
	if n := r.server.LeaveBackend("main", "", "b0", "down"); n != 1 {
		t.Errorf("left %d sessions, want 1", n)
	}
	c.expect("a OK", "store1")
}

func TestLeaveBackendEndsItsSessionsOnly(t *testing.T) {
	backends := []*balancertest.Backend{balancertest.NewBackend(t, balancertest.IMAP("store0")), balancertest.NewBackend(t, balancertest.IMAP("store1"))}
	r := newRig(t, backends, nil)
	login := func(user string) *peer {
		c := r.dial("imap")
		c.expect("* OK")
		c.say("a LOGIN " + user + " secret\r\n")
		c.expect("a OK")
		return c
	}
	joe, jim := login("joe"), login("jim")
	r.placer.set("b1", nil)
	ann := login("ann")
	if n := r.server.LeaveBackend("main", "jim", "b0", "moved"); n != 1 {
		t.Errorf("jim had %d sessions on b0, want 1", n)
	}
	jim.closed()
	until(t, "jim's session is over", func() bool { n, _ := r.server.Counts(); return n == 2 })
	if n := r.server.LeaveBackend("main", "", "b0", "down"); n != 1 {
		t.Errorf("b0 had %d sessions, want 1", n)
	}
	joe.closed()
	ann.say("b NOOP\r\n")
	ann.expect("b OK store1")
	if n := r.server.KickUser("ANN", "by hand"); n != 1 {
		t.Errorf("kicked %d sessions of ann, want 1", n)
	}
	ann.closed()
	until(t, "the log says so", func() bool { return strings.Count(r.log.String(), "end=kicked") == 3 })
}

// Foreign protocols are refused by their ALPN id; an absent one is fine
// (CVE-2021-3618, ALPACA).
func TestALPN(t *testing.T) {
	r := newRig(t, one(t, balancertest.IMAP("store0")), nil)
	for protos, good := range map[string]bool{"": true, "imap": true, "h2,imap": true, "http/1.1": false, "pop3": false} {
		err := r.dial("imaps").secure(r.ca, func(c *tls.Config) {
			if protos != "" {
				c.NextProtos = strings.Split(protos, ",")
			}
		})
		if (err == nil) != good {
			t.Errorf("ALPN %q: %v, want good: %v", protos, err, good)
		}
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	r := newRig(t, one(t, balancertest.IMAP("store0")), nil)
	for version, good := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		err := r.dial("imaps").secure(r.ca, func(c *tls.Config) { c.MinVersion, c.MaxVersion = version, version })
		if (err == nil) != good {
			t.Errorf("version %x: %v, want good: %v", version, err, good)
		}
	}
}

// Dovecot CVE-2015-3420: a ClientHello cut anywhere, by FIN or RST.
func TestClientHelloCutAnywhere(t *testing.T) {
	r := newRig(t, one(t, balancertest.IMAP("store0")), nil)
	hello := clientHello(t)
	for cut := 0; cut < len(hello); cut += 16 {
		for _, rst := range []bool{false, true} {
			c := r.dial("imaps")
			c.say(string(hello[:cut]))
			tcp := c.Conn.(*net.TCPConn)
			if rst {
				_ = tcp.SetLinger(0)
				_ = tcp.Close()
				continue
			}
			_ = tcp.CloseWrite()
			c.closed()
		}
	}
	c := r.dial("imaps")
	if err := c.secure(r.ca, nil); err != nil {
		t.Fatalf("after %d octets cut in pieces: %v", len(hello), err)
	}
	c.expect("* OK")
}

// clientHello records what crypto/tls sends first.
func clientHello(t *testing.T) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() {
		_ = tls.Client(ours, &tls.Config{ServerName: "mail.example.org"}).Handshake()
		_ = ours.Close()
	}()
	buf := make([]byte, 4096)
	n, err := theirs.Read(buf)
	_ = theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// Dovecot CVE-2017-15130: random server names fill no memory.
func TestRandomServerNames(t *testing.T) {
	r := newRig(t, one(t, balancertest.IMAP("store0")), nil)
	before := heap()
	for i := range 1000 {
		c := r.dial("imaps")
		if err := c.secure(r.ca, func(cfg *tls.Config) {
			cfg.ServerName = fmt.Sprintf("host%d.example.net", i)
			cfg.InsecureSkipVerify = true // the certificate is for another name, and must come all the same
			cfg.CurvePreferences = []tls.CurveID{tls.X25519}
		}); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	until(t, "all sessions have ended", func() bool { n, _ := r.server.Counts(); return n == 0 })
	if after := heap(); after > before+4<<20 {
		t.Errorf("the heap grew from %d to %d octets", before, after)
	}
}

func TestLimits(t *testing.T) {
	t.Run("sessions", func(t *testing.T) {
		r := newRig(t, one(t, balancertest.IMAP("store0")), func(_ *rig, o *balancer.Options) { o.Limits.Sessions = 2 })
		r.dial("imap").expect("* OK")
		r.dial("imap").expect("* OK")
		c := r.dial("imap")
		c.expect("* BYE [LIMIT]")
		c.closed()
		p := r.dial("pop3")
		p.expect("-ERR")
		p.closed()
		r.dial("imaps").closed() // nothing can be said before the handshake
	})
	t.Run("per address", func(t *testing.T) {
		r := newRig(t, one(t, balancertest.IMAP("store0")), func(_ *rig, o *balancer.Options) {
			o.Limits.PerAddress = 1
			o.Listeners[2].TrustedNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		})
		r.dial("imap").expect("* OK")
		r.dial("imap").expect("* BYE [LIMIT]")
		r.dial("pop3").expect("+OK") // many users are behind a trusted network
	})
	t.Run("per listener", func(t *testing.T) {
		r := newRig(t, one(t, balancertest.IMAP("store0")), func(_ *rig, o *balancer.Options) { o.Listeners[0].Sessions = 1 })
		r.dial("imap").expect("* OK")
		r.dial("imap").expect("* BYE [LIMIT]")
		r.dial("pop3").expect("+OK")
	})
	t.Run("the oldest without login makes room", func(t *testing.T) {
		r := newRig(t, one(t, balancertest.IMAP("store0")), func(_ *rig, o *balancer.Options) { o.Limits.Prelogin = 2 })
		in := r.dial("imap")
		in.expect("* OK")
		in.say("a LOGIN joe secret\r\n")
		in.expect("a OK")
		oldest := r.dial("imap")
		oldest.expect("* OK")
		second := r.dial("imap")
		second.expect("* OK")
		third := r.dial("imap")
		third.expect("* OK")
		oldest.expect("* BYE [UNAVAILABLE]")
		oldest.closed()
		for _, c := range []*peer{in, second, third} {
			c.say("n NOOP\r\n")
			c.expect("n OK")
		}
	})
	t.Run("per back end", func(t *testing.T) {
		r := newRig(t, one(t, balancertest.IMAP("store0")), func(_ *rig, o *balancer.Options) { o.Pools[0].Backends[0].Sessions = 1 })
		first, second := r.dial("imap"), r.dial("imap")
		first.expect("* OK")
		second.expect("* OK")
		first.say("a LOGIN joe secret\r\n")
		first.expect("a OK")
		second.say("a LOGIN jim secret\r\n")
		second.expect("a NO [UNAVAILABLE]")
	})
}

func TestDrain(t *testing.T) {
	r := newRig(t, one(t, balancertest.IMAP("store0")), nil)
	live, waiting, leaving := r.dial("imap"), r.dial("imap"), r.dial("imap")
	for _, c := range []*peer{live, waiting, leaving} {
		c.expect("* OK")
	}
	for _, c := range []*peer{live, leaving} {
		c.say("a LOGIN joe secret\r\n")
		c.expect("a OK")
	}
	address := r.server.Addr("imap").String()
	ctx, now := context.WithCancel(t.Context())
	drained := make(chan struct{})
	go func() { defer close(drained); r.server.Drain(ctx) }()
	until(t, "nobody listens", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	live.say("b NOOP\r\n")
	live.expect("b OK")
	waiting.say("a LOGIN jim secret\r\n") // who is in may finish
	waiting.expect("a OK")
	leaving.say("b LOGOUT\r\n")
	leaving.closed()
	select {
	case <-drained:
		t.Fatal("drained with sessions left")
	default:
	}
	now()
	live.closed()
	waiting.closed()
	<-drained
}

// A client that has not logged in is told why it has to go.
func TestShutdownSaysGoodbye(t *testing.T) {
	r := newRig(t, one(t, balancertest.IMAP("store0")), nil)
	i, p, s := r.dial("imap"), r.dial("pop3"), r.dial("imaps")
	i.expect("* OK")
	p.expect("+OK")
	if err := s.secure(r.ca, nil); err != nil {
		t.Fatal(err)
	}
	s.expect("* OK")
	ctx, now := context.WithCancel(t.Context())
	now()
	r.server.Drain(ctx)
	i.expect("* BYE [UNAVAILABLE]")
	s.expect("* BYE [UNAVAILABLE]")
	p.expect("-ERR [SYS/TEMP]")
}

func TestReload(t *testing.T) {
	backends := []*balancertest.Backend{balancertest.NewBackend(t, balancertest.IMAP("store0")), balancertest.NewBackend(t, balancertest.IMAP("store1"))}
	r := newRig(t, backends, nil)
	live, waiting := r.dial("imap"), r.dial("imap")
	live.expect("* OK")
	live.say("a LOGIN joe secret\r\n")
	live.expect("a OK")
	waiting.expect("* OK", "mail.example.org")
	address := r.server.Addr("imap").String()

	next := r.options
	next.Hostname = "new.example.org"
	next.Listeners = slices.Clone(next.Listeners[:2])
	next.Listeners[1].Address, next.Listeners[1].Name = "[::1]:0", "added"
	next.Pools = slices.Clone(next.Pools)
	next.Pools[0].Backends = next.Pools[0].Backends[1:]
	if err := r.server.Apply(next); err != nil {
		t.Fatal(err)
	}
	if got := r.server.Addr("imap").String(); got != address {
		t.Errorf("the socket was not kept: %s, %s", address, got)
	}
	if r.server.Addr("imaps") != nil || r.server.Addr("pop3") != nil || r.server.Addr("added") == nil {
		t.Errorf("listeners: %+v", r.server.Listeners())
	}
	live.say("b NOOP\r\n")
	live.expect("b OK store0") // though store0 is in the configuration no more
	waiting.say("a LOGIN jim secret\r\n")
	waiting.expect("a OK") // under the configuration that it began with
	r.placer.set("b1", nil)
	c := r.dial("imap")
	c.expect("new.example.org")
	c.say("a LOGIN ann secret\r\n")
	c.expect("a OK", "store1")
}

func TestBadReloadChangesNothing(t *testing.T) {
	r := newRig(t, one(t, balancertest.IMAP("store0")), nil)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct {
		want   string
		change func(o *balancer.Options)
	}{
		{"address already in use", func(o *balancer.Options) {
			o.Listeners[0].Address = "localhost:0000"
			o.Listeners[2].Address = taken.Addr().String()
		}},
		{"no pool", func(o *balancer.Options) { o.Listeners[0].Pool = "other" }},
		{"two listeners", func(o *balancer.Options) { o.Listeners[0].Address = o.Listeners[1].Address }},
		{"no back ends", func(o *balancer.Options) { o.Pools[0].Backends = nil }},
		{"no TLS configuration", func(o *balancer.Options) { o.Listeners[0].Config = nil }},
	} {
		bad := r.options
		bad.Hostname = "bad.example.org"
		bad.Listeners, bad.Pools = slices.Clone(bad.Listeners), slices.Clone(bad.Pools)
		tt.change(&bad)
		if err := r.server.Apply(bad); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
	if n := len(r.server.Listeners()); n != 3 {
		t.Errorf("%d listeners, want 3", n)
	}
	r.dial("imap").expect("mail.example.org")
}

// The master user logs in for a user with a certificate, under his name; who
// shows none is not offered EXTERNAL.
func TestExternal(t *testing.T) {
	got := make(chan string, 1)
	backend := one(t, func(c *balancertest.Conn) {
		c.Say("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi")
		line, _ := c.Line()
		got <- line
		tag, _, _ := strings.Cut(line, " ")
		c.Say(tag + " OK [CAPABILITY IMAP4rev1] in")
		c.Hang()
	})
	r := newRig(t, backend, func(r *rig, o *balancer.Options) {
		o.Listeners[1].Config = o.Listeners[1].Config.Clone()
		o.Listeners[1].Config.ClientCAs, o.Listeners[1].Config.ClientAuth = r.ca.Pool(), tls.VerifyClientCertIfGiven
		o.Pools[0].Master = &sniff.Master{User: "usher", Password: sniff.Secret("master")}
	})
	c := r.dial("imaps")
	if err := c.secure(r.ca, func(cfg *tls.Config) {
		cfg.Certificates = []tls.Certificate{r.ca.Client("Joe Smith", "joe@example.org")}
	}); err != nil {
		t.Fatal(err)
	}
	c.expect("* OK", "AUTH=EXTERNAL")
	c.say("a AUTHENTICATE EXTERNAL =\r\n")
	c.expect("a OK")
	if line := <-got; !strings.Contains(line, "AUTHENTICATE PLAIN am9lQGV4YW1wbGUub3JnAHVzaGVyAG1hc3Rlcg==") {
		t.Errorf("the back end got %q", line)
	}
	plain := r.dial("imaps")
	if err := plain.secure(r.ca, nil); err != nil {
		t.Fatal(err)
	}
	if line := plain.expect("* OK"); strings.Contains(line, "EXTERNAL") {
		t.Errorf("without a certificate EXTERNAL is offered: %q", line)
	}
	plain.say("a AUTHENTICATE EXTERNAL =\r\n")
	plain.expect("a NO")
}
