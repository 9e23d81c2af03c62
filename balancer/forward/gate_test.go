package forward

import (
	"errors"
	"io"
	"testing"

	"golang.org/x/sys/unix"
)

// Behind a closed gate nothing moves and every session ends; the back end hears
// nothing of what the client said then.
func TestGate(t *testing.T) {
	for _, l := range layouts[4:] {
		t.Run(l.name, func(t *testing.T) {
			r, _ := runReactor(t)
			s := start(t, r, l.client, l.server, "", "")
			_, _ = io.WriteString(s.client, "before")
			if _, err := io.ReadFull(s.server, make([]byte, 6)); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the turn that moved them is over
				looked := make(chan struct{})
				r.loops[0].tell(order{look: func() { close(looked) }})
				<-looked
			}
			var ts unix.Timespec
			if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
				t.Fatal(err)
			}
			r.SetGate(ts.Nano())
			_, _ = io.WriteString(s.client, "after")
			if res := s.result(t); res.End != Killed || !errors.Is(res.Err, errGate) {
				t.Errorf("account %+v", res)
			}
			if b, _ := io.ReadAll(s.server); len(b) > 0 {
				t.Errorf("the back end got %q", b)
			}
		})
	}
}
