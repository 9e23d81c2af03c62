package handshake_test

import (
	"bytes"
	"crypto/tls"
	"strings"
	"testing"

	"usher.example/balancer/handshake"
	"usher.example/balancer/record"
)

var roles = map[string]record.Role{"server": record.Server, "client": record.Client}

// A scene is what a session can be made of.
type scene struct {
	name    string
	version uint16
	suite   record.Suite
	groups  [2][]tls.CurveID // of server and client; nil for all
	change  func(server, client *tls.Config)
	// what is expected
	retry    bool // a HelloRetryRequest
	mutual   bool
	noResume bool
	tickets  uint64 // that a server of TLS 1.3 has sent
}

func scenes() []scene {
	var all []scene
	for _, v := range []uint16{record.TLS13, record.TLS12} {
		for _, s := range record.Suites(v) {
			all = append(all, scene{name: tls.CipherSuiteName(uint16(s)), version: v, suite: s, tickets: 1})
		}
	}
	for _, g := range []tls.CurveID{
		tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521,
		tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024,
	} {
		one := [2][]tls.CurveID{{g}, {g}}
		all = append(all, scene{name: "TLS13_" + g.String(), version: record.TLS13, suite: record.AES128GCM, groups: one, tickets: 1})
		if !strings.Contains(g.String(), "MLKEM") {
			all = append(all, scene{name: "TLS12_" + g.String(), version: record.TLS12, suite: record.ECDHERSAAES256GCM, groups: one})
		}
	}
	mutual := func(server, client *tls.Config) {
		server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, identities().pool
		client.Certificates = []tls.Certificate{identities().rsa}
	}
	silent := func(server, _ *tls.Config) { server.SessionTicketsDisabled = true }
	return append(
		all,
		scene{
			name: "TLS13_retry", version: record.TLS13, suite: record.AES256GCM, retry: true, tickets: 1,
			groups: [2][]tls.CurveID{{tls.CurveP384}, {tls.X25519, tls.CurveP384}},
		},
		scene{name: "TLS13_mutual", version: record.TLS13, suite: record.ChaCha20, change: mutual, mutual: true, tickets: 1},
		scene{name: "TLS12_mutual", version: record.TLS12, suite: record.ECDHEECDSAAES128GCM, change: mutual, mutual: true},
		scene{name: "TLS13_no_tickets", version: record.TLS13, suite: record.AES128GCM, change: silent, noResume: true},
		scene{name: "TLS12_no_tickets", version: record.TLS12, suite: record.ECDHERSAChaCha20, change: silent, noResume: true},
	)
}

// set makes the scene's configurations.
func (s scene) set(t *testing.T) (server, client *tls.Config) {
	server, client = configs()
	if s.version == record.TLS13 {
		useTLS13(t, s.suite)
	}
	for i, cfg := range []*tls.Config{server, client} {
		cfg.MinVersion, cfg.MaxVersion = s.version, s.version
		cfg.CipherSuites = []uint16{uint16(s.suite)}
		cfg.CurvePreferences = s.groups[i]
		cfg.NextProtos = []string{"imap"}
	}
	client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	if s.change != nil {
		s.change(server, client)
	}
	return server, client
}

func TestEveryKindOfSession(t *testing.T) {
	for _, s := range scenes() {
		for name, role := range roles {
			t.Run(s.name+"/"+name, func(t *testing.T) {
				server, client := s.set(t)
				var stats handshake.Stats
				ours, theirs := server, client
				if role == record.Client {
					ours, theirs = client, server
				}
				cfg := handshake.Prepare(ours, handshake.Options{Stats: &stats})
				for i, resumed := range []bool{false, true, true} { // a resumed session can be resumed again
					c, p := shake(t, role, cfg, theirs)
					s.check(t, c, p, role, resumed && !s.noResume)
					talk(t, c, p)
					if got := stats.Done(handshake.Covered); got != uint64(i+1) {
						t.Errorf("%d handshakes counted, want %d", got, i+1)
					}
				}
			})
		}
	}
}

func (s scene) check(t *testing.T, c *handshake.Conn, p peer, role record.Role, resumed bool) {
	t.Helper()
	if !c.Detachable() || c.TLS() != nil {
		t.Fatalf("not detachable: %v", c.Reason())
	}
	got, want := c.ConnectionState(), p.ConnectionState()
	if got.DidResume != resumed || want.DidResume != resumed {
		t.Errorf("resumed: we say %v, peer says %v, want %v", got.DidResume, want.DidResume, resumed)
	}
	if got.Version != s.version || got.CipherSuite != uint16(s.suite) || got.NegotiatedProtocol != "imap" {
		t.Errorf("got %s, %s, %q", tls.VersionName(got.Version), tls.CipherSuiteName(got.CipherSuite), got.NegotiatedProtocol)
	}
	if got.HelloRetryRequest != s.retry {
		t.Errorf("HelloRetryRequest %v, want %v", got.HelloRetryRequest, s.retry)
	}
	if g := s.groups[0]; g != nil && got.CurveID != g[0] {
		t.Errorf("group %v, want %v", got.CurveID, g[0])
	}
	if s.mutual && role == record.Server && len(got.VerifiedChains) == 0 {
		t.Error("the client's certificate was not verified")
	}
	for _, state := range []tls.ConnectionState{got, want} {
		if _, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32); err != nil {
			t.Errorf("export: %v", err)
		}
	}
	read, write := c.Sequences()
	wantRead, wantWrite := uint64(0), uint64(0)
	switch {
	case s.version == record.TLS12:
		wantRead, wantWrite = 1, 1
	case role == record.Server:
		wantWrite = s.tickets
	}
	if read != wantRead || write != wantWrite {
		t.Errorf("sequences %d and %d, want %d and %d", read, write, wantRead, wantWrite)
	}
}

// TestBothEndsAreOurs has the package talk to itself.
func TestBothEndsAreOurs(t *testing.T) {
	for _, version := range []uint16{record.TLS12, record.TLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			server, client := configs()
			client.MaxVersion = version
			client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			sc, cc := handshake.Prepare(server, handshake.Options{}), handshake.Prepare(client, handshake.Options{})
			for _, resumed := range []bool{false, true} {
				a, b := bothOurs(t, sc, cc)
				if got := a.ConnectionState().DidResume; got != resumed || b.ConnectionState().DidResume != resumed {
					t.Errorf("resumed %v, want %v", got, resumed)
				}
				greeting := []byte("* OK\r\n")
				carry(t, a, b, greeting)
				for _, n := range sizes {
					carry(t, a, b, pattern(n))
					carry(t, b, a, bytes.ToUpper(pattern(n)))
				}
			}
		})
	}
}

func bothOurs(tb testing.TB, sc, cc *handshake.Config) (server, client *handshake.Conn) {
	tb.Helper()
	a, b := dial(tb)
	done := make(chan error, 1)
	go func() {
		var err error
		client, err = handshake.Client(tb.Context(), b, cc)
		done <- err
	}()
	server, err := handshake.Server(tb.Context(), a, sc)
	if cerr := <-done; err != nil || cerr != nil {
		tb.Fatalf("server: %v, client: %v", err, cerr)
	}
	tb.Cleanup(func() { _, _ = server.Close(), client.Close() })
	return server, client
}
