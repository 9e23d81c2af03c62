package handshake

import (
	"crypto/cipher"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"usher.example/balancer/record"
)

// A Conn is a connection after its handshake. It is a net.Conn: one goroutine may
// read while another writes, and all methods may be called by any.
//
// While the session is covered, Conn does the record layer itself, on the raw
// connection and with its deadlines. A missed read deadline leaves it usable,
// wherever in a record it struck; a Write that was cut short does not, as nobody
// knows how much of a record the peer has got.
type Conn struct {
	raw    Raw
	tls    *tls.Conn // carries the data unless reason is Covered
	reason Reason
	role   record.Role
	state  atomic.Pointer[tls.ConnectionState] // nil once detached
	gone   atomic.Bool                         // closed or detached

	// asked says that the peer wants us to update our keys. It is apart from
	// writer so that a Read need not wait for a Write.
	asked atomic.Bool

	readMu  sync.Mutex // guards all that follows
	reader  record.Reader
	opener  cipher.AEAD // of reader's present keys; nil if it must be built
	in      []byte      // the beginning of a record, or the whole whose data is unread
	unread  []byte      // a part of in
	readErr error       // for ever
	feed    *feed       // nil unless crypto/tls still collects tickets

	writeMu  sync.Mutex // guards all that follows; taken after readMu
	writer   record.Writer
	sealer   cipher.AEAD
	writeErr error // for ever
}

var _ net.Conn = (*Conn)(nil)

func (c *Conn) keep(t *tls.Conn) {
	state := t.ConnectionState()
	c.state.Store(&state)
}

// Detachable says that the keys are out, so that Detach works. Otherwise the
// session is on crypto/tls, for good.
func (c *Conn) Detachable() bool { return c.reason == Covered }

// Reason says why the Conn is not detachable.
func (c *Conn) Reason() Reason { return c.reason }

// TLS returns the crypto/tls connection of a session that is not detachable,
// nil for others. Who uses it should not use the Conn.
func (c *Conn) TLS() *tls.Conn { return c.tls }

// Raw returns the connection below. Only its deadlines and addresses may be used
// while there is a Conn.
func (c *Conn) Raw() Raw { return c.raw }

// ConnectionState returns what the handshake came to, zero after Detach or Forget. In TLS
// 1.2 its exporter holds the master secret: do not keep it.
func (c *Conn) ConnectionState() tls.ConnectionState {
	if state := c.state.Load(); state != nil {
		return *state
	}
	return tls.ConnectionState{}
}

// Forget drops what the handshake came to: in TLS 1.2 the exporter in it holds the
// master secret, and a Conn may be used for days. ConnectionState is zero from then on.
func (c *Conn) Forget() { c.state.Store(nil) }

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// SetDeadline implements net.Conn. Deadlines are the raw connection's: to set
// them there is the same.
func (c *Conn) SetDeadline(t time.Time) error { return c.deadline(c.raw.SetDeadline, t) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.deadline(c.raw.SetReadDeadline, t) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.deadline(c.raw.SetWriteDeadline, t) }

// deadline leaves alone what belongs to somebody else by now.
func (c *Conn) deadline(set func(time.Time) error, t time.Time) error {
	if c.gone.Load() {
		return net.ErrClosed
	}
	return set(t)
}

// CloseWrite tells the peer that nothing more will come: close_notify (RFC 8446
// §6.1), then FIN. Reading goes on.
func (c *Conn) CloseWrite() error {
	if c.gone.Load() {
		return net.ErrClosed
	}
	if c.tls != nil {
		if err := c.tls.CloseWrite(); err != nil {
			return err
		}
		return c.raw.CloseWrite()
	}
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if err := c.alert(record.CloseNotify, c.raw.Write); err != nil {
		return err
	}
	return c.raw.CloseWrite()
}

// Close sends close_notify, if the socket takes it at once, closes the raw
// connection and wipes the keys. It ends calls that are under way; while a Write
// is, there is no close_notify.
func (c *Conn) Close() error {
	if !c.gone.CompareAndSwap(false, true) {
		return net.ErrClosed
	}
	if c.tls != nil {
		return c.tls.Close()
	}
	if c.writeMu.TryLock() {
		_ = c.alert(record.CloseNotify, c.writeNow) // a courtesy; the connection is closed either way
		c.writeMu.Unlock()
	}
	err := c.raw.Close()
	c.readMu.Lock()
	defer c.readMu.Unlock()
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	c.wipe()
	return err
}

// wipe forgets keys and data. It is called with both locks held, or before there
// is anybody else.
func (c *Conn) wipe() {
	c.reader.Wipe()
	c.writer.Wipe()
	clear(c.in)
	c.reader, c.writer = record.Reader{}, record.Writer{}
	c.opener, c.sealer, c.in, c.unread, c.feed = nil, nil, nil, nil, nil
}

// Format prints no keys and no data, whatever the verb.
func (c *Conn) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "handshake.Conn(%s)", c.reason)
}
