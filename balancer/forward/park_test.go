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
				if _, err := unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
					t.Fatal(err)
				}
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
