package balancer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"usher.example/balancer/handshake"
	"usher.example/balancer/strand"
	"usher.example/sniff"
)

// keepAlive finds peers that vanished without FIN, as mobile clients and
// crashed servers do: 3 min idle, then 4 probes 30 s apart. Below it NATs of
// mobile networks would forget the connection; above, dead sessions pile up.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 3 * time.Minute, Interval: 30 * time.Second, Count: 4}

// A Backend is one mail server of a pool.
type Backend struct {
	BackendOptions
	secure map[string]*handshake.Config // by protocol, nil without TLS
	pool   string
	state  *backendState
}

// backendState is what of a back end lives on over a reload.
type backendState struct {
	sessions atomic.Int64 // established or logging in
	dials    atomic.Uint64
	failures atomic.Uint64         // dials and logins that failed by the back end's fault
	logins   atomic.Uint64         // that it accepted
	dialTime Histogram             // connect to greeting-ready connection
	found    atomic.Pointer[found] // nil: unknown

	mu   sync.Mutex          // guards caps
	caps map[string][]string // learnt capabilities before login, by protocol
}

// Live returns the number of sessions on the back end now, those that are
// logging in included.
func (b *Backend) Live() int { return int(b.state.sessions.Load()) }

// capabilities returns what was learnt by the last probe, nil if nothing.
func (b *Backend) capabilities(protocol string) []string {
	b.state.mu.Lock()
	defer b.state.mu.Unlock()
	return b.state.caps[protocol]
}

// learn notes capabilities; it tells whether they are news.
func (b *Backend) learn(protocol string, caps []string) bool {
	b.state.mu.Lock()
	defer b.state.mu.Unlock()
	if slices.Equal(b.state.caps[protocol], caps) {
		return false
	}
	if b.state.caps == nil {
		b.state.caps = make(map[string][]string)
	}
	b.state.caps[protocol] = slices.Clone(caps)
	return true
}

// A link is a connection to a back end on its way to a login.
type link struct {
	raw  handshake.Raw
	tls  *handshake.Conn // nil before TLS
	stop func() bool     // ends the watch over the context
}

func (l *link) close() {
	l.stop()
	_ = l.raw.Close()
}

// dial connects to the back end, says who the client is (nil: a health check)
// and starts implicit TLS. When ctx ends the connection is closed, up to the
// adoption; limit bounds everything up to then. It is a connection of the strand, if
// there is one and it needs no name resolved.
func (b *Backend) dial(ctx context.Context, on *strand.Strand, p sniff.Protocol, client *clientInfo, connect, limit time.Duration) (*link, error) {
	port, ok := b.Ports[p.Name()]
	if !ok {
		return nil, fail(NoBackend, "back end %s serves no %s", b.Name, p.Name())
	}
	b.state.dials.Add(1)
	begin := time.Now()
	l, err := b.connect(ctx, on, port, connect)
	if advice := exhausted(err); advice != "" {
		return nil, fail(Exhausted, "dial back end %s: %w; %s", b.Name, err, advice)
	}
	if err != nil {
		return nil, b.fault(ctx, fail(BackendDial, "dial back end %s: %w", b.Name, err))
	}
	raw := l.raw
	l.limit(ctx, limit)
	if b.Address == AddressProxy1 || b.Address == AddressProxy2 {
		header, err := proxyHeader(b.Address, client)
		if err != nil {
			l.close()
			return nil, &Failure{Kind: Internal, Err: err}
		}
		if _, err := raw.Write(header); err != nil {
			l.close()
			return nil, b.fault(ctx, fail(BackendGone, "PROXY header to %s: %w", b.Name, err))
		}
	}
	if b.TLS == TLSImplicit {
		if err := l.handshake(ctx, b, p); err != nil {
			l.close()
			return nil, err
		}
	}
	b.state.dialTime.Observe(time.Since(begin))
	return l, nil
}

// connect makes a connection that ends with ctx.
func (b *Backend) connect(ctx context.Context, on *strand.Strand, port int, limit time.Duration) (*link, error) {
	ip, ok := b.resolved()
	if !ok || on.Left() {
		on.Leave()
		d := net.Dialer{Timeout: limit, KeepAliveConfig: keepAlive}
		c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(b.Host, strconv.Itoa(port)))
		if err != nil {
			return nil, err
		}
		raw, ok := c.(*net.TCPConn)
		if !ok {
			_ = c.Close()
			return nil, fmt.Errorf("got %T", c)
		}
		b.state.found.Store(&found{b.Host, unmap(raw.RemoteAddr().(*net.TCPAddr).AddrPort()).Addr(), time.Now()}) //nolint:forcetypeassert // it is of TCP
		return newLink(ctx, raw), nil
	}
	c, err := on.Socket(netip.AddrPortFrom(ip, uint16(port)), keepAlive)
	if err != nil {
		return nil, err
	}
	l := newLink(ctx, c)
	if err := c.Connect(limit); err != nil {
		l.close()
		b.state.found.Store(nil) // the next try asks anew
		return nil, err
	}
	return l, nil
}

