package balancer_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"usher.example/balancer"
	"usher.example/balancer/balancertest"
	"usher.example/balancer/forward"
	"usher.example/sniff"
)

// A client who was connected before a reload can be placed on a back end that
// the reload brought, and on one that it took away while places still name it.
func TestPlaceOfAnotherConfiguration(t *testing.T) {
	b0, b1 := balancertest.NewBackend(t, balancertest.IMAP("store0")), balancertest.NewBackend(t, balancertest.IMAP("store1"))
	r := newRig(t, []*balancertest.Backend{b0, b1}, nil)
	early := r.dial("imap")
	early.expect("* OK")
	with := func(backends ...balancer.BackendOptions) {
		t.Helper()
		o := r.options
		o.Pools = slices.Clone(o.Pools)
		o.Pools[0].Backends = backends
		if err := r.server.Apply(o); err != nil {
			t.Fatal(err)
		}
	}
	all := r.options.Pools[0].Backends
	with(all[0])
	between := r.dial("imap")
	between.expect("* OK")
	with(all...)
	r.placer.set("b1", nil)
	between.say("a LOGIN joe secret\r\n")
	between.expect("a OK", "store1")
	with(all[0])
	late := r.dial("imap")
	late.expect("* OK")
	late.say("a LOGIN joe secret\r\n")
	late.expect("a OK", "store1")
	early.say("a LOGIN joe secret\r\n")
	early.expect("a OK", "store1")
}

// The client is answered in his protocol's words even if the time for the
// login ends while a back end is silent; under TLS too.
func TestLoginTimeEndsDuringTheAnswer(t *testing.T) {
	for _, l := range []string{"imaps", "imap"} {
		t.Run(l, func(t *testing.T) {
			r := newRig(t, one(t, func(c *balancertest.Conn) { c.Hang() }), func(_ *rig, o *balancer.Options) { o.Limits.LoginTime = time.Second })
			c := r.dial(l)
			if l == "imaps" {
				if err := c.secure(r.ca, nil); err != nil {
					t.Fatal(err)
				}
			}
			c.expect("* OK")
			c.say("a LOGIN joe secret\r\n")
			c.expect("a NO [UNAVAILABLE]")
			r.mu.Lock()
			defer r.mu.Unlock()
			if len(r.failed) != 1 || r.failed[0].Kind != balancer.LoginTimeout {
				t.Errorf("reported %+v", r.failed)
			}
		})
	}
}

// A slowHandler counts session lines; each waits until it is let go.
type slowHandler struct {
	slog.Handler
	gate  chan struct{}
	lines atomic.Int64
}

func (h *slowHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *slowHandler) Handle(_ context.Context, rec slog.Record) error {
	if rec.Message == "session" {
		<-h.gate
		h.lines.Add(1)
	}
	return nil
}

// A drain ends when every session has its line in the log, not before.
func TestDrainWaitsForTheLog(t *testing.T) {
	const sessions = 5
	r := newRig(t, one(t, balancertest.IMAP("store0")), nil)
	h := &slowHandler{Handler: slog.DiscardHandler, gate: make(chan struct{})}
	srv := balancer.New(balancer.Deps{Log: slog.New(h), Engine: new(forward.Copy), Placer: r.placer})
	if err := srv.Apply(r.options); err != nil {
		t.Fatal(err)
	}
	other := &rig{t: t, server: srv}
	for range sessions {
		c := other.dial("imap")
		c.expect("* OK")
		c.say("a LOGIN joe secret\r\n")
		c.expect("a OK")
	}
	ctx, now := context.WithCancel(t.Context())
	now()
	drained := make(chan struct{})
	go func() { defer close(drained); srv.Drain(ctx) }()
	for range sessions {
		select {
		case <-drained:
			t.Fatalf("drained with %d of %d lines written", h.lines.Load(), sessions)
		case h.gate <- struct{}{}:
		}
	}
	<-drained
	if n := h.lines.Load(); n != sessions {
		t.Errorf("%d lines, want %d", n, sessions)
	}
}

// A hookEngine calls before each adoption.
type hookEngine struct {
	*forward.Copy
	before func()
}

func (e *hookEngine) Adopt(p forward.Pair) forward.Flow {
	e.before()
	return e.Copy.Adopt(p)
}

// A session that is between the back end's yes and its flow when the back end
// goes down does not live on there.
func TestLeaveBackendWhileAdopting(t *testing.T) {
	r := newRig(t, one(t, balancertest.IMAP("store0")), nil)
	e := &hookEngine{Copy: new(forward.Copy)}
	srv := balancer.New(balancer.Deps{Log: slog.New(slog.DiscardHandler), Engine: e, Placer: r.placer})
	e.before = func() {
		if n := srv.LeaveBackend("main", "", "b0", "down"); n != 1 {
			t.Errorf("left %d sessions, want 1", n)
		}
	}
	if err := srv.Apply(r.options); err != nil {
		t.Fatal(err)
	}
	c := (&rig{t: t, server: srv}).dial("imap")
	c.expect("* OK")
	c.say("a LOGIN joe secret\r\n")
	c.expect("a OK")
	c.closed()
	ctx, now := context.WithCancel(t.Context())
	now()
	srv.Drain(ctx)
}

