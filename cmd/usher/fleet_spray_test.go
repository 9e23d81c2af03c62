package main_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestFleetSpray tries passwords of thousands of names that nobody has: nothing of
// it is written to the fleet's table, which grows by the grants of each second
// alone, and who is somebody logs in meanwhile.
func TestFleetSpray(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{head: "[limits]\nsessions_per_address = 5000\n", users: map[string]string{"joe": "secret"}})
	r.start()
	admin := r.administrator("")
	const workers, length = 240, 5 * time.Second
	var tried atomic.Int64
	before := admin.Overview()
	began := time.Now()
	var running sync.WaitGroup
	for w := range workers {
		running.Go(func() {
			e := r.nodes[w%3]
			for time.Since(began) < length {
				c := e.enter("imaps", entry{})
				for range 3 {
					verdict := c.login(fmt.Sprintf("nobody%d", rand.Uint64()), "guess")
					if c.err != nil {
						break
					}
					tried.Add(1)
					if good(verdict) {
						t.Errorf("somebody came in: %s", verdict)
					}
				}
				c.Close()
			}
		})
	}
	joe := 0
	tick := time.NewTicker(loadEvery)
	defer tick.Stop()
	for time.Since(began) < length {
		if ok, verdict := r.nodes[joe%3].tries("joe"); !ok {
			t.Errorf("joe: %s", verdict)
		}
		joe++
		<-tick.C
	}
	running.Wait()
	took := time.Since(began)
	after := admin.Overview()
	grown := after.Applied - before.Applied
	t.Logf("%d failed logins and %d of joe's in %v; the log grew by %d entries", tried.Load(), joe, took.Round(time.Millisecond), grown)
	if most := uint64(took/time.Second) + 3; grown > most {
		t.Errorf("the log grew by %d entries in %v, want at most %d: a grant each second", grown, took, most)
	}
	if tried.Load() < 10*int64(grown) {
		t.Errorf("%d logins are too few to tell", tried.Load())
	}
	if after.Stays != 0 || after.Pins != 0 || after.Moves != 0 {
		t.Errorf("the table has something of it: %+v", after)
	}
	r.checkPresence(joe)
}
