package balancer_test

import (
	"fmt"
	"strings"
	"testing"

	"usher.example/balancer"
	"usher.example/balancer/balancertest"
)

func one(t *testing.T, script func(*balancertest.Conn)) []*balancertest.Backend {
	t.Helper()
	return []*balancertest.Backend{balancertest.NewBackend(t, script)}
}

func TestLoginIsForwarded(t *testing.T) {
	for _, listener := range []string{"imap", "imaps"} {
		t.Run(listener, func(t *testing.T) {
			r := newRig(t, one(t, balancertest.IMAP("store0")), nil)
			c := r.dial(listener)
			if listener == "imaps" {
				if err := c.secure(r.ca, nil); err != nil {
					t.Fatal(err)
				}
			}
			c.expect("* OK [CAPABILITY IMAP4rev1", "mail.example.org")
			c.say("a LOGIN Joe secret\r\n")
			c.expect("a OK [CAPABILITY IMAP4rev1", "you are at store0")
			c.say("b NOOP\r\n")
			c.expect("b OK store0")
			infos := r.server.Sessions("joe")
			if len(infos) != 1 || infos[0].Backend != "b0" || infos[0].User != "Joe" || infos[0].Phase != balancer.PhaseForward {
				t.Errorf("sessions of joe: %+v", infos)
			}
			c.say("c LOGOUT\r\n")
			c.expect("* BYE")
			c.expect("c OK bye")
			if rest := c.closed(); rest != "" {
				t.Errorf("then came %q", rest)
			}
			until(t, "the session's line in the log", func() bool {
				return strings.Contains(r.log.String(), "result=ok end=server_closed")
			})
			st := r.server.Stats()[listener]
			if st.Logins[0][balancer.LoginOK].Load() != 1 || st.Ended[balancer.None].Load() != 1 || st.Open.Load() != 0 || st.LoggedIn.Load() != 0 {
				t.Errorf("counts are off: %+v", st)
			}
		})
	}
}

// RFC 9051 §5.5: nothing that is pipelined around the login is lost, doubled
// or reordered, on plaintext, under STARTTLS and under implicit TLS.
func TestPipeliningAroundTheLogin(t *testing.T) {
	const commands = 500
	var burst, want strings.Builder
	burst.WriteString("x NOOP\r\ny CAPABILITY\r\nl LOGIN joe secret\r\n")
	for i := range commands {
		fmt.Fprintf(&burst, "c%d NOOP\r\n", i)
		fmt.Fprintf(&want, "c%d OK store0\r\n", i)
	}
	burst.WriteString("z LOGOUT\r\n")
	want.WriteString("* BYE\r\nz OK bye\r\n")
	for _, listener := range []string{"imap", "imaps", "starttls"} {
		t.Run(listener, func(t *testing.T) {
			r := newRig(t, one(t, balancertest.IMAP("store0")), nil)
			c := r.dial(strings.Replace(listener, "starttls", "imap", 1))
			if listener == "starttls" {
				c.expect("* OK")
				c.say("s STARTTLS\r\n")
				c.expect("s OK")
			}
			if listener != "imap" {
				if err := c.secure(r.ca, nil); err != nil {
					t.Fatal(err)
				}
			}
			if listener != "starttls" {
				c.expect("* OK")
			}
			go func() { _, _ = c.Write([]byte(burst.String())) }()
			c.expect("x OK")
			c.expect("* CAPABILITY")
			c.expect("y OK")
			c.expect("* CAPABILITY") // he has asked before, so he may not read codes
			c.expect("l OK")
			if got := c.closed(); got != want.String() {
				t.Errorf("got %d octets, want %d:\n%.300s", len(got), want.Len(), got)
			}
		})
	}
}

// A wrong password is answered as such, counted, reported once, and the client
// may try again on the same connection.
func TestWrongPasswordThenRight(t *testing.T) {
	r := newRig(t, one(t, balancertest.IMAP("store0")), nil)
	c := r.dial("imap")
	c.expect("* OK")
	c.say("a LOGIN joe wrong\r\nb LOGIN joe secret\r\nc NOOP\r\n")
	c.expect("a NO [AUTHENTICATIONFAILED]")
	c.expect("b OK")
	c.expect("c OK store0")
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.failed) != 1 || r.failed[0].User != "joe" || r.failed[0].Kind != balancer.AuthFailed || r.failed[0].Attempts != 1 {
		t.Errorf("reported: %+v", r.failed)
	}
	st := r.server.Stats()["imap"]
	if st.Logins[0][balancer.LoginFailed].Load() != 1 || st.Logins[0][balancer.LoginOK].Load() != 1 {
		t.Error("logins are miscounted")
	}
}

func TestTooManyWrongPasswordsEndTheConnection(t *testing.T) {
	r := newRig(t, one(t, balancertest.IMAP("store0")), nil)
	c := r.dial("imap")
	c.expect("* OK")
	for i := range 5 {
		c.say(fmt.Sprintf("a%d LOGIN joe wrong\r\n", i))
		c.expect(fmt.Sprintf("a%d NO [AUTHENTICATIONFAILED]", i))
	}
	c.expect("* BYE")
	if rest := c.closed(); rest != "" {
		t.Errorf("then came %q", rest)
	}
}

// A name that does not fit into what an established session has for it is shown,
// found and logged as every other.
func TestLongName(t *testing.T) {
	r := newRig(t, one(t, balancertest.IMAP("store0")), nil)
	name := strings.Repeat("Long", 50) + "@example.org"
	c := r.dial("imap")
	c.expect("* OK")
	c.say("a LOGIN " + name + " secret\r\n")
	c.expect("a OK")
	if infos := r.server.Sessions(strings.ToLower(name)); len(infos) != 1 || infos[0].User != name {
		t.Errorf("sessions of the user: %+v", infos)
	}
	if n := r.server.KickUser(strings.ToUpper(name), "test"); n != 1 {
		t.Errorf("kicked %d sessions, want 1", n)
	}
	c.closed()
	until(t, "the session's line in the log", func() bool {
		return strings.Contains(r.log.String(), "user="+name) && strings.Contains(r.log.String(), "end=kicked")
	})
}
