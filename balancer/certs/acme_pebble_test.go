package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"testing"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"usher.example/balancer/certs/pebble"
)

// verify holds a certificate to a root, as a client would.
func verify(t *testing.T, s *pebble.Server, c *tls.Certificate, name string) {
	t.Helper()
	between := x509.NewCertPool()
	for _, der := range c.Certificate[1:] {
		crt, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		between.AddCert(crt)
	}
	if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: s.Roots(), Intermediates: between, DNSName: name}); err != nil {
		t.Errorf("the certificate of %s: %v", name, err)
	}
}

// One order each way, answered by a node that knows nothing of the order: only it
// has doors.
func TestObtain(t *testing.T) {
	t.Parallel()
	for _, how := range []Challenge{HTTP01, TLSALPN01} {
		t.Run(string(how), func(t *testing.T) {
			name := "mail." + string(how) + ".example.org"
			s := newMemory()
			orders, answers := newRig(t, s, 0, 0), newRig(t, s, anyPort, anyPort)
			ca := answers.aCA(pebble.Options{BadNonces: 10})
			orders.wants(acmeOf(issuerAt(ca, "pebble", how)), []string{name}, nil)
			answers.wants(acmeOf(issuerAt(ca, "pebble", how)), []string{name}, nil)
			first := orders.has(name)
			verify(t, ca, first, name)
			if _, ok := first.PrivateKey.(*ecdsa.PrivateKey); !ok {
				t.Errorf("got a key of %T, want ECDSA", first.PrivateKey)
			}
			if got := answers.has(name); !got.Leaf.Equal(first.Leaf) {
				t.Error("two nodes have two certificates")
			}
			if got := ca.Orders(); got != 1 {
				t.Errorf("got %d orders of two nodes, want 1", got)
			}
			if left := s.keys("challenge_tokens/" + name + ".json"); len(left) > 0 {
				t.Errorf("challenges are left: %v", left)
			}
			answers.says(`msg="a challenge is answered" challenge=` + string(how))

			if err := orders.Renew(t.Context(), name, true); err != nil {
				t.Fatal(err)
			}
			second := orders.has(name)
			if second.Leaf.Equal(first.Leaf) {
				t.Error("after a renewal the certificate is the same")
			}
			until(t, "the other node to have the new one", func() bool { return answers.has(name).Leaf.Equal(second.Leaf) })
			orders.says(`msg="certificate renewed"`)
			answers.says(`msg="certificate renewed by the fleet"`)
			if err := orders.Renew(t.Context(), name, false); err != nil {
				t.Fatal(err)
			}
			if !orders.has(name).Leaf.Equal(second.Leaf) {
				t.Error("it was renewed though nobody needed it")
			}
			for _, st := range orders.shelf([]string{name}, nil).list() {
				if st.Problem != "" || len(st.ID) != 12 || !strings.HasPrefix(st.Fingerprint, st.ID) || st.From != "pebble" || st.Key != "ECDSA P-256" || st.NotAfter.IsZero() || !st.RenewAt.Before(st.NotAfter) {
					t.Errorf("listed as %+v", st)
				}
			}
			if got := ca.Accounts(); got != 1 {
				t.Errorf("got %d accounts of two nodes, want 1", got)
			}
		})
	}
}

// Three nodes want ten names at once, and each name is ordered once, by one account.
func TestFleet(t *testing.T) {
	t.Parallel()
	s := newMemory()
	nodes := []*rig{newRig(t, s, 0, 0), newRig(t, s, 0, 0), newRig(t, s, anyPort, 0)}
	ca := nodes[2].aCA(pebble.Options{})
	var names []string
	for i := range 10 {
		names = append(names, fmt.Sprintf("mail%d.example.org", i))
	}
	for _, n := range nodes {
		n.wants(acmeOf(issuerAt(ca, "pebble", HTTP01)), names, nil)
	}
	for _, name := range names {
		first := nodes[0].has(name)
		for _, n := range nodes[1:] {
			if got := n.has(name); !got.Leaf.Equal(first.Leaf) {
				t.Errorf("%s: two nodes have two certificates", name)
			}
		}
	}
	if got := ca.Orders(); got != len(names) {
		t.Errorf("got %d orders, want %d", got, len(names))
	}
	if got := ca.Accounts(); got != 1 {
		t.Errorf("got %d accounts, want 1", got)
	}
	late := newRig(t, s, 0, 0)
	late.wants(acmeOf(issuerAt(ca, "pebble", HTTP01)), names, nil)
	for _, name := range names {
		late.has(name)
	}
	if got := ca.Orders(); got != len(names) {
		t.Errorf("after a fourth node there are %d orders", got)
	}
	for _, n := range append(nodes, late) {
		if strings.Contains(n.log.String(), "PRIVATE KEY") {
			t.Error("a private key is in the log")
		}
	}
}

