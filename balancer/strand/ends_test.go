package strand

import (
	"io"
	"net"
	"net/netip"
	"runtime"
	"testing"
)

// resting is how many strands a loop keeps that have nothing to do.
func resting(l *loop) int {
	n := make(chan int, 1)
	l.tell(func() { n <- len(l.idle) })
	return <-n
}

// TestIdle has more strands than are kept, each of which waits, and then none. They are
// used again, and given up after a while.
func TestIdle(t *testing.T) {
	ls := open(t, 1)
	serve := func(c *Conn) { _ = echo(c); _ = c.Close() }
	address, _ := accept(t, ls, serve)
	goroutines := runtime.NumGoroutine()
	for range 3 {
		var peers []net.Conn
		for range maxIdle + 10 {
			peers = append(peers, dial(t, address))
		}
		for _, p := range peers {
			ask(t, p, "hello")
		}
		if n := runtime.NumGoroutine() - goroutines; n < len(peers) || n > len(peers)+maxIdle {
			t.Errorf("%d goroutines more than before, for %d strands", n, len(peers))
		}
		for _, p := range peers {
			_ = p.Close()
		}
		eventually(t, "all have ended", func() bool { return runtime.NumGoroutine() <= goroutines+maxIdle })
		if n := resting(ls.all[0]); n > maxIdle {
			t.Errorf("%d strands are kept, more than %d", n, maxIdle)
		}
	}
	eventually(t, "none is kept", func() bool { return resting(ls.all[0]) == 0 })
	eventually(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= goroutines })
	ask(t, dial(t, address), "are you well?") // and new ones are made
}

// TestAtRest gives them up though nothing happens at all: nobody asks the loop.
func TestAtRest(t *testing.T) {
	ls := open(t, 1)
	goroutines := runtime.NumGoroutine()
	wait(t, run(ls.all[0], func(*Strand) {}), "a strand that does nothing")
	eventually(t, "the strand is given up", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// TestReuse gives a strand one job after another: none finds what another has left.
func TestReuse(t *testing.T) {
	ls := open(t, 1)
	var first *Strand
	for i := range 20 {
		done := run(ls.all[0], func(s *Strand) {
			if len(s.conns) != 0 || s.Left() || s.waits.Load() != nil {
				t.Errorf("has %d connections, left %v", len(s.conns), s.Left())
			}
			c, err := s.Socket(netip.MustParseAddrPort("127.0.0.1:1"), net.KeepAliveConfig{})
			if err != nil {
				t.Error(err)
				return
			}
			_ = c.Close()
			if i == 0 {
				first = s
			}
			if i == 10 {
				s.Leave() // it does no other job
			}
			if (s == first) != (i <= 10) {
				t.Errorf("job %d is another strand's", i)
			}
		})
		wait(t, done, "a job")
		hold(t, ls.all[0])() // its turn is over
	}
}

// TestCloseTwice closes loops that are closed.
func TestCloseTwice(t *testing.T) {
	ls, err := New(0, nil) // is one
	if err != nil {
		t.Fatal(err)
	}
	if len(ls.all) != 1 {
		t.Errorf("%d loops, want one", len(ls.all))
	}
	ls.Close()
	ls.Close()
}

// TestNoLoops opens loops when there are no descriptors.
func TestNoLoops(t *testing.T) {
	before := files(t)
	restore := scarce(t)
	_, err := New(2, nil)
	restore()
	if err == nil {
		t.Error("there are loops without a descriptor")
	}
	if now := files(t); now != before {
		t.Errorf("%d descriptors, want %d", now, before)
	}
}

// TestProcessors wants loops for all processors, and all to work.
func TestProcessors(t *testing.T) {
	if n := Processors(); n != runtime.GOMAXPROCS(0) {
		t.Errorf("got %d", n)
	}
	ls := open(t, Processors())
	for _, l := range ls.all {
		wait(t, run(l, func(*Strand) {}), "a job")
	}
}

// TestOneProcessor has a loop and its peers share one.
func TestOneProcessor(t *testing.T) {
	old := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(old)
	d := newTalk(t, open(t, 2), func(c *Conn) { _ = echo(c) })
	for range 50 {
		ask(t, d.peer, "one after the other")
	}
	_ = d.peer.CloseWrite()
	if _, err := io.ReadAll(d.peer); err != nil {
		t.Error(err)
	}
	wait(t, d.done, "the end of the strand")
}
