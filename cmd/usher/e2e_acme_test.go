package main_test

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"usher.example/balancer/certs/dnstest"
	"usher.example/balancer/certs/pebble"
)

// TestACME has a node obtain certificates by each challenge and show them at all
// doors. Sessions outlive a renewal; the next handshake has the new one. With the CA
// gone a restarted node shows them at once. No key is in clear on disk or in the log.
func TestACME(t *testing.T) {
	t.Parallel()
	pebble.Require(t)
	srv := newServer(t)
	for _, tt := range []struct {
		name, challenge string
		tlsPort         int
		dns             bool
		keys, names     []string
	}{
		{"http-01", "http-01", 1, false, []string{"ecdsa", "rsa"}, []string{"mail.example.net", "pop.example.net"}},
		{"tls-alpn-01", "tls-alpn-01", portALPN, false, []string{"ecdsa"}, []string{"mail.example.net"}},
		{"tls-alpn-01 at a mail port", "tls-alpn-01", portIMAPS, false, []string{"ecdsa"}, []string{"mail.example.net"}},
		{"dns-01", "dns-01", 1, true, []string{"ecdsa"}, []string{"*.example.net"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := pebble.Options{TLSPort: tt.tlsPort}
			more, ns := "", (*dnstest.Server)(nil)
			if tt.dns {
				ns, more = nameServer(t)
				o.DNS = ns.Addr
			}
			a := newAutomatic(t, srv, o, tt.names...)
			a.keys = tt.keys
			if tt.dns {
				path := a.file("tsig.key")
				a.put(path, more)
				more = fmt.Sprintf("[acme.dns]\nserver = %q\ntsig_secret_file = %q\n", ns.Addr, path)
			}
			a.asks(a.ca.Directory, a.ca.CAFile, tt.challenge, more)
			a.lives(t)
			if tt.dns {
				if left := ns.TXT(t, "_acme-challenge.example.net"); len(left) > 0 {
					t.Errorf("records are left in the zone: %q", left)
				}
			}
		})
	}
}

// nameServer is BIND for example.net, and the key that changes it.
func nameServer(t testing.TB) (server *dnstest.Server, key string) {
	t.Helper()
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	k := dnstest.Key{Name: "acme-update", Algorithm: "hmac-sha256", Secret: base64.StdEncoding.EncodeToString(b[:])}
	server = dnstest.BIND(t, dnstest.Options{
		Zones: []string{"example.net"}, Keys: []dnstest.Key{k}, Writers: []string{k.Name}, Only: []string{"_acme-challenge.example.net."},
	})
	return server, fmt.Sprintf("key %q {\n\talgorithm %s;\n\tsecret %q;\n};\n", k.Name, k.Algorithm, k.Secret)
}

// lives goes the whole way with a node that was not started.
func (a *automatic) lives(t *testing.T) {
	began := time.Now()
	a.p = a.serve()
	a.awaits(t)
	t.Logf("obtained after %v", since(began))
	first := a.shown(t)
	a.accounted(t, first)
	keys := a.export(t)
	// Who sends no name gets the first.
	if leaf, err := a.shows("pop3s", &tls.Config{InsecureSkipVerify: true}); err != nil || !leaf.Equal(first[a.names[0]+" ecdsa"]) {
		t.Errorf("who sends no name: %v", err)
	}

	var early []*client
	for _, name := range a.names {
		for _, door := range doors {
			c := enter(t, a.site, door, entry{tls: a.trust(name)})
			if verdict := c.login("joe", "secret"); !good(verdict) {
				t.Fatalf("%s: %s", door, verdict)
			}
			early = append(early, c)
		}
	}
	for _, name := range a.names {
		a.must(t, "cert", "renew", name, "--force")
	}
	second := a.shown(t)
	for what, leaf := range second {
		if leaf.SerialNumber.Cmp(first[what].SerialNumber) == 0 {
			t.Errorf("%s: after the renewal the old one is shown", what)
		}
	}
	for _, c := range early {
		if !c.works() {
			t.Errorf("%s: a session ended with the renewal: %v", c.protocol, c.err)
		}
	}
	a.p.log.await(t, `level=INFO msg="certificate renewed".* name=.* serial=`, len(second))
	a.accounted(t, second)
	keys = append(keys, a.export(t)...)
	if n := a.ca.Orders(); n != 2*len(first) {
		t.Errorf("the CA made %d certificates, want %d", n, 2*len(first))
	}
	if n := a.ca.Accounts(); n != 1 {
		t.Errorf("the CA has %d accounts, want 1", n)
	}

	for _, c := range early {
		c.Close()
	}
	before := a.p
	a.stop()
	a.ca.Stop()
	began = time.Now()
	a.p = a.serve()
	for what, leaf := range a.shown(t) {
		if !leaf.Equal(second[what]) {
			t.Errorf("%s: after the restart another one is shown", what)
		}
	}
	t.Logf("restarted without the CA, all handshakes are done after %v", since(began))
	c := enter(t, a.site, "imaps", entry{tls: a.trust(a.names[0])})
	if verdict := c.login("joe", "secret"); !good(verdict) {
		t.Errorf("after the restart: %s", verdict)
	}
	a.accounted(t, second)
	if lines := a.p.log.lines(`msg="certificate (obtained|renewed|not obtained)`); len(lines) > 0 {
		t.Errorf("restarted it says %q", lines)
	}
	a.hides(t, keys, before.log.String()+a.p.log.String())
}
