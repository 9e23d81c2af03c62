// Package forward moves the bytes of established sessions: two connections, one
// of the client and one of the back end, until either ends.
//
// An [Engine] adopts a [Pair] and owns both connections from then on. This
// package has the engine that works everywhere ([Copy]): two goroutines for a
// session, splice(2) by the net package where both sides are plaintext,
// crypto/tls where they are not.
//
// Laws: no byte is lost, doubled or reordered, and bytes read before the
// adoption go first; a half-close of the client is passed on; whatever ends a
// session, both connections get closed, Done is called exactly once and after
// everything else; nothing here knows mail.
package forward

import (
	"crypto/tls"
	"net"
	"syscall"
	"time"
)

// Raw is a TCP connection: a [net.TCPConn], or one that gives its descriptor away by a
// method Release, which spares the engine a second one. Copy splices only the former.
type Raw interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
	SetLinger(seconds int) error
}

// A Conn is one side of a session. The raw connection stays reachable: a
// wrapper that hid it would silently turn splice into copying.
type Conn struct {
	Raw Raw
	TLS *tls.Conn // nil for plaintext, and where Secured is set
	// Secured is the state of TLS that our own record layer carries; nil for
	// plaintext, and where TLS is set. An engine takes what is in it.
	Secured *Secured
	// Held does the TLS of a side whose state could be Secured, but the other
	// side's is crypto/tls: one engine has to have both. Nil otherwise.
	Held Held
}

// Held is a connection that does its own TLS. CloseWrite sends close_notify, then
// FIN; Close is called once, when the session has ended.
type Held interface {
	net.Conn
	CloseWrite() error
}

// Conn returns what application bytes are read from and written to. It is not
// for a side whose TLS is in Secured: its bytes are nothing to the other side.
func (c Conn) Conn() net.Conn {
	switch {
	case c.TLS != nil:
		return c.TLS
	case c.Held != nil:
		return c.Held
	default:
		return c.Raw
	}
}

// copied reports whether only goroutines can move the side's bytes.
func (c Conn) copied() bool { return c.TLS != nil || c.Held != nil }

// release closes a side that does its own TLS, whose keys go with that. Nobody may
// use it any more.
func (c Conn) release() {
	if c.Held != nil {
		_ = c.Held.Close() // what is below it is closed
	}
}

// closeWrite tells the peer that nothing more will come: close_notify under
// TLS (RFC 8446 §6.1), and FIN.
func (c Conn) closeWrite() error {
	if c.Held != nil {
		return c.Held.CloseWrite()
	}
	if c.TLS != nil {
		if err := c.TLS.CloseWrite(); err != nil {
			return err
		}
	}
	return c.Raw.CloseWrite()
}

// A Pair is a session to be adopted.
type Pair struct {
	Client, Server Conn
	// ToClient and ToServer were read from the other side before the adoption
	// and go ahead of everything else.
	ToClient, ToServer []byte
	// Done is called once when both connections are closed. One function may
	// serve all pairs: Tag tells it which one ended.
	Done func(Result)
	// Tag is the caller's own number for the pair.
	Tag uint64
}

// An End says what ended a session.
type End uint8

// Ends of a session.
const (
	ClientClosed End = iota // the client closed in order
	ServerClosed            // the back end closed in order
	ClientLost              // reset, time-out or TLS fault on the client's side
	ServerLost              // the same on the back end's side
	Idle                    // no traffic for the idle limit
	Killed                  // Flow.Kill
)

var endNames = [...]string{"client_closed", "server_closed", "client_lost", "server_lost", "idle", "killed"}

// String returns the end's name as logs and metrics show it.
func (e End) String() string {
	if int(e) < len(endNames) {
		return endNames[e]
	}
	return "unknown"
}

// Ends lists every End in order.
func Ends() []End { return []End{ClientClosed, ServerClosed, ClientLost, ServerLost, Idle, Killed} }

// A Result is the account of a session.
type Result struct {
	// Tag is the pair's.
	Tag uint64
	End End
	// Path is the way the bytes took, as Flow.Path names it.
	Path string
	// In counts bytes from the client to the back end, Out the others, in
	// octets of the application. Pending bytes of the adoption are included.
	In, Out uint64
	// Err is what went wrong, nil after an orderly end.
	Err error
}

// A Flow names a session that an engine has adopted. It is a value, so that who
// has a hundred thousand of them has nothing on the heap. Its methods may be
// called at any time from any goroutine, also after the end: what they return
// is the last account then, or zeros when it has been forgotten. The zero Flow
// is nobody's.
type Flow struct {
	of keeper // nil: nobody's
	ref
}

// A ref names a session within its keeper; it does not survive it.
type ref struct {
	id  int32
	gen uint32
}

// A keeper is who knows a flow: a loop all of its own, with two goroutines for
// a session the session itself.
type keeper interface {
	kill(ref)
	bytes(ref) (in, out uint64)
	idleFor(ref) time.Duration
	path(ref) string
}

// Kill closes both connections soon and does not wait for it.
func (f Flow) Kill() {
	if f.of != nil {
		f.of.kill(f.ref)
	}
}

// Bytes returns the octets moved up to now, as in Result.
func (f Flow) Bytes() (in, out uint64) {
	if f.of == nil {
		return 0, 0
	}
	return f.of.bytes(f.ref)
}

// IdleFor returns how long the client's connection has been without data.
func (f Flow) IdleFor() time.Duration {
	if f.of == nil {
		return 0
	}
	return f.of.idleFor(f.ref)
}

// Path names the way the bytes take: "splice", "ktls", "user" or
// "copy".
func (f Flow) Path() string {
	if f.of == nil {
		return ""
	}
	return f.of.path(f.ref)
}

// An Engine moves bytes. It may be used by many goroutines.
type Engine interface {
	// Adopt takes the pair over; the caller must not use its connections again.
	Adopt(p Pair) Flow
	// Secures says whether pairs may have sides with Conn.Secured set.
	Secures() bool
}
