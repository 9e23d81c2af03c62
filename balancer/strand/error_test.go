package strand

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestErrors has a strand's connection and one of package net fail in the same ways:
// what is said must be the same.
func TestErrors(t *testing.T) {
	reset := func(peer *net.TCPConn) { _ = peer.SetLinger(0); _ = peer.Close() }
	var b [16]byte
	for _, row := range []struct {
		name string
		fail func(c net.Conn, peer *net.TCPConn) error
		is   error
	}{
		{"end", func(c net.Conn, peer *net.TCPConn) error { _ = peer.CloseWrite(); _, err := c.Read(b[:]); return err }, io.EOF},
		{"end after data", func(c net.Conn, peer *net.TCPConn) error {
			_, _ = peer.Write(b[:])
			_ = peer.CloseWrite()
			_, err := io.ReadAll(io.MultiReader(c, errs{c}))
			return err
		}, io.ErrUnexpectedEOF},
		{"reset", func(c net.Conn, peer *net.TCPConn) error { reset(peer); _, err := c.Read(b[:]); return err }, unix.ECONNRESET},
		{"write after reset", func(c net.Conn, peer *net.TCPConn) error {
			reset(peer)
			_, _ = c.Read(b[:])
			_, err := c.Write(b[:])
			return err
		}, unix.EPIPE},
		{"read passed", func(c net.Conn, _ *net.TCPConn) error {
			_ = c.SetDeadline(past)
			_, err := c.Read(b[:])
			return err
		}, os.ErrDeadlineExceeded},
		{"write passed", func(c net.Conn, _ *net.TCPConn) error {
			_ = c.SetDeadline(past)
			_, err := c.Write(b[:])
			return err
		}, os.ErrDeadlineExceeded},
		{"read closed", func(c net.Conn, _ *net.TCPConn) error {
			_ = c.LocalAddr()
			_ = c.Close()
			_, err := c.Read(b[:])
			return err
		}, net.ErrClosed},
		{"write closed", func(c net.Conn, _ *net.TCPConn) error {
			_ = c.LocalAddr()
			_ = c.Close()
			_, err := c.Write(b[:])
			return err
		}, net.ErrClosed},
		{"write shut", func(c net.Conn, _ *net.TCPConn) error {
			_ = c.(interface{ CloseWrite() error }).CloseWrite()
			_, err := c.Write(b[:])
			return err
		}, unix.EPIPE},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got, want error
			peer := make(chan *net.TCPConn, 1)
			d := newTalk(t, open(t, 1), func(c *Conn) { got = row.fail(c, <-peer) })
			peer <- d.peer
			wait(t, d.done, "the error")

			l := listen(t, "127.0.0.1:0")
			p := dial(t, l.Addr().String())
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			want = row.fail(c, p)
			_ = c.Close()

			if !errors.Is(got, row.is) {
				t.Errorf("got %v, want %v", got, row.is)
			}
			if g, w := shape(got), shape(want); g != w {
				t.Errorf("got %s, package net says %s", g, w)
			}
			var oe *net.OpError
			if errors.As(got, &oe) && (oe.Source.String() != d.peer.RemoteAddr().String() || oe.Addr.String() != d.peer.LocalAddr().String()) {
				t.Errorf("%v: is between other addresses", got)
			}
		})
	}
}

// TestClosed calls everything of a connection that is closed: twice there is no second
// descriptor to be closed.
func TestClosed(t *testing.T) {
	d := newTalk(t, open(t, 1), func(c *Conn) {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		raw, err := c.SyscallConn()
		if err != nil {
			t.Error(err)
			return
		}
		_, released := c.Release()
		for name, err := range map[string]error{
			"Close": c.Close(), "SetDeadline": c.SetDeadline(past), "SetReadDeadline": c.SetReadDeadline(past),
			"SetWriteDeadline": c.SetWriteDeadline(past), "SetLinger": c.SetLinger(0), "CloseWrite": c.CloseWrite(),
			"Control": raw.Control(func(uintptr) { t.Error("there is a descriptor") }), "Release": released,
		} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: got %v, want %v", name, err, net.ErrClosed)
			}
		}
		c.s.Leave() // with nothing to take along
		if c.Net() != nil {
			t.Error("it has come to life again")
		}
	})
	wait(t, d.done, "the end of the strand")
	if _, err := io.ReadAll(d.peer); err != nil {
		t.Error(err)
	}
}

func timeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// shape is an error without its addresses.
func shape(err error) string {
	var oe *net.OpError
	if !errors.As(err, &oe) {
		return err.Error()
	}
	return oe.Op + " " + oe.Net + " " + oe.Err.Error()
}

// errs reads once more after an end, which has to stay one.
type errs struct{ io.Reader }

func (e errs) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	if n == 0 && errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
