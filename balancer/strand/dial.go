package strand

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// selfFrom is the least port that the kernel may give a connection as its own, so that
// one to an address of this host might be connected with itself: RFC 9293 §3.5 has it as
// a simultaneous open.
const selfFrom = 1024

// selfTries is how often a connect is tried, if it was connected with itself or there was
// no port: package net has two more tries after the first as well.
const selfTries = 3

// Socket makes a connection of the strand that is to be connected by Connect. What
// ends a wait in there is its deadline, as always.
func (s *Strand) Socket(to netip.AddrPort, keep net.KeepAliveConfig) (*Conn, error) {
	family := unix.AF_INET
	if to.Addr().Is6() && !to.Addr().Is4In6() {
		family = unix.AF_INET6
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port()) // as Local has it: Connect compares them
	c := &Conn{remote: to}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		c.fd = -1
		return nil, c.dialing(os.NewSyscallError("socket", err))
	}
	c.fd = fd
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if keep.Enable {
		seconds := func(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds(keep.Idle))
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds(keep.Interval))
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keep.Count)
	}
	s.loop.add(s, c)
	return c, nil
}

// Connect connects what Socket made, within limit. The error is what package net would
// say, and the connection is still to be closed then.
func (c *Conn) Connect(limit time.Duration) error {
	by := now() + int64(limit)
	for try := 1; ; try++ {
		err := c.connect(by)
		if errors.Is(err, unix.EADDRNOTAVAIL) && try < selfTries {
			continue // it may be free in a moment, as package net has found as well
		}
		if err != nil {
			return c.dialing(err)
		}
		if c.remote.Port() < selfFrom || c.Local() != netip.AddrPortFrom(c.remote.Addr().Unmap(), c.remote.Port()) {
			return nil
		}
		if try == selfTries {
			return c.dialing(os.NewSyscallError("connect", unix.ECONNREFUSED))
		}
		// Connected with itself: nobody listens, or not yet. AF_UNSPEC undoes it.
		c.mu.Lock()
		c.local = netip.AddrPort{}
		c.mu.Unlock()
		if err := undo(c.fd); err != nil {
			return c.dialing(os.NewSyscallError("connect", unix.ECONNREFUSED))
		}
	}
}

// connect asks the kernel until it says yes or no.
func (c *Conn) connect(by int64) error {
	to := sockaddr(c.remote)
	for {
		if passed(&c.writeBy) || now() >= by {
			return os.ErrDeadlineExceeded
		}
		switch err := unix.Connect(c.fd, to); err {
		case nil, unix.EISCONN:
			return nil
		case unix.EINPROGRESS: // on the loopback it is over by now
		case unix.EINTR:
		case unix.EALREADY:
			if err := c.waitBy(by); err != nil {
				return err
			}
		default:
			return os.NewSyscallError("connect", err)
		}
	}
}

// waitBy waits until the connection can be written to, no longer than until by.
func (c *Conn) waitBy(by int64) error {
	c.limit = by
	defer func() { c.limit = 0 }()
	return c.wait(true)
}

func (c *Conn) dialing(err error) error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: c.RemoteAddr(), Err: err}
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	ip := a.Addr().Unmap()
	if ip.Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}
	}
	to := &unix.SockaddrInet6{Port: int(a.Port()), Addr: ip.As16()}
	if z := ip.Zone(); z != "" {
		if i, err := net.InterfaceByName(z); err == nil {
			to.ZoneId = uint32(i.Index)
		}
	}
	return to
}
