package strand

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// CloseWrite sends FIN.
func (c *Conn) CloseWrite() error {
	return c.control(func(fd int) error { return os.NewSyscallError("shutdown", unix.Shutdown(fd, unix.SHUT_WR)) })
}

// SetLinger is that of net.TCPConn.
func (c *Conn) SetLinger(sec int) error {
	l := unix.Linger{Onoff: 1, Linger: int32(sec)}
	if sec < 0 {
		l = unix.Linger{}
	}
	return c.control(func(fd int) error {
		return os.NewSyscallError("setsockopt", unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &l))
	})
}

// control does something to the descriptor while nobody can close it.
func (c *Conn) control(do func(fd int) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if std := c.std.Load(); std != nil {
		raw, err := std.SyscallConn()
		if err != nil {
			return err
		}
		var derr error
		err = raw.Control(func(fd uintptr) { derr = do(int(fd)) })
		return errors.Join(err, derr)
	}
	if c.fd < 0 {
		return net.ErrClosed
	}
	return do(c.fd)
}

// SyscallConn implements syscall.Conn. Read and Write of what it returns call their
// function once: they do not wait.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if std := c.std.Load(); std != nil {
		return std.SyscallConn()
	}
	return rawConn{c}, nil
}

type rawConn struct{ c *Conn }

// Control implements syscall.RawConn. What it calls must not use the Conn.
func (r rawConn) Control(do func(fd uintptr)) error {
	return r.c.control(func(fd int) error { do(uintptr(fd)); return nil })
}

// Read implements syscall.RawConn.
func (r rawConn) Read(do func(fd uintptr) bool) error {
	return r.Control(func(fd uintptr) { do(fd) })
}

// Write implements syscall.RawConn.
func (r rawConn) Write(do func(fd uintptr) bool) error {
	return r.Control(func(fd uintptr) { do(fd) })
}
