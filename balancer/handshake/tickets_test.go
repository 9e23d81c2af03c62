package handshake_test

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"usher.example/balancer/handshake"
	"usher.example/balancer/record"
)

// newKeys makes keys of tickets.
func newKeys(n int) []handshake.TicketKey {
	keys := make([]handshake.TicketKey, n)
	for i := range keys {
		_, _ = rand.Read(keys[i][:]) // never fails
	}
	return keys
}

// resumes has a client shake hands and says whether it was known.
func resumes(t *testing.T, cfg *handshake.Config, client *tls.Config) bool {
	t.Helper()
	c, p := shake(t, record.Server, cfg, client)
	did := c.ConnectionState().DidResume
	talk(t, c, p)
	return did
}

// eachVersion runs a test for both versions, on either path of the data.
func eachVersion(t *testing.T, test func(t *testing.T, o handshake.Options, client *tls.Config)) {
	for _, version := range []uint16{record.TLS12, record.TLS13} {
		for _, copied := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/copy=%v", tls.VersionName(version), copied), func(t *testing.T) {
				_, client := configs()
				client.MaxVersion = version
				client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
				test(t, handshake.Options{Copy: copied}, client)
			})
		}
	}
}

// TestTicketsOfMany has two nodes with the keys that a fleet gives them: what one gave
// out is good at the other, over a rotation, until its key is given up.
func TestTicketsOfMany(t *testing.T) {
	eachVersion(t, func(t *testing.T, o handshake.Options, client *tls.Config) {
		server, _ := configs()
		k := newKeys(5)
		nodes := []*handshake.Tickets{new(handshake.Tickets), new(handshake.Tickets)}
		var at []*handshake.Config
		for _, n := range nodes {
			o.Tickets = n
			at = append(at, handshake.Prepare(server, o))
		}
		want := func(what string, node int, want bool) {
			t.Helper()
			if got := resumes(t, at[node], client); got != want {
				t.Errorf("%s: resumed %v, want %v", what, got, want)
			}
		}
		set := func(node int, keys ...handshake.TicketKey) {
			t.Helper()
			if !nodes[node].Set(keys) || nodes[node].Set(keys) {
				t.Error("Set does not say what has changed")
			}
		}
		want("the first", 0, false)
		want("by the node's own key", 0, true)
		if nodes[0].Set(nil) {
			t.Error("no keys are a change")
		}
		want("after no keys", 0, true)
		set(0, k[0], k[1])
		want("of before the fleet's keys", 0, false)
		want("without the fleet's keys", 1, false)
		set(1, k[0], k[1])
		want("of no fleet", 0, false)
		want("at the other", 1, true)
		set(1, k[1], k[2], k[0])
		want("by the key before", 1, true) // and gets one by the new
		want("by the coming key", 0, true)
		set(0, k[1], k[2], k[0])
		want("by the key before", 0, true)
		set(0, k[3], k[4])
		want("by a key that was given up", 0, false)
	})
}

// TestKeysChangeAmidHandshakes is for the race detector.
func TestKeysChangeAmidHandshakes(t *testing.T) {
	server, client := configs()
	tickets := new(handshake.Tickets)
	cfg := handshake.Prepare(server, handshake.Options{Tickets: tickets})
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				tickets.Set(newKeys(4))
			}
		}
	})
	for range 10 {
		resumes(t, cfg, client)
	}
	close(stop)
	wg.Wait()
}

// TestTicketsAreOfTheirCircle has a client come with a session of one listener to
// another that shares the keys. What it asked for, or did not, must not be passed over.
func TestTicketsAreOfTheirCircle(t *testing.T) {
	id := identities()
	pool := func(c tls.Certificate) *x509.CertPool { p := x509.NewCertPool(); p.AddCert(c.Leaf); return p }
	a, b := pool(id.ecdsa), pool(id.rsa) // of authorities with one name
	imap, pop3 := []string{"imap"}, []string{"pop3"}
	type listener struct {
		ask       tls.ClientAuthType
		of        *x509.CertPool
		protocols []string
	}
	for _, tt := range []struct {
		name        string
		first, then listener
		shown       string // how the second sees the client's certificate
		resumes     bool
	}{
		{"alike", listener{ask: tls.VerifyClientCertIfGiven, of: a}, listener{ask: tls.VerifyClientCertIfGiven, of: a.Clone()}, "verified", true},
		{"authorities of another listener", listener{ask: tls.VerifyClientCertIfGiven, of: a}, listener{ask: tls.VerifyClientCertIfGiven, of: b}, "refused", false},
		{"asked for, not verified", listener{ask: tls.RequireAndVerifyClientCert, of: a}, listener{ask: tls.RequestClientCert}, "unverified", false},
		{"verified, after one that was not", listener{ask: tls.RequireAnyClientCert}, listener{ask: tls.VerifyClientCertIfGiven, of: a}, "verified", false},
		{"not asked for before", listener{}, listener{ask: tls.VerifyClientCertIfGiven, of: a}, "verified", false},
		{"not asked for any more", listener{ask: tls.VerifyClientCertIfGiven, of: a}, listener{}, "none", false},
		{"another protocol", listener{protocols: imap}, listener{protocols: pop3}, "none", false},
		{"the same protocol", listener{protocols: imap}, listener{protocols: imap}, "none", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, o handshake.Options, client *tls.Config) {
				client.Certificates = []tls.Certificate{id.ecdsa}
				// Whatever a server asks for: it may not say whose it takes.
				client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &id.ecdsa, nil }
				tickets := new(handshake.Tickets)
				tickets.Set(newKeys(2))
				o.Tickets = tickets
				at := func(l listener) *handshake.Config {
					server, _ := configs()
					server.ClientAuth, server.ClientCAs, server.NextProtos = l.ask, l.of, l.protocols
					return handshake.Prepare(server, o)
				}
				first, then := at(tt.first), at(tt.then)
				resumes(t, first, client)
				if !resumes(t, first, client) {
					t.Fatal("does not resume where it was given out")
				}
				server, raw := dial(t)
				c, _, err := over(t.Context(), record.Server, server, raw, then, client)
				if tt.shown == "refused" {
					if err == nil {
						t.Fatalf("let in, resumed %v", c.ConnectionState().DidResume)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				cs := c.ConnectionState()
				shown := "none"
				if len(cs.PeerCertificates) > 0 {
					shown = "unverified"
				}
				if len(cs.VerifiedChains) > 0 {
					shown = "verified"
				}
				if cs.DidResume != tt.resumes || shown != tt.shown {
					t.Errorf("resumed %v with a certificate %s, want %v, %s", cs.DidResume, shown, tt.resumes, tt.shown)
				}
			})
		})
	}
}

