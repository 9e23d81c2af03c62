package strand

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Conn is a TCP connection of a strand: a net.Conn whose Read, Write, Connect, Close
// and Release are for its strand alone. All other methods may be called by any
// goroutine: who wants to end it from outside sets a deadline that has passed.
type Conn struct {
	s       *Strand
	id      int32 // where its loop has it
	gen     uint32
	watched bool  // its loop's epoll instance has it
	limit   int64 // of a connect, by now; 0: none
	remote  netip.AddrPort

	readBy, writeBy atomic.Int64 // deadlines, by now; 0 is none

	mu    sync.Mutex // guards what follows; never held while waiting
	fd    int        // below 0: closed or released
	local netip.AddrPort
	std   atomic.Pointer[net.TCPConn] // since the strand has left
}

var (
	_ net.Conn     = (*Conn)(nil)
	_ syscall.Conn = (*Conn)(nil)
)

// Strand returns the strand of the connection.
func (c *Conn) Strand() *Strand { return c.s }

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if std := c.std.Load(); std != nil {
		return std.Read(p)
	}
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if passed(&c.readBy) {
			return 0, c.wrap("read", os.ErrDeadlineExceeded)
		}
		if c.fd < 0 {
			return 0, c.wrap("read", net.ErrClosed)
		}
		c.s.breathe()
		n, errno := readNow(c.fd, p)
		switch {
		case errno == unix.EAGAIN:
			if err := c.wait(false); err != nil {
				return 0, c.wrap("read", err)
			}
		case errno != 0:
			return 0, c.wrap("read", os.NewSyscallError("read", errno))
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (done int, err error) {
	if std := c.std.Load(); std != nil {
		return std.Write(p)
	}
	for done < len(p) {
		if passed(&c.writeBy) {
			return done, c.wrap("write", os.ErrDeadlineExceeded)
		}
		if c.fd < 0 {
			return done, c.wrap("write", net.ErrClosed)
		}
		c.s.breathe()
		n, errno := writeNow(c.fd, p[done:])
		switch {
		case errno == unix.EAGAIN:
			if err := c.wait(true); err != nil {
				return done, c.wrap("write", err)
			}
		case errno != 0:
			return done, c.wrap("write", os.NewSyscallError("write", errno))
		default:
			done += n
		}
	}
	return done, nil
}

// wait yields until the connection may be ready, or its deadline may have passed.
func (c *Conn) wait(write bool) error {
	s := c.s
	if !c.watched {
		ev := unix.EpollEvent{
			Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff, Fd: c.id, Pad: int32(c.gen),
		}
		if errno := ctlNow(s.loop.ep, unix.EPOLL_CTL_ADD, c.fd, &ev); errno != 0 {
			return os.NewSyscallError("epoll_ctl", errno)
		}
		c.watched = true // what is there already makes an event at once
	}
	by := &c.readBy
	if s.write = write; write {
		by = &c.writeBy
	}
	s.waits.Store(c)
	s.until = by.Load()
	if c.limit != 0 && (s.until == 0 || c.limit < s.until) {
		s.until = c.limit
	}
	if s.until == 0 || s.until > now() { // who sets one from now on sees that we wait
		s.loop.arm(s.until)
		s.yield(struct{}{})
	}
	s.waits.Store(nil)
	return nil
}

// wrap is how package net tells of an error.
func (c *Conn) wrap(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
