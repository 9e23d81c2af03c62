package strand

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestNobodyHasALoop wants a peer who sends without end not to keep others waiting: each
// turn has a bounded number of calls.
func TestNobodyHasALoop(t *testing.T) {
	ls := open(t, 1)
	var turns atomic.Int64
	address, _ := accept(t, ls, func(c *Conn) {
		defer c.Close() //nolint:errcheck // the end
		var b [1]byte
		if n, err := c.Read(b[:]); n == 0 || err != nil {
			return
		}
		if b[0] != 'x' {
			_, _ = c.Write([]byte("heard"))
			return
		}
		for { // an octet at a time, so that there is always one more
			if s := c.Strand(); s.calls > maxCalls+1 {
				t.Errorf("%d calls in a turn", s.calls)
			}
			if n, err := c.Read(b[:]); n == 0 || err != nil {
				return
			}
			turns.Add(1)
		}
	})
	endless := dial(t, address)
	go func() {
		chunk := make([]byte, 64<<10)
		for i := range chunk {
			chunk[i] = 'x'
		}
		for {
			if _, err := endless.Write(chunk); err != nil {
				return
			}
		}
	}()
	eventually(t, "the endless one is heard", func() bool { return turns.Load() > 10*maxCalls })
	before := turns.Load()
	ask2 := dial(t, address)
	if _, err := ask2.Write([]byte("y")); err != nil {
		t.Fatal(err)
	}
	var b [5]byte
	if n, err := ask2.Read(b[:]); string(b[:n]) != "heard" {
		t.Fatalf("got %q, %v", b[:n], err)
	}
	t.Logf("%d octets of the endless one meanwhile", turns.Load()-before)
	_ = endless.Close()
}

// TestLeaveKeepsKeepAlive wants a connection that leaves to look after its peer as it did.
func TestLeaveKeepsKeepAlive(t *testing.T) {
	ls := open(t, 1)
	want := net.KeepAliveConfig{Enable: true, Idle: 180 * time.Second, Interval: 30 * time.Second, Count: 4}
	got := make(chan [4]int, 1)
	address, _ := accept(t, ls, func(c *Conn) {
		defer c.Close() //nolint:errcheck // the end
		set := func(fd int) error {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
			_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 180)
			_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 30)
			return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 4)
		}
		if err := c.control(set); err != nil {
			t.Error(err)
		}
		c.Strand().Leave()
		var have net.KeepAliveConfig
		if err := c.control(func(fd int) error { have = keepAlive(fd); return nil }); err != nil {
			t.Error(err)
		}
		if have != want {
			t.Errorf("got %+v, want %+v", have, want)
		}
		got <- [4]int{}
	})
	dial(t, address)
	wait(t, got, "the options")
}
