package balancer_test

import (
	"fmt"
	"strings"
	"testing"

	"usher.example/balancer"
	"usher.example/balancer/balancertest"
)

// tokens is the script of an IMAP server that refuses every token, by the
// challenge of RFC 7628 §3.2.2.
func tokens(c *balancertest.Conn) {
	c.Say("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=OAUTHBEARER] here")
	for line, ok := c.Line(); ok; line, ok = c.Line() {
		tag, rest, _ := strings.Cut(line, " ")
		if strings.HasPrefix(rest, "AUTHENTICATE OAUTHBEARER ") {
			c.Say("+ eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=")
			c.Line()
		}
		c.Say(tag + " NO [AUTHENTICATIONFAILED] no")
	}
}

// A client that leaves at the challenge that says no has been refused, and is
// counted and reported like any other. It may not try for ever.
func TestTokenGuessesAreCounted(t *testing.T) {
	const guess = "a AUTHENTICATE OAUTHBEARER bixhPWpvZSwBYXV0aD1CZWFyZXIgeAEB\r\n" // n,a=joe,^Aauth=Bearer x^A^A
	for _, tt := range []struct {
		name  string
		leave func(c *peer)
	}{
		{"by *", func(c *peer) {
			c.say("*\r\n")
			c.expect("a BAD")
			for range 4 {
				c.say(guess)
				c.expect("+ ")
				c.say("*\r\n")
				c.expect("a BAD")
			}
			c.expect("* BYE")
			c.closed()
		}},
		{"by answers", func(c *peer) {
			c.say("AQ==\r\n")
			c.expect("a NO [AUTHENTICATIONFAILED]")
			for range 4 {
				c.say(guess)
				c.expect("+ ")
				c.say("AQ==\r\n")
				c.expect("a NO [AUTHENTICATIONFAILED]")
			}
			c.expect("* BYE")
			c.closed()
		}},
		{"by hanging up", func(c *peer) { c.Close() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, one(t, tokens), func(_ *rig, o *balancer.Options) {
				o.Pools[0].Capabilities = map[string][]string{"imap": {"IMAP4rev1", "SASL-IR", "AUTH=PLAIN", "AUTH=OAUTHBEARER"}}
			})
			c := r.dial("imap")
			c.expect("* OK")
			c.say(guess)
			c.expect("+ ")
			tt.leave(c)
			want := 5
			if strings.Contains(tt.name, "hanging") {
				want = 1
			}
			until(t, "the session has ended", func() bool { n, _ := r.server.Counts(); return n == 0 })
			r.mu.Lock()
			defer r.mu.Unlock()
			if len(r.failed) != want {
				t.Fatalf("reported: %d failed logins, want %d", len(r.failed), want)
			}
			for i, f := range r.failed {
				if got, want := fmt.Sprint(f.User, f.Kind, f.Attempts), fmt.Sprint("joe", balancer.AuthFailed, i+1); got != want {
					t.Errorf("reported: %s, want %s", got, want)
				}
			}
		})
	}
}