// A first issuer that is dead costs a warning, and not the certificate.
func TestIssuers(t *testing.T) {
	t.Parallel()
	s := newMemory()
	r := newRig(t, s, anyPort, 0)
	ca := r.aCA(pebble.Options{EAB: map[string]string{
		"kid": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W",
	}})
	dead := Issuer{Name: "dead", Directory: "https://" + local(pebble.FreePort(t)) + "/dir", Challenges: []Challenge{HTTP01}}
	alive := issuerAt(ca, "alive", HTTP01)
	r.wants(acmeOf(alive), []string{"a.example.org"}, nil)
	r.says("externalAccountRequired")
	r.says("set eab_key_id and eab_key_file")
	alive.EABKeyID, alive.EABKey = "kid", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	a := acmeOf(dead, alive)
	a.Keys = []KeyKind{ECDSA, RSA}
	r.wants(a, []string{"a.example.org"}, nil)
	until(t, "both kinds", func() bool { return len(r.registrar.at("a.example.org")) == 2 })
	list := r.registrar.at("a.example.org")
	if _, ok := list[0].PrivateKey.(*ecdsa.PrivateKey); !ok {
		t.Errorf("the first is %T", list[0].PrivateKey)
	}
	if _, ok := list[1].PrivateKey.(*rsa.PrivateKey); !ok {
		t.Errorf("the second is %T", list[1].PrivateKey)
	}
	for _, c := range list {
		verify(t, ca, c, "a.example.org")
	}
	r.says("an issuer failed, the next one gave the certificate")
	r.says("nobody listens at the CA's address")
	if strings.Contains(r.log.String(), string(alive.EABKey)) {
		t.Error("the account's key is in the log")
	}
	if err := r.Renew(t.Context(), "b.example.org", true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("renewing what is not there: %v", err)
	}
}

func TestOnDemand(t *testing.T) {
	t.Parallel()
	s := newMemory()
	r := newRig(t, s, anyPort, 0)
	ca := r.aCA(pebble.Options{Blocked: []string{"blocked.customers.example.org"}})
	patterns := []string{"*.customers.example.org", "one.example.net"}
	r.wants(acmeOf(issuerAt(ca, "pebble", HTTP01)), nil, patterns)
	shelf := r.shelf(nil, patterns)
	ask := func(name string) (*tls.Certificate, bool, error) {
		t.Helper()
		return handshake(t, shelf, name)
	}
	until(t, "the plan to be in force", func() bool {
		r.registrar.mu.Lock()
		defer r.registrar.mu.Unlock()
		return r.registrar.presses[ECDSA] != nil
	})
	for _, name := range []string{"joe.customers.example.org", "one.example.net"} {
		c, known, err := ask(name)
		if err != nil || !known {
			t.Fatalf("%s: known %v, %v", name, known, err)
		}
		verify(t, ca, c, name)
		if got := shelf.match(name); len(got) != 1 || !got[0].Leaf.Equal(c.Leaf) {
			t.Errorf("%s: then the shelf has %d", name, len(got))
		}
	}
	s.mu.Lock()
	clear(s.loads)
	s.mu.Unlock()
	for _, name := range []string{"", "customers.example.org", "a.b.customers.example.org", "two.example.net", "*.customers.example.org", ".customers.example.org", "mail.example.org"} {
		if c, known, err := ask(name); c != nil || known && err == nil {
			t.Errorf("%q: got a certificate, or the promise of one: %v, %v", name, known, err)
		}
	}
	s.mu.Lock()
	if len(s.loads) > 0 {
		t.Errorf("names that do not fit were looked for: %v", s.loads)
	}
	s.mu.Unlock()
	if _, _, err := ask("blocked.customers.example.org"); err == nil {
		t.Fatal("got a certificate that the CA does not give")
	}
	if _, _, err := ask("blocked.customers.example.org"); !errors.Is(err, errFailed) {
		t.Errorf("at the second time: %v", err)
	}
	r.says("this CA gives no certificates for the name")
	if got := ca.Orders(); got != 2 {
		t.Errorf("got %d certificates, want 2", got)
	}
}

