package strand

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// watched tells whether the runtime's poller hears of a loop, by what the kernel says: to ask the
// loop would make it busy.
func watched(t testing.TB, l *loop) bool {
	t.Helper()
	var info []byte
	err := l.park.conn.Control(func(fd uintptr) { info, _ = os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd)) })
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(info), "tfd:")
}

// TestBusyLoopLeavesThePoller holds that a loop that waits with its processor in its hand is not
// watched by the runtime's poller, whose thread each event would wake, and comes back to it.
func TestBusyLoopLeavesThePoller(t *testing.T) {
	if runtime.GOMAXPROCS(0) < 2 {
		t.Skip("on one processor it always waits there")
	}
	ls := open(t, 1)
	d := newTalk(t, ls, func(c *Conn) { _ = echo(c) })
	for range 3 {
		eventually(t, "that the busy loop is not watched", func() bool {
			ask(t, d.peer, "are you busy?")
			return !watched(t, ls.all[0])
		})
		eventually(t, "that the loop at rest is watched", func() bool { return watched(t, ls.all[0]) })
	}
	ask(t, d.peer, "and now?")
}

// TestRestUnwatched has a loop rest that the runtime's poller cannot watch.
func TestRestUnwatched(t *testing.T) {
	ls := open(t, 1)
	l := ls.all[0]
	began, ran := make(chan struct{}), make(chan error, 1)
	d := newTalk(t, ls, func(c *Conn) {
		// As if there were no watches left: an instance that nothing can be added to.
		l.park.watch(false)
		ep := l.park.ep
		l.park.ep = -1
		l.park.tries = 0
		close(began)
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
		_, err := c.Read(make([]byte, 1))
		ran <- err
		_ = c.SetReadDeadline(time.Time{})
		var b [1]byte
		_, err = c.Read(b[:])
		l.park.ep = ep
		ran <- err
		_ = echo(c)
	})
	wait(t, began, "the strand")
	if err := wait(t, ran, "a deadline"); err == nil {
		t.Error("somebody has sent something")
	}
	if watched(t, l) {
		t.Error("it is watched")
	}
	if _, err := d.peer.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := wait(t, ran, "an octet"); err != nil {
		t.Error(err)
	}
	eventually(t, "a way back to the poller", func() bool { return watched(t, l) })
	ask(t, d.peer, "do you hear me?")
}