// scram is a back end in the middle of an exchange; it refuses in the end.
func scram(c *balancertest.Conn) {
	c.Say("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=SCRAM-SHA-256] here")
	for line, ok := c.Line(); ok; line, ok = c.Line() {
		tag, rest, _ := strings.Cut(line, " ")
		if strings.HasPrefix(rest, "AUTHENTICATE SCRAM") {
			c.Say("+ cj1meWtvK2QybGJiRmdPTlJ2OXFreGRhd0wzcmZjTkhZSlkxWlZ2V1ZzN2oscz1RU1hDUitRNnNlazhiZjkyLGk9NDA5Ng==")
			if _, ok := c.Line(); !ok {
				return
			}
		}
		c.Say(tag + " NO [AUTHENTICATIONFAILED] no")
	}
}

// scramFirst is a client's first message: n,,n=joe,r=…
const scramFirst = "a AUTHENTICATE SCRAM-SHA-256 biwsbj1qb2Uscj1meWtvK2QybGJiRmdPTlJ2OXFreGRhd0w=\r\n"

func offerScram(_ *rig, o *balancer.Options) {
	o.Pools[0].Capabilities = map[string][]string{"imap": {"IMAP4rev1", "SASL-IR", "AUTH=PLAIN", "AUTH=SCRAM-SHA-256"}}
}

// Who has shown no password yet cannot hold a user's place on a back end that
// has to be left.
func TestRelayedLoginLetsGo(t *testing.T) {
	r := newRig(t, one(t, scram), offerScram)
	c := r.dial("imap")
	c.expect("* OK")
	c.say(scramFirst)
	c.expect("+ ")
	if n := r.server.LeaveBackend("main", "", "b0", "down"); n != 1 {
		t.Fatalf("left %d sessions, want 1", n)
	}
	c.expect("a NO [UNAVAILABLE]")
	until(t, "the place is given back", func() bool { return r.placer.held() == 0 })
	c.say("b NOOP\r\n")
	c.expect("b OK")
}

// The back end is not blamed for a client that takes its time.
func TestSlowClientIsNotTheBackendsFault(t *testing.T) {
	const limit = 200 * time.Millisecond
	r := newRig(t, one(t, scram), func(r *rig, o *balancer.Options) {
		offerScram(r, o)
		o.Limits.BackendLoginTime = limit
	})
	c := r.dial("imap")
	c.expect("* OK")
	c.say(scramFirst)
	c.expect("+ ")
	<-time.After(2 * limit) // the client thinks
	c.say("Yz1iaXdz\r\n")
	c.expect("a NO [AUTHENTICATIONFAILED]")
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.observed) != 1 || r.observed[0] != nil {
		t.Errorf("health was told %v", r.observed)
	}
}

// A probe that runs into its deadline is the back end's fault and counted.
func TestProbeOfASilentBackend(t *testing.T) {
	r := newRig(t, one(t, func(c *balancertest.Conn) { c.Hang() }), nil)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := r.server.Probe(ctx, "main", "b0", balancer.Probe{Depth: sniff.ProbeGreeting})
	var f *balancer.Failure
	if !errors.As(err, &f) || f.Kind != balancer.BackendTimeout {
		t.Errorf("got %v, want a back end's timeout", err)
	}
	if n := r.server.Pool("main").Backend("b0").Stats().Failures; n == 0 {
		t.Error("no failure is counted")
	}
}

// A protocol that does not answer takes no time from the others: where storage is
// local, one that does is enough.
func TestProbeBesideASilentProtocol(t *testing.T) {
	for _, local := range []bool{true, false} {
		served := make(chan struct{})
		silent := balancertest.NewBackend(t, func(*balancertest.Conn) {
			select { // until the other has been tried, and then gone
			case <-served:
			case <-t.Context().Done():
			}
		})
		well := balancertest.NewBackend(t, func(c *balancertest.Conn) {
			c.Say("+OK store0")
			for line, ok := c.Line(); ok; line, ok = c.Line() {
				c.Say("+OK")
				if strings.EqualFold(line, "CAPA") {
					c.Say("USER", ".")
				}
			}
			close(served)
		})
		r := newRig(t, []*balancertest.Backend{silent}, func(_ *rig, o *balancer.Options) {
			o.Pools[0].Local = local
			o.Pools[0].Backends[0].Ports["pop3"] = well.Port()
		})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := r.server.Probe(ctx, "main", "b0", balancer.Probe{Depth: sniff.ProbeGreeting})
		cancel()
		switch {
		case local && err != nil:
			t.Errorf("local storage, POP3 is well: %v", err)
		case !local && (err == nil || !strings.HasPrefix(err.Error(), "imap: ") || strings.Contains(err.Error(), "pop3")):
			t.Errorf("shared storage, only IMAP is silent: %v", err)
		}
	}
}

