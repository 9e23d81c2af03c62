package balancer

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"usher.example/balancer/handshake"
	"usher.example/sniff"
)

const (
	// acceptPause is how long a listener rests after accept failed, as it does
	// when descriptors are used up: others need time to free some.
	acceptPause = 50 * time.Millisecond

	// acceptWarn is the least time between two warnings of that: it would fill
	// the log just when space is short.
	acceptWarn = 10 * time.Second
)

// A binding is what a listener does with a connection, as of the last reload.
type binding struct {
	ListenerOptions
	hostname string
	limits   Limits
	pool     *Pool
	stats    *ListenerStats
	secure   *handshake.Config // nil without TLS
}

// A Listener is a socket and what is done with its connections.
type Listener struct {
	socket  net.Listener
	binding atomic.Pointer[binding]
	done    chan struct{} // closed when the accept loop has ended
}

// listen takes up the socket that is there for a listener, or opens one.
func (srv *Server) listen(name, address string) (net.Listener, error) {
	if srv.deps.Inherited != nil {
		if socket := srv.deps.Inherited(name, address); socket != nil {
			return inherited{socket}, nil
		}
	}
	// Connections have from their listener what it has (Linux): package net would set
	// the same four options anew for each.
	lc := net.ListenConfig{KeepAlive: -1, Control: keepAlives}
	return lc.Listen(srv.ctx, "tcp", address)
}

// keepAlives sets keepAlive on a socket that is about to listen.
func keepAlives(_, _ string, c syscall.RawConn) error {
	var err error
	set := func(fd uintptr) {
		seconds := func(d time.Duration) int { return int(d / time.Second) }
		err = errors.Join(
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds(keepAlive.Idle)),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds(keepAlive.Interval)),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAlive.Count),
		)
	}
	cerr := c.Control(set)
	return errors.Join(cerr, err)
}

// inherited is a socket of somebody else's, who has not set what connections get.
type inherited struct{ net.Listener }

func (l inherited) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(keepAlive) // one that fails is about to be found dead
	}
	return c, err
}

// accept hands each connection to the server until the socket is closed.
func (l *Listener) accept(srv *Server) {
	defer close(l.done)
	var warned time.Time
	for {
		c, err := l.socket.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			if time.Since(warned) >= acceptWarn {
				warned = time.Now()
				srv.log.Warn("accept failed; connections wait", "event", "accept_failed", "listener", l.binding.Load().Name, "err", err)
			}
			select {
			case <-time.After(acceptPause):
				continue
			case <-srv.stopped:
				return
			}
		}
		raw, ok := c.(*net.TCPConn)
		if !ok {
			_ = c.Close()
			continue
		}
		srv.serve(l.binding.Load(), raw)
	}
}

// check refuses what cannot work.
func (o *ListenerOptions) check() error {
	var errs []error
	if o.Protocol == nil {
		errs = append(errs, fmt.Errorf("listener %s has no protocol", o.Name))
	}
	if o.TLS != TLSNone && o.Config == nil {
		errs = append(errs, fmt.Errorf("listener %s has no TLS configuration", o.Name))
	}
	return errors.Join(errs...)
}

// full says why a listener takes no more sessions than n, if so.
func (b *binding) full(n int64) *Failure {
	if b.ListenerOptions.Sessions > 0 && n > int64(b.ListenerOptions.Sessions) {
		return fail(LimitReached, "%d sessions on listener %s", b.ListenerOptions.Sessions, b.Name)
	}
	return nil
}

// offer is what the listener lists before login.
func (b *binding) offer() sniff.Offer {
	return b.pool.offer(b.Protocol).Only(func(m sniff.Mechanism) bool {
		switch {
		case m == sniff.External:
			if b.TLS == TLSNone || b.Config.ClientCAs == nil || b.pool.options.Master == nil {
				return false
			}
		case m == sniff.Command && len(b.Mechanisms) > 0:
			return slices.Contains(b.Mechanisms, sniff.Plain) || slices.Contains(b.Mechanisms, sniff.LoginSASL)
		}
		return len(b.Mechanisms) == 0 || slices.Contains(b.Mechanisms, m)
	})
}

// contains tells whether one of the networks has the address.
func contains(networks []netip.Prefix, a netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}
