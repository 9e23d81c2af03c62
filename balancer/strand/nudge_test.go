package strand

import (
	"sync/atomic"
	"testing"
)

// TestNudge wants a busy loop to look after those who wait in the runtime's poller, again and again
// but not at each turn: a look is a system call.
func TestNudge(t *testing.T) {
	const looks, turns = 8, 1 << 20
	var nudges atomic.Int64
	began := now()
	ls, err := New(1, func() bool { return nudges.Add(1)%2 == 0 })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ls.Close)
	d := newTalk(t, ls, func(c *Conn) { _ = echo(c) })
	for i := 0; nudges.Load() <= looks; i++ {
		if i > turns {
			t.Fatalf("%d looks in %d turns", nudges.Load(), i)
		}
		ask(t, d.peer, "are you busy?")
	}
	n := nudges.Load() // before the clock
	if most := (now()-began)/nudgeEvery + 1; n > most {
		t.Errorf("%d looks, want %d at most in that time", n, most)
	}
}
