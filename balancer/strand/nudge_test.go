package strand

import (
	"sync/atomic"
	"testing"
)

// TestNudge wants a busy loop to look after those who wait in the runtime's poller, again and again
// but not all the time: each look is a system call.
func TestNudge(t *testing.T) {
	var nudges atomic.Int64
	began := now()
	ls, err := New(1, func() bool { return nudges.Add(1)%2 == 0 })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ls.Close)
	d := newTalk(t, ls, func(c *Conn) { _ = echo(c) })
	eventually(t, "that a busy loop looks after others", func() bool {
		ask(t, d.peer, "are you busy?")
		return nudges.Load() > 8
	})
	n := nudges.Load() // before the clock
	if most := (now()-began)/nudgeEvery + 1; n > most {
		t.Errorf("%d looks, want %d at most in that time", n, most)
	}
}
