package main_test

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// defaultHealth is what a file has that says nothing of [pool.health].
const defaultHealth = "# as it comes\n"

// silence is how long a server that refuses no connection may be taken for good:
// the longest interval, three probes that run into their time limit, the kick delay
// and what a busy machine takes.
const silence = 4800*time.Millisecond + 3*2*time.Second + 2*time.Second + 1200*time.Millisecond

// TestFleetDefaultDeath kills a Dovecot under a fleet that probes as it comes, and
// holds the times in which users can count on another: with traffic and without. One
// that is stopped, and says nothing any more, takes longer.
func TestFleetDefaultDeath(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		traffic, mute bool
		within        time.Duration
	}{
		{"traffic", true, false, 8 * time.Second},
		{"idle", false, false, 10 * time.Second},
		{"silent", false, true, silence},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, rigOptions{kick: 2 * time.Second, health: defaultHealth})
			r.start()
			admin := r.administrator("")
			r.leads(admin)
			eventually(t, "both servers are up in the view", func() bool { return views(admin.Status()) == "up up" })
			clients, left := 0, 0
			if tt.traffic {
				clients = 12
			}
			var traffic sync.WaitGroup
			stop := make(chan struct{})
			for i := range clients {
				user := fmt.Sprintf("user%02d", i)
				r.session(r.nodes[i%3], user)
				if r.last(user, 1) == "mail1" {
					left++
				}
				traffic.Go(func() { // each comes again and again, as clients do
					tick := time.NewTicker(200 * time.Millisecond)
					defer tick.Stop()
					for {
						select {
						case <-stop:
							return
						case <-tick.C:
							r.nodes[i%3].tries(user)
						}
					}
				})
			}
			if tt.traffic && left == 0 {
				t.Fatal("nobody is at mail1")
			}
			began := time.Now()
			if tt.mute {
				r.servers[0].Freeze(t)
			} else {
				r.killServer(0)
			}
			eventually(t, "the view is without it", func() bool { return views(admin.Status()) == "down up" })
			took := since(began)
			close(stop)
			traffic.Wait()
			t.Logf("the view is changed %v after the death", took)
			if took > tt.within {
				t.Errorf("it took %v, want %v at most", took, tt.within)
			}
			began = time.Now()
			if tt.mute {
				r.servers[0].Thaw(t)
			} else {
				r.servers[0].Restart(t)
			}
			started := time.Now()
			eventually(t, "the view has it again", func() bool { return views(admin.Status()) == "up up" })
			t.Logf("the view has it again %v after its start began, %v after it was done", since(began), since(started))
		})
	}
}
