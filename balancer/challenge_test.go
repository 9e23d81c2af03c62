package balancer_test

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"

	"usher.example/balancer"
	"usher.example/balancer/balancertest"
)

// RFC 8737 §4: a CA that looks for the answer to its challenge gets it in the
// handshake, and then the end: no greeting, no failed login, no line above debug.
func TestChallengeEndsWithTheHandshake(t *testing.T) {
	r := newRig(t, one(t, balancertest.IMAP("store0")), func(_ *rig, o *balancer.Options) {
		for i := range o.Listeners {
			cfg := o.Listeners[i].Config.Clone()
			forCA := &tls.Config{Certificates: cfg.Certificates, NextProtos: []string{"acme-tls/1"}}
			cfg.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				if slices.Contains(h.SupportedProtos, "acme-tls/1") {
					return forCA, nil
				}
				return nil, nil
			}
			o.Listeners[i].Config = cfg
		}
	})
	c := r.dial("imaps")
	if err := c.secure(r.ca, func(cfg *tls.Config) { cfg.NextProtos = []string{"acme-tls/1"} }); err != nil {
		t.Fatal(err)
	}
	if got := c.closed(); got != "" {
		t.Errorf("got %q after the handshake, want the end", got)
	}
	st := r.server.Stats()["imaps"]
	until(t, "the session is counted", func() bool { return st.Ended[balancer.Challenge].Load() == 1 })
	if n := st.TLSFull.Load() + st.TLSFailed.Load(); n != 0 {
		t.Errorf("%d handshakes of clients are counted, and there was none", n)
	}
	if n := len(r.failed); n != 0 {
		t.Errorf("%d failed logins", n)
	}
	until(t, "the line in the log", func() bool { return strings.Contains(r.log.String(), "failure=acme_challenge") })
	if !strings.Contains(r.log.String(), "level=DEBUG msg=session") {
		t.Errorf("the log says: %s", r.log)
	}

	c = r.dial("imaps") // a client on the same listener
	if err := c.secure(r.ca, func(cfg *tls.Config) { cfg.NextProtos = []string{"imap"} }); err != nil {
		t.Fatal(err)
	}
	c.expect("* OK")
}
