package handshake_test

import (
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"testing"

	"usher.example/balancer/handshake"
	"usher.example/balancer/record"
)

// tattler is a KeyLogWriter that must stay silent.
type tattler struct{ t *testing.T }

func (w tattler) Write(p []byte) (int, error) {
	w.t.Errorf("%d octets of secrets were told", len(p))
	return len(p), nil
}

// TestSecretsAreNotTold sets a KeyLogWriter wherever a configuration can come
// from.
func TestSecretsAreNotTold(t *testing.T) {
	for _, copied := range []bool{false, true} {
		for _, version := range []uint16{record.TLS12, record.TLS13} {
			server, client := configs()
			server.KeyLogWriter = tattler{t}
			chosen := server.Clone()
			server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return chosen, nil }
			theirs := client.Clone()
			theirs.MaxVersion = version
			c, p := shake(t, record.Server, handshake.Prepare(server, handshake.Options{Copy: copied}), theirs)
			talk(t, c, p)

			theirs, _ = configs()
			client.MaxVersion = version
			client.KeyLogWriter = tattler{t}
			c, p = shake(t, record.Client, handshake.Prepare(client, handshake.Options{Copy: copied}), theirs)
			talk(t, c, p)
			if server.KeyLogWriter == nil || client.KeyLogWriter == nil {
				t.Error("the caller's configuration was changed")
			}
		}
	}
}

// TestCallbacksGoOnWorking has a server choose by name, in both of the ways that
// tls.Config offers.
func TestCallbacksGoOnWorking(t *testing.T) {
	var asked []string
	saw := func(what string, hello *tls.ClientHelloInfo) {
		if hello.Conn == nil || hello.Conn.RemoteAddr() == nil || hello.Context() == nil {
			t.Errorf("%s: no connection", what)
		}
		asked = append(asked, what+" "+hello.ServerName)
	}
	server, client := configs()
	cert := server.Certificates[0]
	server.Certificates = nil
	server.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		saw("certificate", hello)
		if hello.ServerName == "peer" {
			return &cert, hello.SupportsCertificate(&cert)
		}
		return &cert, nil
	}
	special := server.Clone()
	special.NextProtos = []string{"special"}
	special.VerifyConnection = func(cs tls.ConnectionState) error {
		asked = append(asked, "verify "+cs.ServerName)
		return nil
	}
	refused := errors.New("not here")
	server.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		saw("config", hello)
		switch hello.ServerName {
		case "peer":
			return special, nil
		case "forbidden":
			return nil, refused
		default:
			return nil, nil
		}
	}
	cfg := handshake.Prepare(server, handshake.Options{})
	client.NextProtos = []string{"special"}
	c, p := shake(t, record.Server, cfg, client)
	if got := c.ConnectionState(); got.ServerName != "peer" || got.NegotiatedProtocol != "special" || !c.Detachable() {
		t.Errorf("name %q, protocol %q, reason %v", got.ServerName, got.NegotiatedProtocol, c.Reason())
	}
	talk(t, c, p)
	if want := []string{"config peer", "certificate peer", "verify peer"}; !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}

	for name, want := range map[string]error{"other": nil, "forbidden": refused} {
		client := client.Clone()
		client.ServerName, client.InsecureSkipVerify = name, true
		a, b := dial(t)
		c, _, err := over(t.Context(), record.Server, a, b, cfg, client)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if err == nil && c.ConnectionState().NegotiatedProtocol != "" {
			t.Errorf("%s: got the special configuration", name)
		}
	}
}

// TestSessionsOutliveReloads prepares a configuration anew between two sessions.
func TestSessionsOutliveReloads(t *testing.T) {
	explicit, client := configs()
	explicit.SetSessionTicketKeys([][32]byte{{1, 2, 3}})
	plain, _ := configs()
	shared := new(handshake.Tickets)
	for _, tt := range []struct {
		name   string
		cfg    *tls.Config
		opt    handshake.Options
		resume bool
	}{
		{"shared keys", plain, handshake.Options{Tickets: shared}, true},
		{"shared keys, copied", plain, handshake.Options{Tickets: shared, Copy: true}, true},
		{"explicit keys", explicit, handshake.Options{}, true},
		{"keys of their own", plain, handshake.Options{}, false},
	} {
		for _, version := range []uint16{record.TLS12, record.TLS13} {
			t.Run(tt.name+"/"+tls.VersionName(version), func(t *testing.T) {
				client := client.Clone()
				client.MaxVersion = version
				client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
				c, p := shake(t, record.Server, handshake.Prepare(tt.cfg, tt.opt), client)
				talk(t, c, p)
				c, p = shake(t, record.Server, handshake.Prepare(tt.cfg, tt.opt), client)
				if got := c.ConnectionState().DidResume; got != tt.resume {
					t.Errorf("resumed %v, want %v", got, tt.resume)
				}
				talk(t, c, p)
			})
		}
	}
}

// TestOwnSessionStore has the caller keep sessions itself.
func TestOwnSessionStore(t *testing.T) {
	for _, version := range []uint16{record.TLS12, record.TLS13} {
		server, client := configs()
		kept := map[string][]byte{}
		server.WrapSession = func(_ tls.ConnectionState, s *tls.SessionState) ([]byte, error) {
			b, err := s.Bytes()
			kept["ticket"] = b
			return []byte("ticket"), err
		}
		server.UnwrapSession = func(ticket []byte, _ tls.ConnectionState) (*tls.SessionState, error) {
			if b := kept[string(ticket)]; b != nil {
				return tls.ParseSessionState(b)
			}
			return nil, nil
		}
		client.MaxVersion = version
		client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		cfg := handshake.Prepare(server, handshake.Options{})
		for i := range 3 {
			c, p := shake(t, record.Server, cfg, client)
			if got := c.ConnectionState().DidResume; got != (i > 0) || !c.Detachable() {
				t.Errorf("%s: resumed %v the %d. time, reason %v", tls.VersionName(version), got, i+1, c.Reason())
			}
			talk(t, c, p)
		}
	}
}

// TestRawConnIsReachable: splice and kTLS need it.
func TestRawConnIsReachable(t *testing.T) {
	server, client := configs()
	c, p := shake(t, record.Server, handshake.Prepare(server, handshake.Options{}), client)
	var conn net.Conn = c
	if conn.LocalAddr().String() != p.RemoteAddr().String() || conn.RemoteAddr().String() != p.LocalAddr().String() || c.Raw() == nil {
		t.Errorf("%v-%v, peer %v-%v", conn.LocalAddr(), conn.RemoteAddr(), p.LocalAddr(), p.RemoteAddr())
	}
}
