package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"usher.example/cluster/place"
)

// A ledger checks the promise: it knows who is where, and complains when one
// user is on two back ends.
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

// TestNeverOnTwoBackends lets many logins race with every kind of change.
func TestNeverOnTwoBackends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients, logins, users, changes = 64, 200, 25, 2000
		var d desk
		l := ledger{where: map[string]map[string]int{}}
		s := newSingle(t, Options{Kick: d.kick}, mainPool(place.Shared, 4))
		var wg sync.WaitGroup
		var outcome struct {
			sync.Mutex
			placed, refused, expired int
		}
		for i := range clients {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(1, uint64(i)))
				for range logins {
					user := fmt.Sprintf("user%d", r.IntN(users))
					b, _, hold, err := s.Place(t.Context(), "main", user)
					outcome.Lock()
					switch {
					case err == nil:
						outcome.placed++
					case errors.Is(err, ErrNoBackend):
						outcome.refused++
					case errors.Is(err, ErrMoving):
						outcome.expired++
					default:
						t.Error(err)
					}
					outcome.Unlock()
					if err != nil {
						time.Sleep(50 * time.Millisecond)
						continue
					}
					l.enter(t, user, b)
					time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond) // the dial; not in the session table yet
					sitting := d.sit(user, b)
					select {
					case <-sitting.closed:
						time.Sleep(time.Millisecond) // closing takes its time
					case <-time.After(time.Duration(r.IntN(200)) * time.Millisecond):
					}
					d.leave(sitting)
					l.leave(user, b)
					s.Release(hold)
					if r.IntN(2) == 0 {
						s.Release(hold)
					}
				}
			})
		}
		wg.Go(func() {
			r := rand.New(rand.NewPCG(2, 2))
			for i := range changes {
				time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
				if i%20 == 0 { // or all are down most of the time
					for n := range 4 {
						s.SetHealth("main", fmt.Sprintf("store%d", 1+n), true)
						_ = s.SetAdmin("main", fmt.Sprintf("store%d", 1+n), Active)
					}
				}
				b := fmt.Sprintf("store%d", 1+r.IntN(4))
				switch r.IntN(5) {
				case 0, 1:
					s.SetHealth("main", b, r.IntN(4) > 0)
				case 2:
					_ = s.SetAdmin("main", b, Admin(max(0, r.IntN(7)-4))) // it may be removed
				case 3:
					pool := mainPool(place.Shared, 2+r.IntN(3))
					pool.Backends[0].Weight = r.IntN(200)
					if err := s.Update([]Pool{pool}); err != nil {
						t.Error(err)
					}
				case 4:
					s.Status()
					if _, err := s.Where("main", "user1"); err != nil {
						t.Error(err)
					}
				}
			}
		})
		wg.Wait()
		if outcome.placed < clients*logins/2 || outcome.expired > 0 || s.Stats().Moves.Load() == 0 {
			t.Errorf("%d placed, %d refused, %d expired, %d moves of %d: too few placed or moved, or somebody waited in vain",
				outcome.placed, outcome.refused, outcome.expired, s.Stats().Moves.Load(), clients*logins)
		}
		if len(s.users) != 0 || s.waiting != 0 {
			t.Errorf("%d users and %d waiting at the end, want none", len(s.users), s.waiting)
		}
		for _, b := range s.Status()[0].Backends {
			if b.Users != 0 || b.Holds != 0 {
				t.Errorf("%+v at the end, want no users and no holds", b)
			}
		}
	})
}

func BenchmarkPlace(b *testing.B) {
	s := newSingle(b, Options{Names: place.Names{LowerCase: true, DefaultDomain: "example.org"}}, mainPool(place.Shared, 10))
	ctx := b.Context()
	b.Run("home", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _, hold, err := s.Place(ctx, "main", "joe.user@example.org")
			if err != nil {
				b.Fatal(err)
			}
			s.Release(hold)
		}
	})
	b.Run("stay", func(b *testing.B) {
		_, _, hold, err := s.Place(ctx, "main", "joe.user@example.org")
		if err != nil {
			b.Fatal(err)
		}
		defer s.Release(hold)
		b.ReportAllocs()
		for b.Loop() {
			_, _, hold, err := s.Place(ctx, "main", "joe.user@example.org")
			if err != nil {
				b.Fatal(err)
			}
			s.Release(hold)
		}
	})
}
