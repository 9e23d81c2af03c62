package strand

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAccept serves many connections of one socket, which is closed before it stops.
func TestAccept(t *testing.T) {
	ls := open(t, 2)
	l := listen(t, "127.0.0.1:0")
	s, err := ls.Socket(l)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Accept(func(c *Conn) {
		raw, _ := c.SyscallConn()
		_ = raw.Control(func(fd uintptr) {
			if on, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY); on != 1 || err != nil {
				t.Errorf("what is written waits for more: %d, %v", on, err)
			}
		})
		_ = echo(c)
		_ = c.Close()
	}, func(err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
	for range 3 * acceptAtOnce {
		ask(t, dial(t, l.Addr().String()), "hello")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ask(t, dial(t, l.Addr().String()), "still here?") // by the other descriptor
	s.Stop()
	s.Stop() // does nothing
	if c, err := net.Dial("tcp", l.Addr().String()); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("got %v, %v, want nobody to listen", c, err)
	}
}

// TestSeveralLoops has a loop with much to do pass connections on: none of those that
// it serves itself goes on before one of another loop has been served.
func TestSeveralLoops(t *testing.T) {
	ls := open(t, 2)
	elsewhere := make(chan struct{}, acceptAtOnce)
	var by [2]atomic.Int32
	address, _ := accept(t, ls, func(c *Conn) {
		if c.s.loop == ls.all[0] {
			by[0].Add(1)
			select { // it holds up its loop
			case <-elsewhere:
				elsewhere <- struct{}{}
			case <-time.After(patience):
				t.Error("no other loop serves anybody")
			}
		} else {
			by[1].Add(1)
			elsewhere <- struct{}{}
		}
		_ = echo(c)
		_ = c.Close()
	})
	release := hold(t, ls.all[0])
	var peers []net.Conn
	for range acceptAtOnce {
		peers = append(peers, dial(t, address))
	}
	release()
	for _, p := range peers {
		ask(t, p, "anybody?")
	}
	if by[0].Load() == 0 || by[1].Load() == 0 {
		t.Errorf("the loops served %d and %d", by[0].Load(), by[1].Load())
	}
}

// TestNoSocket has things that no connection comes from.
func TestNoSocket(t *testing.T) {
	ls := open(t, 1)
	l := listen(t, "127.0.0.1:0")
	_ = l.Close()
	if _, err := ls.Socket(l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want %v", err, net.ErrClosed)
	}
	l = listen(t, "127.0.0.1:0")
	restore := scarce(t)
	_, err := ls.Socket(l)
	restore()
	if !errors.Is(err, unix.EMFILE) {
		t.Errorf("got %v, want %v", err, unix.EMFILE)
	}
	file, err := os.Open("accept_test.go")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	if _, err := ls.Socket(file); !errors.Is(err, unix.EPERM) {
		t.Errorf("got %v, want %v", err, unix.EPERM)
	}
	address, _ := accept(t, ls, func(c *Conn) { _ = echo(c); _ = c.Close() })
	ask(t, dial(t, address), "hello")
}
