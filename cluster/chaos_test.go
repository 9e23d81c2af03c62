package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// A ledger checks the promise: it knows who is where, and complains when one user is
// on two back ends.
type ledger struct {
	mu    sync.Mutex
	where map[string]map[string]int // user, back end: sessions
}

func (l *ledger) enter(t *testing.T, user, backend string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.where[user] == nil {
		l.where[user] = map[string]int{}
	}
	l.where[user][backend]++
	if len(l.where[user]) > 1 {
		t.Errorf("%s is on two back ends: %v", user, l.where[user])
	}
}

func (l *ledger) leave(user, backend string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.where[user][backend]--; l.where[user][backend] == 0 {
		delete(l.where[user], backend)
	}
}

// An inn is a balancer whose sessions close some time after they were told to, and
// are not known to it while they dial.
type inn struct {
	sitter
	mu     sync.Mutex
	guests map[uint64]chan struct{} // closed when the guest has to leave
}

func (i *inn) Leave(_, _ string, holds []uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, hold := range holds {
		if out := i.guests[hold]; out != nil {
			close(out)
			delete(i.guests, hold)
		}
	}
}

// stay is a session: it dials, is there for a while or until it is told to leave, and
// takes its time to close.
func (i *inn) stay(r *rand.Rand, hold uint64) {
	<-time.After(time.Duration(r.IntN(3)) * time.Millisecond)
	out := make(chan struct{})
	i.mu.Lock()
	i.guests[hold] = out
	i.mu.Unlock()
	select {
	case <-out:
		<-time.After(time.Millisecond)
	case <-time.After(time.Duration(r.IntN(60)) * time.Millisecond):
		i.mu.Lock()
		delete(i.guests, hold)
		i.mu.Unlock()
	}
}

// TestNeverOnTwoBackends lets many logins race with every kind of change.
func TestNeverOnTwoBackends(t *testing.T) {
	const clients, logins, users = 32, 60, 25
	house := &inn{guests: make(map[uint64]chan struct{})}
	s := alone(t, FleetOptions{Retention: 50 * time.Millisecond, Local: house}, mainPool(place.Shared, 4))
	f := s.f
	l := ledger{where: map[string]map[string]int{}}
	var guests, changes sync.WaitGroup
	var outcome struct {
		sync.Mutex
		placed, refused int
	}
	for i := range clients {
		guests.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for range logins {
				user := fmt.Sprintf("user%d", r.IntN(users))
				b, _, hold, err := f.Place(t.Context(), "main", user)
				outcome.Lock()
				switch {
				case err == nil:
					outcome.placed++
				case errors.Is(err, ErrNoBackend):
					outcome.refused++
				default:
					t.Error(err)
				}
				outcome.Unlock()
				if err != nil {
					continue
				}
				l.enter(t, user, b)
				if f.Still(hold) == nil && r.IntN(4) > 0 {
					f.Confirm(hold)
				}
				house.stay(r, hold)
				l.leave(user, b)
				f.Release(hold)
				if r.IntN(2) == 0 {
					f.Release(hold)
				}
			}
		})
	}
	over := make(chan struct{})
	changes.Go(func() {
		r := rand.New(rand.NewPCG(2, 2))
		for i := 0; ; i++ {
			select {
			case <-over:
				return
			case <-time.After(time.Duration(r.IntN(10)) * time.Millisecond):
			}
			disturb(t, f, r, i)
		}
	})
	guests.Wait()
	close(over)
	changes.Wait()
	if outcome.placed < clients*logins/2 || f.stats.Moves.Load() == 0 {
		t.Errorf("%d placed, %d refused, %d waited, of %d: too few placed, or nobody waited",
			outcome.placed, outcome.refused, f.stats.Moves.Load(), clients*logins)
	}
	t.Logf("%d placed, %d refused, %d after a wait", outcome.placed, outcome.refused, f.stats.Moves.Load())
	until(t, "everybody to be forgotten", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		records, holds := f.node.Counts()
		return records == 0 && holds == 0 && f.held == 0
	})
}

// disturb makes a change of some kind.
func disturb(t *testing.T, f *Fleet, r *rand.Rand, i int) {
	if i%6 == 0 { // or all are down most of the time
		for n := range 4 {
			f.SetHealth("main", fmt.Sprintf("store%d", 1+n), true)
			_ = f.propose(table.Adjust{Pool: "main", Backend: fmt.Sprintf("store%d", 1+n), Admin: new(table.Active), By: "test"})
		}
	}
	b := fmt.Sprintf("store%d", 1+r.IntN(4))
	switch r.IntN(6) {
	case 0, 1:
		f.SetHealth("main", b, r.IntN(4) > 0)
	case 2:
		admin := []table.Admin{table.Active, table.Active, table.Draining, table.Evacuate, table.Down}[r.IntN(5)]
		_ = f.propose(table.Adjust{Pool: "main", Backend: b, Admin: &admin, By: "test"}) // it may be removed
	case 3:
		pool := mainPool(place.Shared, 2+r.IntN(3))
		pool.Backends[0].Weight = r.IntN(200)
		if err := f.Update([]Pool{pool}); err != nil {
			t.Error(err)
		}
	case 4:
		user := fmt.Sprintf("user%d", r.IntN(25))
		_ = f.propose(table.Start{Pool: "main", Key: mustKey(f, user), User: user, Target: b, Pin: table.PinSet, By: "test"}) // b may be down
	case 5:
		f.Status()
		if _, err := f.Where("main", "user1"); err != nil {
			t.Error(err)
		}
	}
}

func mustKey(f *Fleet, user string) place.Key {
	k, _, _, _ := f.key("main", user)
	return k
}
