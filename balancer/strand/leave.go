package strand

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Close implements net.Conn.
func (c *Conn) Close() error {
	fd, std, err := c.take()
	if std != nil {
		return std.Close()
	}
	if err == nil {
		closeNow(fd)
	}
	return err
}

// Release gives the descriptor away, which does not block: whoever gets it closes it.
// The Conn is dead from then on, as if it were closed.
func (c *Conn) Release() (fd int, err error) {
	fd, std, err := c.take()
	if std == nil {
		return fd, err
	}
	defer std.Close() //nolint:errcheck // it has gone to another descriptor
	raw, err := std.SyscallConn()
	if err != nil {
		return -1, err
	}
	var derr error
	err = raw.Control(func(s uintptr) { fd, derr = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(err, derr)
}

// take makes the Conn dead and gives what it was made of.
func (c *Conn) take() (fd int, std *net.TCPConn, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if std := c.std.Load(); std != nil {
		return -1, std, nil
	}
	if c.fd < 0 {
		return -1, nil, net.ErrClosed
	}
	fd, c.fd = c.fd, -1
	c.s.loop.drop(c, fd)
	return fd, nil, nil
}

// convert makes it a connection of package net, or closes it.
func (c *Conn) convert() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return
	}
	if !c.local.IsValid() {
		name := nameNow(c.fd)
		c.local = addrPort(&name)
	}
	fd := c.fd
	c.fd = -1
	c.s.loop.drop(c, fd)
	keep := keepAlive(fd) // which net.FileConn sets to its own
	file := os.NewFile(uintptr(fd), "tcp")
	nc, err := net.FileConn(file)
	_ = file.Close() // there is another descriptor, or nothing can be done
	tcp, ok := nc.(*net.TCPConn)
	if err != nil {
		return
	}
	if !ok {
		_ = nc.Close() // no TCP: nobody's
		return
	}
	_ = tcp.SetKeepAliveConfig(keep)
	for _, d := range []struct {
		by  *atomic.Int64
		set func(time.Time) error
	}{{&c.readBy, tcp.SetReadDeadline}, {&c.writeBy, tcp.SetWriteDeadline}} {
		if by := d.by.Load(); by != 0 {
			_ = d.set(epoch.Add(time.Duration(by)))
		}
	}
	c.std.Store(tcp)
}

// Net returns the connection of package net that it is since its strand has left, nil
// before.
func (c *Conn) Net() *net.TCPConn { return c.std.Load() }

// keepAlive is how a socket finds out that its peer has vanished.
func keepAlive(fd int) net.KeepAliveConfig {
	get := func(level, option int) int {
		n, err := unix.GetsockoptInt(fd, level, option)
		if err != nil {
			return -1 // stays as it is
		}
		return n
	}
	seconds := func(option int) time.Duration {
		if n := get(unix.IPPROTO_TCP, option); n >= 0 {
			return time.Duration(n) * time.Second
		}
		return -1
	}
	return net.KeepAliveConfig{
		Enable: get(unix.SOL_SOCKET, unix.SO_KEEPALIVE) > 0, Idle: seconds(unix.TCP_KEEPIDLE),
		Interval: seconds(unix.TCP_KEEPINTVL), Count: get(unix.IPPROTO_TCP, unix.TCP_KEEPCNT),
	}
}
