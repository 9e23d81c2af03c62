package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"time"
)

// cipherSuite is the one that every target must negotiate, or their figures
// would compare ciphers: Go's and OpenSSL's favourites differ.
const cipherSuite = tls.TLS_AES_128_GCM_SHA256

// A Service is where and how clients connect. It may be used by any number of
// goroutines, but a TLS configuration with a session cache belongs to one worker:
// two would take each other's tickets.
type Service struct {
	Protocol string // IMAP or POP3
	Security string // TLS, StartTLS or Plain
	Addr     string
	TLS      *tls.Config // from TLSConfig; nil with Plain

	// Timeout is how long each answer may take; zero means DefaultTimeout.
	Timeout time.Duration
}

// dialer sets no keep-alive: four system calls that say nothing on loopback.
var dialer = net.Dialer{KeepAlive: -1}

// Dial connects, shakes hands, and waits for the greeting, as clients do; with
// StartTLS the greeting comes first. A done context ends the client too, at any
// later time.
func (s Service) Dial(ctx context.Context) (*Client, error) {
	if s.Protocol != IMAP && s.Protocol != POP3 {
		return nil, fmt.Errorf("protocol %q: want %s or %s", s.Protocol, IMAP, POP3)
	}
	timeout := s.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	d := dialer
	d.Timeout = timeout
	conn, err := d.DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return nil, err
	}
	c := newClient(ctx, conn.(*net.TCPConn), s.Protocol == POP3, timeout)
	if err := c.open(s); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// open brings a connection to where a login may follow.
func (c *Client) open(s Service) error {
	switch s.Security {
	case Plain:
		return c.greeting()
	case TLS:
		if err := c.handshake(s.TLS); err != nil {
			return err
		}
		return c.greeting()
	case StartTLS:
		if err := c.greeting(); err != nil {
			return err
		}
		if err := c.startTLS(); err != nil {
			return err
		}
		return c.handshake(s.TLS)
	}
	return fmt.Errorf("security %q: want %s, %s or %s", s.Security, TLS, StartTLS, Plain)
}

// handshake ends with what was negotiated being what was asked for.
func (c *Client) handshake(config *tls.Config) error {
	if config == nil {
		return fmt.Errorf("TLS without a configuration: take one from TLSConfig")
	}
	if err := c.arm(); err != nil {
		return err
	}
	c.wire = &wire{TCPConn: c.tcp}
	conn := tls.Client(c.wire, config)
	if err := conn.Handshake(); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	state := conn.ConnectionState()
	switch {
	case state.Version != tls.VersionTLS13:
		return fmt.Errorf("%w: %s, want TLS 1.3", ErrNegotiated, tls.VersionName(state.Version))
	case state.CipherSuite != cipherSuite:
		return fmt.Errorf("%w: %s, want %s: let the target offer that alone",
			ErrNegotiated, tls.CipherSuiteName(state.CipherSuite), tls.CipherSuiteName(cipherSuite))
	case len(config.CurvePreferences) > 0 && state.CurveID != config.CurvePreferences[0]:
		return fmt.Errorf("%w: %s, want %s", ErrNegotiated, state.CurveID, config.CurvePreferences[0])
	}
	c.tls, c.conn = conn, conn
	return nil
}

// TLSConfig returns the configuration that all clients share but for the cache:
// TLS 1.3 alone, and one group, of which the client sends its share at once. A
// cache makes handshakes resumed ones, as soon as it holds a ticket; with none,
// clients take tickets as mail clients do, and forget them.
//
// The suite cannot be fixed on this side with TLS 1.3: Dial checks it.
func TLSConfig(roots *x509.CertPool, name string, curve tls.CurveID, cache tls.ClientSessionCache) *tls.Config {
	if cache == nil {
		cache = forgetful{}
	}
	return &tls.Config{
		RootCAs:            roots,
		ServerName:         name,
		MinVersion:         tls.VersionTLS13,
		CurvePreferences:   []tls.CurveID{curve},
		ClientSessionCache: cache,
		// Full records from the start, as a client has that sends a message.
		DynamicRecordSizingDisabled: true,
	}
}

// forgetful makes crypto/tls offer to take tickets (psk_key_exchange_modes, RFC
// 8446 §4.2.9), without which a server need not make any, and never resumes.
type forgetful struct{}

func (forgetful) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (forgetful) Put(string, *tls.ClientSessionState)        {}
