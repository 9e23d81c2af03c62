// Package bulk moves octets that nobody looks at over TCP, as cheaply as Linux
// can: what is sent are writes of one large page that stays in the processor's
// cache, what is received is dropped in the kernel (MSG_TRUNC). The benchmark's
// clients and its back end share two processors with what they measure; each
// copy spared here is left to that.
//
// It is no way to move data that means something: Send invents its octets, and
// Drop never sees them.
//
// [SendFile] sends the same octets by sendfile(2), as some servers do. That is
// no cheaper on loopback, where the receiver drops what was sent: the pieces
// that it makes are pages of 4 KiB, where a write makes ones of 32 KiB, and
// whoever forwards them handles eight times as many.
//
// Laws: the octets sent are lines of 64 octets with CRLF at their end, none of
// which begins with a dot or holds a NUL, so that they are a literal of IMAP
// and a message of POP3 as they stand. All functions leave the connection's
// deadlines in force.
package bulk

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// lineSize divides pageSize, or a line would straddle its end.
	lineSize = 64
	// pageSize is what is sent over and over: it stays in a processor's cache,
	// and one system call of that size is a small part of the cost of its octets.
	pageSize = 1 << 20
	// dropSize is what is asked for at a time. The kernel gives what it has,
	// which socket buffers bound to a few MiB.
	dropSize = 1 << 22
)

// Page returns the octets that Send and SendFile send, and then again from their start. It
// is shared: nobody may write to it.
var Page = sync.OnceValue(func() []byte {
	line := append(bytes.Repeat([]byte("usher"), lineSize)[:lineSize-2], '\r', '\n')
	return bytes.Repeat(line, pageSize/lineSize)
})

// file holds Page in memory, where sendfile can take it from.
var file = sync.OnceValues(func() (*os.File, error) {
	fd, err := unix.MemfdCreate("bulk", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "bulk")
	if _, err := f.Write(Page()); err != nil {
		return nil, fmt.Errorf("fill a file in memory: %w", err)
	}
	return f, nil
})

// Send sends n octets.
func Send(c *net.TCPConn, n int64) error {
	for page := Page(); n > 0; {
		sent, err := c.Write(page[:min(n, pageSize)])
		if err != nil {
			return err
		}
		n -= int64(sent)
	}
	return nil
}

// SendFile sends n octets by sendfile(2).
func SendFile(c *net.TCPConn, n int64) error {
	f, err := file()
	if err != nil {
		return err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	for at := int64(0); n > 0; {
		var sent int
		var failed error
		err := raw.Write(func(fd uintptr) bool {
			for {
				off := at
				sent, failed = unix.Sendfile(int(fd), int(f.Fd()), &off, int(min(n, pageSize-at)))
				if failed != unix.EINTR {
					return failed != unix.EAGAIN
				}
			}
		})
		if err != nil {
			return err
		}
		if failed != nil {
			return os.NewSyscallError("sendfile", failed)
		}
		n -= int64(sent)
		at = (at + int64(sent)) % pageSize
	}
	return nil
}

// Head sends p as the beginning of what is sent next, which must come at once: p
// leaves together with that, or it would be a segment of its own and the
// receiver would be woken up for it.
func Head(c *net.TCPConn, p []byte) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	for len(p) > 0 {
		var sent int
		var failed error
		err := raw.Write(func(fd uintptr) bool {
			for {
				sent, failed = unix.SendmsgN(int(fd), p, nil, nil, unix.MSG_MORE|unix.MSG_NOSIGNAL)
				if failed != unix.EINTR {
					return failed != unix.EAGAIN
				}
			}
		})
		if err != nil {
			return err
		}
		if failed != nil {
			return os.NewSyscallError("sendmsg", failed)
		}
		p = p[sent:]
	}
	return nil
}

// Drop receives n octets and forgets them. It returns io.ErrUnexpectedEOF if
// the other side ends before.
func Drop(c *net.TCPConn, n int64) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	for n > 0 {
		var got uintptr
		var failed syscall.Errno
		err := raw.Read(func(fd uintptr) bool {
			for {
				// tcp(7): with MSG_TRUNC the octets are not copied, so there
				// need be no buffer.
				got, _, failed = unix.Syscall6(unix.SYS_RECVFROM, fd, 0, uintptr(min(n, dropSize)), unix.MSG_TRUNC, 0, 0)
				if failed != unix.EINTR {
					return failed != unix.EAGAIN
				}
			}
		})
		if err != nil {
			return err
		}
		if failed != 0 {
			return os.NewSyscallError("recvfrom", failed)
		}
		if got == 0 {
			return io.ErrUnexpectedEOF
		}
		n -= int64(got)
	}
	return nil
}
