// Package balancer is one node, from accepting a connection to handing it to
// the forwarding engine.
//
// A [Server] has listeners, each with a protocol and a pool of back ends. A
// connection becomes a session: PROXY header, TLS, the dialogue up to the
// login, the user's place, the dial, the same login at the back end, the
// answer. From there on [forward.Engine] owns both connections.
//
// Laws:
//   - A session is one goroutine and one straight line (session.go) until it is
//     adopted; afterwards it has none of ours, and is an entry in a table
//     (established.go).
//   - One time limit holds from accept to login, and traffic does not renew it.
//   - Whatever goes wrong is a [Failure] of one [Kind], which alone decides the
//     answer, the retry, the log level and the metric.
//   - A temporary fault never looks like a wrong password.
//   - A user is where the [Placer] says, and the hold on his place lasts as
//     long as bytes of his can reach the back end.
//   - Passwords are never logged or cached, and are overwritten when the login is
//     over. Of a wrong one package guard keeps a keyed hash.
//
// The package imports no particular protocol and knows nothing of the fleet.
package balancer

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"usher.example/balancer/forward"
	"usher.example/balancer/guard"
	"usher.example/sniff"
)

// A Placer says where a user is to go. It is called by many goroutines and may
// block until ctx ends, while the user is being moved.
type Placer interface {
	// Place names the back end of a pool that is user's, and why: "pin",
	// "home", "stay". With the answer comes a hold, which is not 0: until it is
	// released every call for the same user names the same back end.
	Place(ctx context.Context, pool, user string) (backend, why string, hold uint64, err error)
	// Still says whether a login with a hold may send its credentials now; an
	// error is temporary. It does not block.
	Still(hold uint64) error
	// Refused notes that the back end has refused a login with a hold. It does not
	// block.
	Refused(hold uint64)
	// Confirm notes that a login has succeeded. It does not block.
	Confirm(hold uint64)
	// Release gives a hold back. Again, or of 0, it does nothing. It does not
	// block.
	Release(hold uint64)
	// Normal is the form of a user's name that places, limits and commands use.
	Normal(user string) string
}

// A Directory knows where mailboxes are. It is called by many goroutines.
type Directory interface {
	// Lookup names the back end of a pool that has user's mail; ok is false if
	// the directory does not know him. An error is temporary.
	Lookup(ctx context.Context, pool, user string) (backend string, ok bool, err error)
}

// Deps are what a Server works with. Placer and Engine are needed, the zero
// values of the others do.
type Deps struct {
	Log       *slog.Logger   // nil: slog.Default
	Engine    forward.Engine // moves the bytes of established sessions
	Placer    Placer
	Directory Directory // nil: places only
	// Inherited is a socket that somebody else has opened for the listener of that
	// name and address, a new descriptor each time; nil if there is none. It must not
	// block. A nil func has none.
	Inherited func(name, address string) net.Listener
	// Observe is told of each connection made to a back end for a user and of
	// each that failed, so that health can look at once. It must not block.
	Observe func(pool, backend string, err error)
	// LoginFailed is told of each refused login. It must not block for long.
	LoginFailed func(FailedLogin)
	// Guard remembers failed logins. Nil: nobody is delayed for them.
	Guard *guard.Guard
}

// Options are what a reload may change.
type Options struct {
	// Hostname is shown in greetings.
	Hostname  string
	Limits    Limits
	Listeners []ListenerOptions
	Pools     []PoolOptions
}

// Limits bound what strangers and back ends may cost. Zero means no limit, but
// for times and tries, where it means the default.
type Limits struct {
	Sessions         int           // of all listeners, logged in or not
	PerAddress       int           // of one client address (IPv6: /64)
	PerUser          int           // logged in, of one user on this node
	Prelogin         int           // not logged in yet; one more drops one of those who have most
	LoginTime        time.Duration // accept to login; default 60 s
	DialTimeout      time.Duration // one TCP connect; default 5 s
	DialTries        int           // default 3
	DialWait         time.Duration // between tries; default 1 s, negative none
	BackendLoginTime time.Duration // connect to answer; default 30 s
	// Exempt networks have many users behind an address: PerAddress does not hold
	// there, and they are not those who have most.
	Exempt []netip.Prefix
}

// Defaults of Limits, as the configuration documents them.
const (
	defaultLoginTime        = time.Minute
	defaultDialTimeout      = 5 * time.Second
	defaultDialTries        = 3
	defaultDialWait         = time.Second
	defaultBackendLoginTime = 30 * time.Second
)

func (l Limits) withDefaults() Limits {
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	set(&l.LoginTime, defaultLoginTime)
	set(&l.DialTimeout, defaultDialTimeout)
	set(&l.DialWait, defaultDialWait)
	set(&l.BackendLoginTime, defaultBackendLoginTime)
	if l.DialTries == 0 {
		l.DialTries = defaultDialTries
	}
	return l
}

// A TLSMode says when TLS begins.
type TLSMode uint8

// Modes of TLS.
const (
	TLSNone     TLSMode = iota // never
	TLSStart                   // by STARTTLS or STLS
	TLSImplicit                // from the first byte
)

// ListenerOptions describe what is listened on. Two with one Address are an
// error; a listener keeps its socket over a reload if Address is the same.
type ListenerOptions struct {
	Name     string // in logs and metrics
	Address  string // host:port for net.Listen
	Protocol sniff.Protocol
	TLS      TLSMode
	Config   *tls.Config // needed unless TLS is TLSNone; cloned
	Pool     string

	PlaintextLogin    bool           // everybody may log in without TLS
	PlaintextNetworks []netip.Prefix // or only these
	ProxyNetworks     []netip.Prefix // must begin with a PROXY header
	TrustedNetworks   []netip.Prefix // whose word about a client is believed
	// Mechanisms offered at most; empty: all. Command goes with PLAIN or LOGIN.
	Mechanisms []sniff.Mechanism
	Sessions   int // zero: no limit of its own
}

// PoolOptions describe a group of back ends.
type PoolOptions struct {
	Name     string
	Backends []BackendOptions
	// Protocols are those that listeners use the pool with; probes try each.
	Protocols []sniff.Protocol
	// Storage is local: a back end serves only its own users.
	Local bool
	// Master logs in for users without a password (EXTERNAL); nil: nobody does.
	Master *sniff.Master
	// Capabilities before login by protocol name, where they are fixed and not
	// learnt by probing.
	Capabilities map[string][]string
}

// BackendOptions describe a mail server.
type BackendOptions struct {
	Name  string
	Host  string         // name or address
	Ports map[string]int // by protocol name
	TLS   TLSMode
	// Config verifies the server; needed unless TLS is TLSNone. ServerName has
	// to be set.
	Config  *tls.Config
	Address AddressForm
	// Sessions at most; zero: no limit.
	Sessions int
}

// An AddressForm is how a back end learns the client's address.
type AddressForm uint8

// Forms of the client's address.
const (
	AddressNone    AddressForm = iota // not at all
	AddressProxy2                     // PROXY protocol, version 2
	AddressProxy1                     // PROXY protocol, version 1
	AddressCommand                    // IMAP ID, POP3 XCLIENT
)
