package forward

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newParked returns a loop that nobody runs, with its park open.
func newParked(t *testing.T) *loop {
	t.Helper()
	l, err := newLoop(new(Reactor))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	if err := l.park.open(l.ep); err != nil {
		t.Fatal(err)
	}
	return l
}

// A wait is one also after a limit has passed, or somebody has rung: a deadline that is
// left in force would make the loop spin for ever.
func TestParkForgetsItsDeadline(t *testing.T) {
	t.Parallel()
	for name, spend := range map[string]func(*loop){
		"passed": func(l *loop) { l.begin(parked, time.Nanosecond) },
		"rung": func(l *loop) {
			l.begin(parked, time.Hour)
			l.poke()
		},
		"nudged": func(l *loop) {
			l.begin(parked, time.Hour)
			come(t, l)
			if !l.nudge() {
				t.Error("a loop for which something has come is not woken")
			}
			for _, ev := range l.look(t) {
				l.event(ev) // so that there is nothing to wait for
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newParked(t)
			spend(l)
			if events := l.park.wait(); len(events) > 0 {
				t.Fatalf("%d events of nobody", len(events))
			}
			l.begun()
			for _, patience := range []time.Duration{time.Hour, -1} {
				l.orders() // hears the call
				if !l.begin(parked, patience) {
					t.Fatal("the loop counts as called")
				}
				// A deadline in force ends the wait before it looks for what is there.
				come(t, l)
				events := l.park.wait()
				if len(events) != 1 {
					t.Fatalf("%d events before %v, want the one of the eventfd", len(events), patience)
				}
				l.begun()
				l.event(events[0])
			}
		})
	}
}

// come has something come for a loop.
func come(t *testing.T, l *loop) {
	t.Helper()
	if _, err := unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
}

// look returns what has come, without a wait.
func (l *loop) look(t *testing.T) []unix.EpollEvent {
	t.Helper()
	n, err := unix.EpollWait(l.ep, l.park.events[:], 0)
	if err != nil {
		t.Fatal(err)
	}
	return l.park.events[:n]
}

// Who runs logins on all processors wakes a loop that waits in the runtime's poller, but only
// one for which something has come, and once.
func TestNudge(t *testing.T) {
	t.Parallel()
	l := newParked(t)
	r := &Reactor{loops: []*loop{l}}
	wake := func(want bool, when string) {
		t.Helper()
		if r.Nudge() != want {
			t.Errorf("%s: woken %v, want %v", when, !want, want)
		}
	}
	l.begin(parked, time.Hour)
	wake(false, "nothing has come")
	come(t, l)
	wake(true, "something has come")
	wake(false, "it has been woken")
	if events := l.park.wait(); len(events) > 0 {
		t.Errorf("%d events: the nudge was to end the wait", len(events))
	}
	l.begun()
	wake(false, "it does not wait")
	l.begin(inEpoll, time.Hour)
	wake(false, "it waits on a thread of its own, which the kernel wakes")
	l.begun()
	l.begin(parked, time.Hour)
	if events := l.park.wait(); len(events) != 1 {
		t.Errorf("%d events, want the one that had come", len(events))
	}
	l.begun()
	l.begin(parked, time.Hour)
	l.over = true
	wake(false, "it is over")
}

// A call that comes between two waits is heard in either kind of them, once.
func TestCallBetweenWaits(t *testing.T) {
	t.Parallel()
	l := newParked(t)
	for _, where := range []waits{parked, inEpoll} {
		l.poke()
		if l.begin(where, -1) {
			t.Fatalf("the loop waits (%d) though it was called", where)
		}
		l.orders()
		if !l.begin(where, -1) {
			t.Fatalf("the loop does not wait (%d) though it has looked", where)
		}
		l.begun()
	}
}