// handshake shows a shelf the hello of a client.
func handshake(t *testing.T, shelf *ordered, name string) (c *tls.Certificate, known bool, err error) {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Server(there, &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			hello.ServerName = name // also those that no client would send
			c, known, err = shelf.hello(hello)
			if c == nil && err == nil {
				return nil, errNobody
			}
			return c, err
		}}).HandshakeContext(t.Context())
		there.Close()
	}()
	_ = tls.Client(here, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(t.Context())
	<-done
	return c, known, err
}

// zone is a DNS provider that tells the CA's resolver.
type zone struct{ ca *pebble.Server }

func (z zone) AppendRecords(_ context.Context, in string, recs []libdns.Record) ([]libdns.Record, error) {
	for _, rec := range recs {
		rr := rec.RR()
		if err := z.ca.SetTXT(libdns.AbsoluteName(rr.Name, in), rr.Data); err != nil {
			return nil, err
		}
	}
	return recs, nil
}

func (z zone) DeleteRecords(_ context.Context, in string, recs []libdns.Record) ([]libdns.Record, error) {
	for _, rec := range recs {
		if err := z.ca.ClearTXT(libdns.AbsoluteName(rec.RR().Name, in)); err != nil {
			return nil, err
		}
	}
	return recs, nil
}

// soa serves the one answer by which certmagic finds a name's zone, which the CA's
// test server does not know.
func soa(t *testing.T, zone string) (address string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		rr := &dns.SOA{Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: zone, Mbox: zone}
		if m.Ns = []dns.RR{rr}; q.Question[0].Name == zone {
			m.Answer, m.Ns = m.Ns, nil
		}
		_ = w.WriteMsg(m)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.ActivateAndServe() }()
	t.Cleanup(func() { conn.Close(); <-done })
	return conn.LocalAddr().String()
}

func TestWildcard(t *testing.T) {
	t.Parallel()
	ca := pebble.New(t, pebble.Options{})
	a := acmeOf(issuerAt(ca, "pebble", HTTP01))
	if _, err := newPolicy(a, []string{"*.example.org"}, nil); err == nil || !strings.Contains(err.Error(), "dns-01") {
		t.Errorf("a wildcard without dns-01: %v", err)
	}
	a.Issuers[0].Challenges = append(a.Issuers[0].Challenges, DNS01)
	if _, err := newPolicy(a, []string{"*.example.org"}, nil); err == nil {
		t.Error("dns-01 without a server is taken")
	}
	a.DNS = DNS{Provider: zone{ca}, Resolvers: []string{soa(t, "example.org.")}, Wait: -1}
	r := newRig(t, newMemory(), 0, 0)
	r.wants(a, []string{"*.example.org"}, nil)
	r.has("*.example.org")
	shelf := r.shelf([]string{"*.example.org"}, nil)
	if got := shelf.match("mail.example.org"); len(got) != 1 {
		t.Fatalf("got %d certificates for mail.example.org", len(got))
	} else {
		verify(t, ca, got[0], "mail.example.org")
	}
	for _, name := range []string{"example.org", "a.mail.example.org"} {
		if got := shelf.match(name); got != nil {
			t.Errorf("%s: got a certificate", name)
		}
	}
	if got := shelf.match(""); len(got) != 1 {
		t.Error("nothing for a client without SNI")
	}
}
