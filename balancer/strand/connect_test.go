package strand

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// addrOf is an address as Strand.Socket takes it.
func addrOf(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }

// connecting has a strand connect; whatever comes of it is passed to then, and closed.
func connecting(t testing.TB, l *loop, to netip.AddrPort, limit time.Duration, then func(c *Conn, err error)) (<-chan *Conn, <-chan struct{}) {
	t.Helper()
	conn := make(chan *Conn, 1)
	return conn, run(l, func(s *Strand) {
		c, err := s.Socket(to, net.KeepAliveConfig{})
		if err != nil {
			t.Error(err)
			return
		}
		if c.Strand() != s {
			t.Error("the connection is another strand's")
		}
		conn <- c
		err = c.Connect(limit)
		then(c, err)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// failed wants a connect to have failed for a reason, as one of package net does.
func failed(t testing.TB, err, is error, to netip.AddrPort) {
	t.Helper()
	var oe *net.OpError
	if !errors.Is(err, is) || !errors.As(err, &oe) || oe.Op != "dial" || oe.Addr.String() != to.String() {
		t.Errorf("got %v, want a dial of %s to fail: %v", err, to, is)
	}
	if timeout(err) != (is == os.ErrDeadlineExceeded) { //nolint:errorlint // it is what the caller named
		t.Errorf("%v: is a timeout: %v", err, timeout(err))
	}
}

// TestConnect relays between a client and a back end, as every login does.
func TestConnect(t *testing.T) {
	back := listen(t, "127.0.0.1:0")
	ends := make(chan net.Conn, 1)
	go func() {
		if c, err := back.Accept(); err == nil {
			ends <- c
			_ = echo(c)
			_ = c.Close()
		}
	}()
	front := newTalk(t, open(t, 1), func(c *Conn) {
		b, err := c.Strand().Socket(addrOf(back.Addr()), net.KeepAliveConfig{
			Enable: true, Idle: 1500 * time.Millisecond, Interval: time.Second, Count: 7,
		})
		if err != nil {
			t.Error(err)
			return
		}
		defer b.Close() //nolint:errcheck // TestClosed has it
		if got := b.Local(); got.Port() != 0 {
			t.Errorf("has the address %s before it is connected", got)
		}
		if err := b.Connect(patience); err != nil {
			t.Error(err)
			return
		}
		if peer := <-ends; b.LocalAddr().String() != peer.RemoteAddr().String() || b.RemoteAddr().String() != back.Addr().String() {
			t.Errorf("is between %s and %s, want %s and %s", b.LocalAddr(), b.RemoteAddr(), peer.RemoteAddr(), back.Addr())
		}
		raw, _ := b.SyscallConn()
		_ = raw.Control(func(fd uintptr) {
			for opt, want := range map[int]int{unix.TCP_KEEPIDLE: 2, unix.TCP_KEEPINTVL: 1, unix.TCP_KEEPCNT: 7, unix.TCP_NODELAY: 1} {
				if got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, opt); got != want || err != nil {
					t.Errorf("option %d is %d, %v, want %d", opt, got, err, want)
				}
			}
		})
		var p [512]byte
		for {
			n, err := c.Read(p[:])
			if err != nil {
				return
			}
			_, _ = b.Write(p[:n])
			if n, err = io.ReadFull(b, p[:n]); err != nil {
				t.Error(err)
			}
			_, _ = c.Write(p[:n])
		}
	})
	for _, word := range []string{"one", "two", "three"} {
		ask(t, front.peer, word)
	}
	_ = front.peer.Close()
	wait(t, front.done, "the end of the relay")
}

// TestRefused says what package net says.
func TestRefused(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	_ = l.Close()
	_, want := net.Dial("tcp", l.Addr().String())
	_, done := connecting(t, open(t, 1).all[0], addrOf(l.Addr()), patience, func(_ *Conn, err error) {
		failed(t, err, unix.ECONNREFUSED, addrOf(l.Addr()))
		if err == nil || want == nil || err.Error() != want.Error() {
			t.Errorf("got %v, package net says %v", err, want)
		}
	})
	wait(t, done, "a refusal")
}

// TestConnectLimit gets no answer, and gives up by itself or has done so.
func TestConnectLimit(t *testing.T) {
	ls := open(t, 1)
	r := newCrowd(t)
	for _, limit := range []time.Duration{20 * time.Millisecond, 0, -time.Hour} {
		_, done := connecting(t, ls.all[0], r.address, limit, func(_ *Conn, err error) {
			failed(t, err, os.ErrDeadlineExceeded, r.address)
		})
		wait(t, done, "the end of a connect that may take "+limit.String())
	}
}

// TestConnectDeadline has somebody else end the wait for an answer, or its own deadline
// if that is before the limit: the deadline for writes, as with package net.
func TestConnectDeadline(t *testing.T) {
	ls := open(t, 1)
	r := newCrowd(t)
	for name, set := range map[string]func(*Conn) error{
		"write":          func(c *Conn) error { return c.SetWriteDeadline(past) },
		"both":           func(c *Conn) error { return c.SetDeadline(past) },
		"write, to come": func(c *Conn) error { return c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond)) },
	} {
		conn, done := connecting(t, ls.all[0], r.address, time.Hour, func(_ *Conn, err error) {
			failed(t, err, os.ErrDeadlineExceeded, r.address)
		})
		c := wait(t, conn, "a socket")
		waiting(t, c)
		_ = c.SetReadDeadline(past)
		hold(t, ls.all[0])() // it has looked, and has had its turn
		waiting(t, c)
		if err := set(c); err != nil {
			t.Fatal(err)
		}
		wait(t, done, "the end of a connect by its deadline: "+name)
	}
}

