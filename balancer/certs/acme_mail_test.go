package certs

import (
	"bufio"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"strings"
	"testing"

	"usher.example/balancer"
	"usher.example/balancer/balancertest"
	"usher.example/balancer/certs/pebble"
	"usher.example/balancer/forward"
	"usher.example/sniff"
	"usher.example/sniff/imap"
)

// A home sends everybody to one back end.
type home struct{}

func (home) Place(context.Context, string, string) (string, string, uint64, error) {
	return "b0", "home", 1, nil
}
func (home) Release(uint64)            {}
func (home) Still(uint64) error        { return nil }
func (home) Confirm(uint64)            {}
func (home) Refused(uint64)            {}
func (home) Normal(user string) string { return user }

// TestMailListener: the CA comes to the port of IMAP itself. A client that was there
// before a renewal keeps its session, the next one sees the new certificate.
func TestMailListener(t *testing.T) {
	t.Parallel()
	const name = "mail.example.org"
	r := newRig(t, newMemory(), 0, 0)
	shelf := r.shelf([]string{name}, nil)
	store := balancertest.NewBackend(t, balancertest.IMAP("store0"))
	log := new(book)
	server := balancer.New(balancer.Deps{
		Log: slog.New(slog.NewTextHandler(log, nil)), Engine: new(forward.Copy), Placer: home{},
	})
	if err := server.Apply(balancer.Options{
		Hostname: name,
		Pools: []balancer.PoolOptions{{Name: "main", Protocols: []sniff.Protocol{imap.Protocol{}}, Backends: []balancer.BackendOptions{
			{Name: "b0", Host: store.Host(), Ports: map[string]int{"imap": store.Port()}},
		}}},
		Listeners: []balancer.ListenerOptions{{
			Name: "imaps", Address: "127.0.0.1:0", Protocol: imap.Protocol{}, TLS: balancer.TLSImplicit, Pool: "main",
			Config: &tls.Config{ // as the keeper makes it
				GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) { return r.Challenge(h), nil },
				GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
					if list := shelf.match(canonical(h.ServerName)); list != nil {
						return list[0], nil
					}
					return nil, errNobody
				},
			},
		}},
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		server.Drain(ctx)
	})
	at := server.Addr("imaps").(*net.TCPAddr)
	ca := pebble.New(t, pebble.Options{TLSPort: at.Port})
	r.wants(acmeOf(issuerAt(ca, "pebble", TLSALPN01)), []string{name}, nil)
	first := r.has(name)

	connect := func() (*tls.Conn, *bufio.Reader) {
		t.Helper()
		c, err := tls.Dial("tcp", at.String(), &tls.Config{ServerName: name, RootCAs: ca.Roots(), NextProtos: []string{"imap"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		in := bufio.NewReader(c)
		if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "* OK") {
			t.Fatalf("greeted with %q, %v", line, err)
		}
		return c, in
	}
	say := func(c *tls.Conn, in *bufio.Reader, line, want string) {
		t.Helper()
		if _, err := c.Write([]byte(line + "\r\n")); err != nil {
			t.Fatal(err)
		}
		for {
			got, err := in.ReadString('\n')
			if err != nil {
				t.Fatalf("after %q: %v", line, err)
			}
			if strings.HasPrefix(got, want) {
				return
			}
		}
	}
	early, earlyIn := connect()
	if !early.ConnectionState().PeerCertificates[0].Equal(first.Leaf) {
		t.Error("the first client sees another certificate")
	}
	say(early, earlyIn, "a LOGIN joe secret", "a OK")
	if err := r.Renew(t.Context(), name, true); err != nil {
		t.Fatal(err)
	}
	late, lateIn := connect()
	if got := late.ConnectionState().PeerCertificates[0]; got.Equal(first.Leaf) || !got.Equal(r.has(name).Leaf) {
		t.Error("the next client does not see the new certificate")
	}
	say(late, lateIn, "a LOGIN jane secret", "a OK")
	say(early, earlyIn, "b NOOP", "b OK store0")
	until(t, "the CA's visits to be counted", func() bool { return server.Stats()["imaps"].Ended[balancer.Challenge].Load() > 0 })
	if strings.Contains(log.String(), "acme_challenge") {
		t.Errorf("above level debug the log says %s", log)
	}
}
