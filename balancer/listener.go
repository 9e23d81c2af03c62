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
	"usher.example/balancer/strand"
	"usher.example/sniff"
)

// acceptWarn is the least time between two warnings that accept failed: it would fill
// the log just when space is short.
const acceptWarn = 10 * time.Second

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
	socket    net.Listener
	binding   atomic.Pointer[binding]
	accepting *strand.Socket
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

// prepare makes ready to accept.
func (l *Listener) prepare(loops *strand.Loops) error {
	socket := l.socket
	if i, ok := socket.(inherited); ok {
		socket = i.Listener
	}
	listens, ok := socket.(syscall.Conn)
	if !ok {
		return fmt.Errorf("%s: a %T has no descriptor", l.socket.Addr(), socket)
	}
	var err error
	l.accepting, err = loops.Socket(listens)
	return err
}

// accept hands each connection to the server until the listener is closed.
func (l *Listener) accept(srv *Server) error {
	_, foreign := l.socket.(inherited)
	l.accepting.Accepted = func() { srv.running.Add(1) } // who stops us waits for those, too
	var warned time.Time
	return l.accepting.Accept(func(c *strand.Conn) {
		if foreign {
			if raw, err := c.SyscallConn(); err == nil {
				_ = keepAlives("", "", raw) // one that fails is about to be found dead
			}
		}
		srv.serve(l.binding.Load(), c)
	}, func(err error) {
		if time.Since(warned) >= acceptWarn {
			warned = time.Now()
			srv.running.Go(func() { // not on the loop: the log may block
				srv.log.Warn("accept failed; connections wait", "event", "accept_failed", "listener", l.binding.Load().Name, "err", err)
			})
		}
	})
}

// close closes the socket. Nobody is accepted any more when it returns; who was is served.
func (l *Listener) close() {
	if l.accepting != nil {
		l.accepting.Stop()
	}
	_ = l.socket.Close()
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
