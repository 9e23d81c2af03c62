package balancer_test

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"

	"usher.example/balancer"
	"usher.example/balancer/balancertest"
	"usher.example/balancer/forward"
	"usher.example/balancer/handshake"
)

// TestMixedSecurity has each side in plaintext, with TLS that the record layer
// knows, and with TLS that it does not: whatever the two are, bytes come through,
// and by an engine that can do both. A side with TLS that got bytes in clear, or
// another's records, would fail.
func TestMixedSecurity(t *testing.T) {
	kinds := []string{"plaintext", "covered", "uncovered"}
	uncovered := func(c *tls.Config) {
		c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
	}
	for _, client := range kinds {
		for _, server := range kinds {
			t.Run(client+" client, "+server+" back end", func(t *testing.T) {
				ca := balancertest.NewAuthority(t)
				cert := ca.Server("127.0.0.1")
				script := func(c *balancertest.Conn) {
					if server != "plaintext" && !c.StartTLS(cert) {
						return
					}
					balancertest.IMAP("there")(c)
				}
				r := newRig(t, one(t, script), func(_ *rig, o *balancer.Options) {
					if server == "plaintext" {
						return
					}
					b := &o.Pools[0].Backends[0]
					b.TLS, b.Config = balancer.TLSImplicit, &tls.Config{RootCAs: ca.Pool(), ServerName: "127.0.0.1"}
					if server == "uncovered" {
						uncovered(b.Config)
					}
				})
				listener := "imaps"
				if client == "plaintext" {
					listener = "imap"
				}
				p := r.dial(listener)
				if client != "plaintext" {
					if err := p.secure(r.ca, func(c *tls.Config) {
						if client == "uncovered" {
							uncovered(c)
						}
					}); err != nil {
						t.Fatal(err)
					}
				}
				p.expect("* OK")
				p.say("a LOGIN joe good\r\n")
				p.expect("a OK")
				for i := range 3 {
					p.say(fmt.Sprintf("b%d NOOP\r\n", i))
					p.expect(fmt.Sprintf("b%d OK there", i))
				}
				p.say("c LOGOUT\r\n")
				p.expect("* BYE")
				p.expect("c OK bye")
				if line, err := p.r.ReadString('\n'); err == nil || line != "" || !balancertest.ErrClosed(err) {
					t.Errorf("after the end: %q, %v", line, err)
				}
				want := "copy"
				if engineName != "copy" {
					fell := 0
					for _, kind := range []string{client, server} {
						// Who is covered falls with the other.
						if kind == "uncovered" || kind == "covered" && client != server && client != "plaintext" && server != "plaintext" {
							fell++
						}
					}
					if got := r.server.Handshakes().Fell(handshake.Suite); got != uint64(fell) {
						t.Errorf("%d sides are counted that stay on crypto/tls for the suite, want %d", got, fell)
					}
				}
				switch {
				case client == "plaintext" && server == "plaintext":
					want = "splice"
				case client == "uncovered" || server == "uncovered" || engineName == "copy":
				case engineName == "ktls":
					want = "ktls"
				default:
					want = "user"
					if e, ok := r.engine.(*forward.Reactor); ok && len(e.Kernel().Suites) > 0 {
						return // the kernel may be asked
					}
				}
				if r.engine.(interface{ Adopted(path string) uint64 }).Adopted(want) != 1 {
					t.Errorf("the session did not go by %s:\n%s", want, strings.TrimSpace(r.log.String()))
				}
			})
		}
	}
}
