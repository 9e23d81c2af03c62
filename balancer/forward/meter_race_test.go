package forward

import (
	"sync"
	"testing"
)

// An order for a session that is over finds nobody, whoever takes its meter at that
// moment: it must never end or export another one's session.
func TestOrderForADeadSession(t *testing.T) {
	const rounds = 20_000
	var m meters
	dead := make(chan ref)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(dead)
		for i := range int32(rounds) {
			r := m.take(new(Pair), waySplice)
			m.seat(r.id, i)
			m.give(r.id, Result{})
			dead <- r
			m.give(m.take(new(Pair), waySplice).id, Result{}) // the same meter again
		}
	})
	for r := range dead {
		for range 4 {
			if at := m.slotOf(r); at != none {
				t.Errorf("a session that is over has slot %d", at)
			}
		}
	}
	wg.Wait()
}
