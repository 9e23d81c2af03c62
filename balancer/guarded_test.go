package balancer_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"usher.example/balancer"
	"usher.example/balancer/balancertest"
	"usher.example/balancer/guard"
)

// guardedRig is a rig with a guard, whose clients on listener 0 say where they come from.
func guardedRig(t *testing.T, change func(o *balancer.Options)) *rig {
	t.Helper()
	return newRig(t, one(t, balancertest.IMAP("store0")), func(r *rig, o *balancer.Options) {
		r.guard = guard.New(guard.Options{}, time.Now())
		o.Listeners[0].ProxyNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		o.Limits.LoginTime = 30 * time.Second
		if change != nil {
			change(o)
		}
	})
}

// from is a client of an address.
func (r *rig) from(address string) *peer {
	r.t.Helper()
	p := r.dial("imap")
	_ = p.SetDeadline(time.Now().Add(2 * patience))
	p.say("PROXY TCP4 " + address + " 192.0.2.2 1024 143\r\n")
	p.expect("* OK")
	return p
}

// A failure is answered late, in the usual words, and told at once; a good login is
// not late, and the next try of the same client waits no more than he has.
func TestFailureIsAnsweredLate(t *testing.T) {
	r := guardedRig(t, nil)
	c := r.from("192.0.2.1")
	began := time.Now()
	c.say("a LOGIN joe wrong\r\n")
	until(t, "the failure is told", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.failed) == 1 && r.failed[0].Kind == balancer.AuthFailed
	})
	if took := time.Since(began); took > patience {
		t.Errorf("it is told after %v: who bans addresses waits for that", took)
	}
	c.expect("a NO [AUTHENTICATIONFAILED]")
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("the answer came after %v, want 2 s", took)
	}
	began = time.Now()
	c.say("b LOGIN joe secret\r\n")
	c.expect("b OK")
	if took := time.Since(began); took > patience {
		t.Errorf("his good login took %v", took)
	}
	if n := r.guard.Held(); n != 0 {
		t.Errorf("%d are held", n)
	}
}

// Who has to wait for longer than a client does is told so, and that it is not his
// password; the back end is not asked, and nobody counts it as a wrong one.
func TestRefusedForOthers(t *testing.T) {
	r := guardedRig(t, func(o *balancer.Options) { o.Limits.LoginTime = 4 * time.Second })
	if err := r.guard.Learn(time.Now(), []byte(`{"penalties":[{"kind":"address","name":"192.0.2.1/32","weight":20}],"logins":[{"address":"192.0.2.1","user":"ann"}]}`)); err != nil {
		t.Fatal(err)
	}
	known := r.from("192.0.2.1")
	known.say("a LOGIN Ann secret\r\n")
	known.expect("a OK")
	c := r.from("192.0.2.1")
	c.say("a LOGIN joe secret\r\n")
	c.expect("a NO [LIMIT] Too many failed logins")
	c.expect("* BYE")
	c.closed()
	until(t, "it is told", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.failed) == 1
	})
	if line := string(r.failed[0].AppendDovecot(nil)); r.failed[0].Kind != balancer.Guarded || strings.Contains(line, "auth failed") {
		t.Errorf("told as %v: %s", r.failed[0].Kind, line)
	}
	until(t, "it is counted", func() bool { return r.server.Stats()["imap"].Ended[balancer.Guarded].Load() == 1 })
	if n := r.guard.Held(); n != 0 {
		t.Errorf("%d are held", n)
	}
}

// Who hangs up while he waits, or is thrown out, leaves nothing behind.
func TestHangUpWhileHeld(t *testing.T) {
	r := guardedRig(t, nil)
	for i := range 3 {
		c := r.from("192.0.2.1")
		c.say(fmt.Sprintf("a LOGIN joe%d wrong\r\n", i))
		until(t, "it is held", func() bool { return r.guard.Held() == 1 })
		_ = c.Close()
		until(t, "it is there", func() bool { return len(r.server.Sessions("")) == 1 })
		r.server.KickSession(r.server.Sessions("")[0].ID, "test")
		until(t, "nobody is held", func() bool { return r.guard.Held() == 0 })
	}
}

// A node that stops waits for nobody who guesses: who has failed is told so at once, and
// who would have to wait goes elsewhere.
func TestStopWhileHeld(t *testing.T) {
	r := guardedRig(t, nil)
	c := r.from("192.0.2.1")
	c.say("a LOGIN joe wrong\r\n")
	until(t, "his failure is held", func() bool { return r.guard.Held() == 1 })
	other := r.from("192.0.2.1")
	other.say("a LOGIN joe \"wrong as well\"\r\n")
	until(t, "the next try is held", func() bool { return r.guard.Held() == 2 })
	r.server.StopAccepting()
	c.expect("a NO [AUTHENTICATIONFAILED]")
	other.closed()
	until(t, "nobody is held", func() bool { return r.guard.Held() == 0 })
	until(t, "the one that waited has gone elsewhere", func() bool {
		return r.server.Stats()["imap"].Ended[balancer.ShuttingDown].Load() == 1
	})
}

// A user has so many sessions on the node, from wherever; one more learns that it is
// not his password, and only if that is right.
func TestPerUser(t *testing.T) {
	r := newRig(t, one(t, balancertest.IMAP("store0")), func(_ *rig, o *balancer.Options) { o.Limits.PerUser = 2 })
	var in []*peer
	for range 2 {
		c := r.dial("imap")
		c.expect("* OK")
		c.say("a LOGIN joe secret\r\n")
		c.expect("a OK")
		in = append(in, c)
	}
	more := r.dial("imap")
	more.expect("* OK")
	more.say("a LOGIN joe wrong\r\n")
	more.expect("a NO [AUTHENTICATIONFAILED]")
	more.say("b LOGIN JOE secret\r\n")
	more.expect("b NO [LIMIT]")
	more.say("c LOGIN ann secret\r\n")
	more.expect("c OK")
	_ = in[0].Close()
	until(t, "his session has ended", func() bool { return len(r.server.Sessions("joe")) == 1 })
	again := r.dial("imap")
	again.expect("* OK")
	again.say("a LOGIN joe secret\r\n")
	again.expect("a OK")
}
