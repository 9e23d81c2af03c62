package forward

import (
	"testing"
	"time"
)

// sleepy makes the loop of r believe that nothing has happened for long, so that it
// sleeps until the first session's time is over.
func sleepy(t *testing.T, r *Reactor) {
	t.Helper()
	l := r.loops[0]
	for looks := 0; looks < 3; { // events of the beginning are over then
		done := make(chan bool)
		l.tell(order{look: func() {
			clear(l.aeads)
			l.moved, l.stirred, l.rested = l.clock-restTime, l.clock-napAfter, true
			l.adopted = l.clock - loginsNear // it waits by itself, with no deadline of before
			l.swept, l.due = l.clock, l.clock+int64(time.Hour)
			done <- len(l.fifo) == 0
		}})
		if <-done {
			looks++
		}
	}
}

// A loop at rest may sleep for an hour. A shorter limit, a gate and the peers
// wake it.
func TestSleepingLoopIsWoken(t *testing.T) {
	for name, wake := range map[string]func(r *Reactor, s *rig){
		"limit": func(r *Reactor, _ *rig) { r.SetIdle(time.Millisecond) },
		"gate":  func(r *Reactor, _ *rig) { r.SetGate(1) },
		"peers": func(_ *Reactor, s *rig) { _, _ = s.client.Close(), s.server.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := runReactor(t)
			r.SetIdle(time.Hour)
			s := start(t, r, layouts[0].client, layouts[0].server, "", "")
			sleepy(t, r)
			wake(r, s)
			s.result(t)
		})
	}
}

// How long a loop sleeps.
func TestNap(t *testing.T) {
	const clock = int64(time.Hour)
	rested := loop{r: new(Reactor), rested: true, clock: clock, stirred: clock - napAfter, due: clock + int64(time.Minute)}
	for name, tt := range map[string]struct {
		change func(l *loop)
		want   time.Duration
	}{
		"at rest":         {func(*loop) {}, time.Minute},
		"not rested":      {func(l *loop) { l.rested = false }, time.Duration(sweepEvery)},
		"just stirred":    {func(l *loop) { l.stirred = clock }, time.Duration(sweepEvery)},
		"somebody's end":  {func(l *loop) { l.due = 0 }, time.Duration(sweepEvery)},
		"a gate":          {func(l *loop) { l.r.gate.Store(1) }, time.Duration(sweepEvery)},
		"something to do": {func(l *loop) { l.fifo = []ref{{}} }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := loop{r: new(Reactor), rested: rested.rested, clock: rested.clock, stirred: rested.stirred, due: rested.due}
			l.sessions.live = 1
			tt.change(&l)
			if got := l.patience(); got != tt.want {
				t.Errorf("it sleeps for %v, want %v", got, tt.want)
			}
		})
	}
}