// foundFor is for how long a back end's name is taken to have the address that a
// connection went to. A probe looks every few seconds anyway; a login that has to ask
// pays as much as for all else that happens in it.
const foundFor = 10 * time.Second

// found is what a back end's name was found to be.
type found struct {
	host string
	ip   netip.Addr
	at   time.Time
}

// resolved is the address of the back end, if no name has to be resolved for it.
func (b *Backend) resolved() (netip.Addr, bool) {
	if ip, err := netip.ParseAddr(b.Host); err == nil {
		return ip, ip.Zone() == "" // whose name package net knows
	}
	f := b.state.found.Load()
	if f == nil || f.host != b.Host || time.Since(f.at) >= foundFor {
		return netip.Addr{}, false
	}
	return f.ip, f.ip.Zone() == ""
}

// newLink has a connection end with ctx.
func newLink(ctx context.Context, raw handshake.Raw) *link {
	l := &link{raw: raw}
	l.stop = context.AfterFunc(ctx, func() {
		_ = raw.SetLinger(0) // what is unsent, a password perhaps, must not reach it later
		_ = raw.SetDeadline(past)
	})
	return l
}

// exhausted says what to do where a connection failed for want of something that this
// node lacks and the back end has no part in; "" where it did not. To blame the back end
// for that would fell it, for the whole fleet, while it serves everybody.
func exhausted(err error) string {
	switch {
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return "no local port is free for that address: see net.ipv4.ip_local_port_range, or give the back end \"sessions\""
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return "no descriptor is free: raise LimitNOFILE, or lower limits.sessions"
	case errors.Is(err, unix.ENOMEM), errors.Is(err, unix.ENOBUFS):
		return "the kernel has no memory for it: see net.ipv4.tcp_mem"
	}
	return ""
}

// conn is what the dialogue runs over.
func (l *link) conn() net.Conn {
	if l.tls != nil {
		return l.tls
	}
	return l.raw
}

// limit bounds everything up to the next call, unless ctx has ended.
func (l *link) limit(ctx context.Context, d time.Duration) {
	_ = l.raw.SetDeadline(time.Now().Add(d))
	if ctx.Err() != nil {
		_ = l.raw.SetDeadline(past)
	}
}

// past is a deadline that has been missed.
var past = time.Unix(1, 0)

// handshake starts TLS on the link.
func (l *link) handshake(ctx context.Context, b *Backend, p sniff.Protocol) error {
	t, err := handshake.Client(context.Background(), l.raw, b.secure[p.Name()])
	if err != nil {
		return b.fault(ctx, fail(BackendTLS, "TLS with back end %s: %w", b.Name, err))
	}
	l.tls = t
	return nil
}

// fault finds the true reason of a failure: a session that was ended meanwhile
// is not the back end's fault.
func (b *Backend) fault(ctx context.Context, f *Failure) *Failure {
	if cause := context.Cause(ctx); cause != nil {
		var end *Failure
		if errors.As(cause, &end) {
			return end
		}
		if !errors.Is(cause, context.DeadlineExceeded) {
			return &Failure{Kind: ShuttingDown, Err: cause}
		}
		f.Kind = BackendTimeout // the deadline of a probe
	}
	if errors.Is(f.Err, os.ErrDeadlineExceeded) && f.Kind != BackendDial {
		f.Kind = BackendTimeout
	}
	if kinds[f.Kind].fault {
		b.state.failures.Add(1)
	}
	return f
}

// classify makes a Failure of what a conversation with the back end ended with.
// greeted tells whether its greeting was good, so that we spoke at all.
func (b *Backend) classify(ctx context.Context, err error, greeted bool) *Failure {
	kind := BackendProtocol
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), isReset(err):
		kind = BackendGone
	case errors.Is(err, os.ErrDeadlineExceeded):
		kind = BackendTimeout
	case !greeted:
		kind = BackendGreeting
	}
	f := fail(kind, "back end %s: %w", b.Name, err)
	f.sent = greeted
	return b.fault(ctx, f)
}

// refused makes a Failure of a back end's no. Its words reach the client where
// they are about him (expired, locked, too many sessions); those about the back
// end's own trouble are for our log only.
func (b *Backend) refused(r *sniff.Refusal) *Failure {
	f := &Failure{Kind: Denied, Err: fmt.Errorf("back end %s: %s: %q", b.Name, r.Code, r.Text), Refusal: r}
	switch r.Code {
	case sniff.AuthFailed:
		f.Kind = AuthFailed
	case sniff.Unavailable, sniff.ServerBug:
		f.Kind, f.Refusal = BackendUnavailable, nil
	default:
	}
	return f
}