// Where the test account logs in, it does so by one protocol after the other: POP3 may
// lock its mailbox.
func TestProbesThatLogInTakeTurns(t *testing.T) {
	var ended atomic.Bool // the first has no connection any more
	silent := balancertest.NewBackend(t, func(c *balancertest.Conn) {
		c.Hang()
		ended.Store(true)
	})
	next := balancertest.NewBackend(t, func(*balancertest.Conn) {
		if !ended.Load() {
			t.Error("POP3 was tried beside IMAP")
		}
	})
	r := newRig(t, []*balancertest.Backend{silent}, func(_ *rig, o *balancer.Options) {
		o.Pools[0].Backends[0].Ports["pop3"] = next.Port()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond) // it takes all of that
	defer cancel()
	how := balancer.Probe{Depth: sniff.ProbeLogin, User: "joe", Password: sniff.Secret("secret")}
	if err := r.server.Probe(ctx, "main", "b0", how); err == nil || !strings.HasPrefix(err.Error(), "imap: ") {
		t.Errorf("IMAP is silent: %v", err)
	}
}

// What a probe learns while a reload happens is offered by the new pool.
func TestProbeAcrossAReload(t *testing.T) {
	const caps = "IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=SCRAM-SHA-256"
	gate, asked := make(chan struct{}), make(chan struct{}, 4)
	r := newRig(t, one(t, func(c *balancertest.Conn) {
		asked <- struct{}{}
		<-gate
		c.Say("* OK [CAPABILITY " + caps + "] hi")
		for line, ok := c.Line(); ok; line, ok = c.Line() {
			tag, _, _ := strings.Cut(line, " ")
			c.Say("* CAPABILITY "+caps, tag+" OK done")
		}
	}), func(_ *rig, o *balancer.Options) { o.Pools[0].Protocols = o.Pools[0].Protocols[:1] })
	done := make(chan error, 1)
	go func() { done <- r.server.Probe(t.Context(), "main", "b0", balancer.Probe{Depth: sniff.ProbeGreeting}) }()
	<-asked
	if err := r.server.Apply(r.options); err != nil {
		t.Fatal(err)
	}
	if line := r.dial("imap").expect("* OK"); strings.Contains(line, "SCRAM") {
		t.Fatalf("offered before it was learnt: %s", line)
	}
	close(gate)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.dial("imap").expect("* OK", "SCRAM-SHA-256")
}

// Credentials are not sent a second time to a back end that broke down on them.
func TestCredentialsAreSentOnce(t *testing.T) {
	var got atomic.Int64
	r := newRig(t, one(t, func(c *balancertest.Conn) {
		c.Say("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi")
		c.Line()
		got.Add(1)
	}), nil)
	c := r.dial("imap")
	c.expect("* OK")
	c.say("a LOGIN joe secret\r\n")
	c.expect("a NO [UNAVAILABLE]")
	if n := got.Load(); n != 1 {
		t.Errorf("sent %d times", n)
	}
}

// The line of a session names nobody's back end but its own user's.
func TestLogForgetsTheLastAttempt(t *testing.T) {
	r := newRig(t, one(t, balancertest.IMAP("store0")), nil)
	c := r.dial("imap")
	c.expect("* OK")
	c.say("a LOGIN joe wrong\r\n")
	c.expect("a NO")
	r.placer.set("", io.ErrUnexpectedEOF)
	c.say("b LOGIN ann secret\r\n")
	c.expect("b NO")
	c.say("c LOGOUT\r\n")
	c.closed()
	until(t, "the session's line", func() bool { return strings.Contains(r.log.String(), "msg=session") })
	if log := r.log.String(); !strings.Contains(log, "user=ann") || strings.Contains(log, "backend=b0") {
		t.Errorf("log: %s", log)
	}
}

// A back end dies while its client does not read: both goroutines of the
// session wait for the client, and it ends all the same.
func TestBackendDiesUnderAStalledClient(t *testing.T) {
	stalled := make(chan struct{}, 1)
	b := balancertest.NewBackend(t, func(c *balancertest.Conn) {
		c.Say("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi")
		line, _ := c.Line()
		c.Say(line[:strings.IndexByte(line, ' ')] + " OK [CAPABILITY IMAP4rev1] in")
		chunk := make([]byte, 1<<20)
		for {
			_ = c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
			if _, err := c.Conn.Write(chunk); err != nil {
				stalled <- struct{}{}
				c.Hang()
				return
			}
		}
	})
	r := newRig(t, []*balancertest.Backend{b}, nil)
	c := r.dial("imap")
	c.expect("* OK")
	c.say("a LOGIN joe secret\r\n")
	c.expect("a OK")
	<-stalled
	b.Kill()
	until(t, "the session has ended", func() bool { n, _ := r.server.Counts(); return n == 0 })
}