// TestTicketsAreOfTheirName: RFC 6066 §3.
func TestTicketsAreOfTheirName(t *testing.T) {
	eachVersion(t, func(t *testing.T, o handshake.Options, client *tls.Config) {
		server, _ := configs()
		cfg := handshake.Prepare(server, o)
		kept := client.ClientSessionCache
		client.ClientSessionCache = one{kept}
		client.InsecureSkipVerify = true
		resumes(t, cfg, client)
		if !resumes(t, cfg, client) {
			t.Error("does not resume")
		}
		client.ServerName = "other"
		if resumes(t, cfg, client) {
			t.Error("resumed under another name")
		}
	})
}

// one keeps one session, whoever it is of.
type one struct{ tls.ClientSessionCache }

func (o one) Get(string) (*tls.ClientSessionState, bool) { return o.ClientSessionCache.Get("") }
func (o one) Put(_ string, s *tls.ClientSessionState)    { o.ClientSessionCache.Put("", s) }

// TestProtocolIsAgreedAnew: a session that resumes has the protocol of its own hello,
// and is refused with one that is not the listener's.
func TestProtocolIsAgreedAnew(t *testing.T) {
	eachVersion(t, func(t *testing.T, o handshake.Options, client *tls.Config) {
		server, _ := configs()
		server.NextProtos = []string{"imap"}
		cfg := handshake.Prepare(server, o)
		for _, tt := range []struct {
			offer   []string
			resumes bool
			want    string
		}{{nil, false, ""}, {[]string{"imap"}, true, "imap"}, {nil, true, ""}} {
			client.NextProtos = tt.offer
			c, p := shake(t, record.Server, cfg, client)
			if cs := c.ConnectionState(); cs.DidResume != tt.resumes || cs.NegotiatedProtocol != tt.want {
				t.Errorf("offered %q: resumed %v, protocol %q", tt.offer, cs.DidResume, cs.NegotiatedProtocol)
			}
			talk(t, c, p)
		}
		client.NextProtos = []string{"pop3"}
		a, b := dial(t)
		if c, _, err := over(t.Context(), record.Server, a, b, cfg, client); err == nil {
			t.Errorf("pop3 at imap: resumed %v", c.ConnectionState().DidResume)
		}
	})
}

// TestNoEarlyData: no ticket says that data may come before the handshake is over.
func TestNoEarlyData(t *testing.T) {
	server, client := configs()
	cfg := handshake.Prepare(server, handshake.Options{})
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	resumes(t, cfg, client)
	kept, ok := client.ClientSessionCache.Get("peer")
	if !ok {
		t.Fatal("no session")
	}
	if _, state, err := kept.ResumptionState(); err != nil || state.EarlyData {
		t.Errorf("early data %v, %v", state.EarlyData, err)
	}
}

// noEarlyData wants OpenSSL to have seen that in a ticket as well.
func noEarlyData(t *testing.T, session string) {
	t.Helper()
	text, err := exec.CommandContext(t.Context(), "openssl", "sess_id", "-in", session, "-noout", "-text").CombinedOutput()
	if err != nil || !strings.Contains(string(text), "Max Early Data: 0\n") || !strings.Contains(string(text), "TLS session ticket:") {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestTicketKeysAreNotPrinted prints them in every way.
func TestTicketKeysAreNotPrinted(t *testing.T) {
	var log bytes.Buffer
	k := newKeys(1)[0]
	slog.New(slog.NewTextHandler(&log, nil)).Info("key", "key", k)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		fmt.Fprintf(&log, format+" ", k)
		fmt.Fprintf(&log, format+" ", []handshake.TicketKey{k})
	}
	if got := log.String(); strings.Contains(got, hex.EncodeToString(k[:4])) || strings.Contains(got, fmt.Sprint(k[:4])) || strings.Count(got, "[redacted]") != 11 {
		t.Error(got)
	}
}
