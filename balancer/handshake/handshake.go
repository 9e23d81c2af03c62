// Package handshake starts TLS on a connection, in either role, and gets the
// keys out, so that the session can go on without crypto/tls.
//
// crypto/tls does every handshake. It runs over a wire, which never gives it a
// byte beyond the record it asks for, and into a key log of its own, which never
// leaves memory. When it is done, the keys are derived from the log and tried on
// what the handshake itself has sent: they must open all of it, and that tells
// the sequence numbers. A [Conn] then carries the login dialogue by the record
// layer of balancer/record; [Conn.Detach] takes all of it out for the forwarding
// engine. Where any of this does not hold, nothing is guessed: the Conn stays on
// crypto/tls and says why ([Conn.Reason]).
//
// What this package does not do: decide about certificates, versions or suites
// (the caller's tls.Config does), forward, log. Early data does not exist here;
// renegotiation is refused.
//
// Laws: keys are used only after they were proved; after a handshake the socket's
// queue begins with the first record that belongs to the session; a read deadline
// leaves a Conn usable in the middle of a record; nothing that was read is lost
// by Detach; secrets go to no writer but the package's own, also not to the
// KeyLogWriter of the caller's configuration; they are wiped where they have been
// used; a caller's configuration is never changed.
package handshake

import (
	"context"
	"crypto/tls"
	"net"
	"syscall"

	"usher.example/balancer/record"
)

// Raw is a connection without TLS: a [net.TCPConn], or what does the same.
type Raw interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
	SetLinger(seconds int) error
}

// Server does the server's part of a handshake on raw. If ctx ends first, raw
// gets closed; after any other error that is the caller's to do.
func Server(ctx context.Context, raw Raw, cfg *Config) (*Conn, error) {
	return cfg.shake(ctx, raw, record.Server)
}

// Client does the client's part; in all else it is like [Server]. The
// configuration needs a ServerName, as for [tls.Client].
func Client(ctx context.Context, raw Raw, cfg *Config) (*Conn, error) {
	return cfg.shake(ctx, raw, record.Client)
}

func (c *Config) shake(ctx context.Context, raw Raw, role record.Role) (*Conn, error) {
	conn := &Conn{raw: raw, role: role, reason: c.uncovered()}
	if conn.reason != Covered {
		conn.tls = c.over(raw, role, nil)
		if err := conn.tls.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		conn.keep(conn.tls)
		c.stats.count(conn.reason)
		return conn, nil
	}

	w := newWire(raw)
	defer w.giveBack()
	defer w.secrets.wipe()
	t := c.over(w, role, &w.secrets)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	conn.keep(t)
	if c.spoil != nil {
		c.spoil(w)
	}
	conn.reason = conn.takeKeys(w)
	switch {
	case conn.reason != Covered:
		w.pass()
		conn.tls = t
	case c.base.ClientSessionCache != nil && role == record.Client && conn.reader.Version() == record.TLS13:
		conn.feed = newFeed(t, w)
	}
	c.stats.count(conn.reason)
	return conn, nil
}

// over puts crypto/tls over conn. Secrets may be nil.
func (c *Config) over(conn net.Conn, role record.Role, secrets *sink) *tls.Conn {
	if role == record.Client {
		return tls.Client(conn, c.asClient(secrets))
	}
	return tls.Server(conn, c.server)
}

// uncovered says what is known before a handshake to stand against getting the
// keys out.
func (c *Config) uncovered() Reason {
	switch {
	case c.copy:
		return Configured
	case !record.Usable():
		return FIPS
	default:
		return Covered
	}
}
