package balancer_test

import (
	"context"
	"testing"

	"usher.example/balancer/balancertest"
)

// A client that waits for a handshake gets none of our words in plaintext: they
// would be neither private nor TLS.
func TestNoGoodbyeAmidTheHandshake(t *testing.T) {
	r := newRig(t, one(t, balancertest.IMAP("store0")), nil)
	i, p, s := r.dial("imap"), r.dial("pop3"), r.dial("imaps")
	i.expect("* OK")
	i.say("a STARTTLS\r\n")
	i.expect("a OK")
	p.expect("+OK")
	p.say("STLS\r\n")
	p.expect("+OK")
	until(t, "all wait for a handshake", func() bool {
		n := 0
		for _, info := range r.server.Sessions("") {
			if info.Phase == "tls" {
				n++
			}
		}
		return n == 3
	})
	ctx, now := context.WithCancel(t.Context())
	now()
	r.server.Drain(ctx)
	for _, c := range []*peer{i, p, s} {
		if got := c.closed(); got != "" {
			t.Errorf("got %q, want nothing", got)
		}
	}
}
