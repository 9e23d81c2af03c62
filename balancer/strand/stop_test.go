package strand

import (
	"net"
	"sync/atomic"
	"testing"
)

// TestStop ends accepting, without closing what listens: who comes then waits for
// somebody else.
func TestStop(t *testing.T) {
	ls := open(t, 1)
	l := listen(t, "127.0.0.1:0")
	for range 3 { // whoever comes next takes over
		s, err := ls.Socket(l)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Accept(func(c *Conn) { _ = echo(c); _ = c.Close() }, func(err error) { t.Error(err) }); err != nil {
			t.Fatal(err)
		}
		before := dial(t, l.Addr().String())
		ask(t, before, "hello")
		s.Stop()
		ask(t, before, "still here?")
		late := dial(t, l.Addr().String())
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if c.RemoteAddr().String() != late.LocalAddr().String() {
			t.Errorf("%s was left, want %s", c.RemoteAddr(), late.LocalAddr())
		}
		_ = c.Close()
	}
	s, err := ls.Socket(l)
	if err != nil {
		t.Fatal(err)
	}
	s.Stop() // without Accept
}

// TestStopPending stops when connections have been accepted that no strand has been
// run for yet, here and in another loop: each was told of before Stop returned, and is
// served.
func TestStopPending(t *testing.T) {
	ls := open(t, 2)
	var accepted, served atomic.Int32
	l := listen(t, "127.0.0.1:0")
	s, err := ls.Socket(l)
	if err != nil {
		t.Fatal(err)
	}
	s.Accepted = func() { accepted.Add(1) }
	if err := s.Accept(func(c *Conn) { served.Add(1); _ = echo(c); _ = c.Close() }, func(err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
	release, release2 := hold(t, ls.all[0]), hold(t, ls.all[1])
	var peers []net.Conn
	for range acceptAtOnce {
		peers = append(peers, dial(t, l.Addr().String()))
	}
	// Next it accepts, and at the same time hears that it is to stop.
	ls.all[0].tell(func() { ls.all[0].accept(s) })
	done := make(chan struct{})
	go func() { s.Stop(); close(done) }()
	eventually(t, "the loop has been told", func() bool { return orders(ls.all[0]) == 2 })
	release()
	wait(t, done, "the end of Stop")
	if n := accepted.Load(); n != acceptAtOnce {
		t.Errorf("told of %d connections, want %d", n, acceptAtOnce)
	}
	if n := orders(ls.all[1]); n < enough {
		t.Errorf("the other loop has been told of %d connections", n)
	}
	release2()
	for _, p := range peers {
		ask(t, p, "hello")
	}
	if a, n := accepted.Load(), served.Load(); a != n {
		t.Errorf("served %d of %d", n, a)
	}
}

// orders is how many a loop has not heard of yet.
func orders(l *loop) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.inbox)
}

// TestStopWhileBusy stops while connections come.
func TestStopWhileBusy(t *testing.T) {
	ls := open(t, 2)
	for range 50 {
		var stopped atomic.Bool
		var accepted, began atomic.Int32
		l := listen(t, "127.0.0.1:0")
		s, err := ls.Socket(l)
		if err != nil {
			t.Fatal(err)
		}
		s.Accepted = func() {
			accepted.Add(1)
			if stopped.Load() {
				t.Error("accepted after Stop had returned")
			}
		}
		served := make(chan struct{}, 1)
		if err := s.Accept(func(c *Conn) {
			began.Add(1)
			select {
			case served <- struct{}{}:
			default:
			}
			_ = c.Close()
		}, func(err error) { t.Error(err) }); err != nil {
			t.Fatal(err)
		}
		_ = l.Close() // with the last descriptor those who wait are reset
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				c, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					return // nobody listens
				}
				_ = c.Close()
			}
		}()
		wait(t, served, "a connection")
		s.Stop()
		stopped.Store(true)
		wait(t, ended, "a refusal")
		eventually(t, "all who were accepted have been served", func() bool { return accepted.Load() == began.Load() })
	}
}