// TestConnectAnswer waits for an answer that comes late, when the kernel asks again,
// and works or is a refusal.
func TestConnectAnswer(t *testing.T) {
	ls := open(t, 1)
	yes, no := newCrowd(t), newCrowd(t)
	conn, done := connecting(t, ls.all[0], yes.address, patience, func(c *Conn, err error) {
		if err != nil || c.Remote() != yes.address || c.Local().Port() == 0 {
			t.Errorf("got %v from %s to %s", err, c.Local(), c.Remote())
		}
	})
	conn2, done2 := connecting(t, ls.all[0], no.address, patience, func(_ *Conn, err error) {
		failed(t, err, unix.ECONNREFUSED, no.address)
	})
	waiting(t, wait(t, conn, "a socket"))
	waiting(t, wait(t, conn2, "a socket"))
	yes.place(t)
	no.close()
	wait(t, done, "a connection")
	wait(t, done2, "a refusal")
}

// TestSelf connects a socket with the very port that it has itself, which works, and is
// a refusal nevertheless: nobody listens.
func TestSelf(t *testing.T) {
	ls := open(t, 1)
	for _, mapped := range []bool{false, true} {
		to := netip.MustParseAddrPort("127.0.0.1:65535")
		if mapped {
			to = netip.AddrPortFrom(netip.AddrFrom16(to.Addr().As16()), to.Port())
		}
		done := run(ls.all[0], func(s *Strand) {
			c, err := s.Socket(to, net.KeepAliveConfig{})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close() //nolint:errcheck // TestClosed has it
			raw, _ := c.SyscallConn()
			_ = raw.Control(func(fd uintptr) {
				if err := unix.Bind(int(fd), &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
					t.Error(err)
				}
			})
			c.remote = netip.AddrPortFrom(c.remote.Addr(), c.Local().Port())
			failed(t, c.Connect(patience), unix.ECONNREFUSED, c.remote)
		})
		wait(t, done, "a connect")
	}
}

// TestSelfByChance connects with a port that the kernel may choose as the socket's own,
// as often as it is likely to do so.
func TestSelfByChance(t *testing.T) {
	n := 500
	if long {
		n = 100000
	}
	l := listen(t, "127.0.0.1:0")
	_ = l.Close()
	done := run(open(t, 1).all[0], func(s *Strand) {
		for range n {
			c, err := s.Socket(addrOf(l.Addr()), net.KeepAliveConfig{})
			if err != nil {
				t.Error(err)
				return
			}
			err = c.Connect(patience)
			_ = c.Close()
			if !errors.Is(err, unix.ECONNREFUSED) {
				t.Errorf("got %v where nobody listens", err)
				return
			}
		}
	})
	wait(t, done, "many refusals")
}
