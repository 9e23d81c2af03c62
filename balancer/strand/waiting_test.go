package strand

import (
	"context"
	"net"
	"testing"
	"time"
)

// TestWaiting wants whoever waits by a strand's context to wait as a goroutine, with what
// ends him: other strands of the loop go on.
func TestWaiting(t *testing.T) {
	if ctx := t.Context(); Waiting(ctx) != ctx {
		t.Error("a context that is no strand's was changed")
	}
	loops, err := New(1, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer loops.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // the end
	end, stop := context.WithCancel(t.Context())
	defer stop()
	left, ended := make(chan bool, 2), make(chan error, 1)
	first := true
	s, err := loops.Socket(l.(*net.TCPListener))
	if err != nil {
		t.Fatal(err)
	}
	err = s.Accept(func(c *Conn) {
		defer c.Close() //nolint:errcheck // the end
		if !first {
			stop()
			return
		}
		first = false
		ctx, cancel := context.WithTimeout(c.Strand().Context(end), time.Hour)
		defer cancel()
		if ctx.Done() == nil || c.Strand().Left() {
			t.Error("the strand has left before anybody waits")
		}
		ctx = Waiting(ctx)
		left <- c.Strand().Left()
		<-ctx.Done()
		ended <- ctx.Err()
	}, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	for range 2 { // the second ends the wait of the first, if it is served at all
		c, err := net.DialTimeout("tcp", l.Addr().String(), 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close() //nolint:errcheck // the end
	}
	if !<-left {
		t.Error("the strand waits in its loop")
	}
	if err := <-ended; err != context.Canceled { //nolint:errorlint // as it is
		t.Errorf("the wait ended with %v", err)
	}
}
