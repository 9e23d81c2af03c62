package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

func TestUpdateReportsEverythingAndChangesNothing(t *testing.T) {
	s := alone(t, FleetOptions{}, mainPool(place.Shared, 2))
	err := s.f.Update([]Pool{
		{Name: "main", Backends: []Backend{{Name: "a", Weight: -1}, {Name: "a"}}},
		{Name: "", Storage: 9},
		{Name: "main"},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{`"a" appears twice`, "weight -1", "name of a pool", "storage(9)", `pool "main" appears twice`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
	if st := s.f.Status(); len(st) != 1 || len(st[0].Backends) != 2 || st[0].Usable != 2 {
		t.Errorf("status %+v, want the old pool", st)
	}
}

func TestReloadKeepsWhatWasSet(t *testing.T) {
	pool := mainPool(place.Shared, 3)
	s := alone(t, FleetOptions{}, pool)
	s.admin(t, "store1", table.Draining)
	s.health(t, "store2", false)
	pool.Backends[2].Weight = 50
	s.update(t, pool)
	if got, want := s.states(), "drain down up"; got != want {
		t.Errorf("after a reload: %s, want %s", got, want)
	}
}

// TestRemovedBackend: a reload leaves sessions alone, the user's next login moves
// him.
func TestRemovedBackend(t *testing.T) {
	for _, storage := range []place.Storage{place.Shared, place.Local} {
		t.Run(storage.String(), func(t *testing.T) { removeBackend(t, storage) })
	}
}

func removeBackend(t *testing.T, storage place.Storage) {
	pool := mainPool(storage, 3)
	s := alone(t, FleetOptions{}, pool)
	user := s.userOf(t, "store1")
	s.login(t, user)
	pool.Backends = pool.Backends[1:]
	s.update(t, pool)
	if s.count() != 1 {
		t.Error("his session was closed by the reload")
	}
	if st := s.f.Status()[0].Backends[0]; st.State != "removed" || st.Users != 1 {
		t.Errorf("status of store1 is %+v, want removed with one user", st)
	}
	if err := s.f.SetAdmin(t.Context(), "main", "store1", table.Down, "test"); !errors.Is(err, table.ErrNoBackend) {
		t.Errorf("SetAdmin of a removed back end: %v, want ErrNoBackend", err)
	}
	if b, _ := s.visit(t, user); b == "store1" {
		t.Error("placed on a back end that is not configured")
	}
	if s.count() != 0 {
		t.Error("he is on both")
	}
	if n := len(s.f.Status()[0].Backends); n != 2 {
		t.Errorf("%d back ends after the last user left, want 2", n)
	}
}

func TestRemovedBackendComesBack(t *testing.T) {
	s := alone(t, FleetOptions{}, mainPool(place.Shared, 3))
	user := s.userOf(t, "store3")
	s.login(t, user)
	for _, n := range []int{2, 3} {
		s.update(t, mainPool(place.Shared, n))
	}
	if b, why := s.visit(t, user); b != "store3" || s.count() != 1 {
		t.Errorf("%s by %s with %d sessions, want store3 and his session", b, why, s.count())
	}
	if got, want := s.states(), "up up up"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// addressed returns mainPool with addresses; the generation is part of that of the
// first back end.
func addressed(storage place.Storage, n, generation int) Pool {
	p := mainPool(storage, n)
	for i := range p.Backends {
		p.Backends[i].Address = fmt.Sprintf("host%d:143", i+1)
	}
	p.Backends[0].Address = fmt.Sprintf("host1-%d:143", generation)
	return p
}

// TestChangedAddress: another server under the same name is another back end. A user
// who is live on the one before leaves it when he logs in again, so that nobody is
// on both.
func TestChangedAddress(t *testing.T) {
	s := alone(t, FleetOptions{}, addressed(place.Shared, 3, 1))
	s.health(t, "store1", true)
	user := s.userOf(t, "store1")
	s.login(t, user)
	s.update(t, addressed(place.Shared, 3, 2))
	if s.count() != 1 {
		t.Error("his session was closed by the reload")
	}
	if b := s.backend("store1"); b.Up {
		t.Errorf("%+v: what is known of the old server is taken for the new one", b)
	}
	s.health(t, "store1", true)
	if st := s.f.Status()[0].Backends; len(st) != 3 || st[0].State != "up" || st[0].Users != 0 || st[0].Former != 1 {
		t.Errorf("status is %+v, want three, store1 up with one former user", st)
	}
	if b, why := s.login(t, user); b != "store1" || why != place.ByHome {
		t.Errorf("%s by %s, want store1 by home: the new one", b, why)
	}
	if s.count() != 1 {
		t.Error("he is on both servers")
	}
	if st := s.f.Status()[0].Backends[0]; st.Users != 1 || st.Former != 0 {
		t.Errorf("status of store1 is %+v, want one user there and none on the former", st)
	}
}

// TestAddressComesBack: who was live on a server all the time stays there.
func TestAddressComesBack(t *testing.T) {
	s := alone(t, FleetOptions{}, addressed(place.Shared, 3, 1))
	user := s.userOf(t, "store1")
	s.login(t, user)
	for _, generation := range []int{2, 3, 1} {
		s.update(t, addressed(place.Shared, 3, generation))
	}
	if b, why := s.visit(t, user); b != "store1" || s.count() != 1 {
		t.Errorf("%s by %s with %d sessions, want store1 and his session", b, why, s.count())
	}
	s.out()
	s.update(t, addressed(place.Shared, 3, 2))
	if n := len(s.f.Status()[0].Backends); n != 3 {
		t.Errorf("%d back ends, want 3", n)
	}
}

// TestNewBackendWaitsForItsFirstProbe: users do not go where nobody has looked,
// unless there is nowhere else.
func TestNewBackendWaitsForItsFirstProbe(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before Pool
		after  Pool
		up     bool // store3, which is new
	}{
		{"others can", mainPool(place.Shared, 2), mainPool(place.Shared, 3), false},
		{"local storage: others cannot", mainPool(place.Local, 2), mainPool(place.Local, 3), true},
		{"no others", mainPool(place.Shared, 0), mainPool(place.Shared, 3), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := alone(t, FleetOptions{}, tt.before)
			s.update(t, tt.after)
			if got := s.backend("store3"); got.Up != tt.up {
				t.Errorf("%+v, want store3 up: %v", got, tt.up)
			}
			s.health(t, "store3", true)
			if got := s.userOf(t, "store3"); got == "" {
				t.Error("nobody's home is store3 once it is up")
			}
		})
	}
}

func TestRemovedPool(t *testing.T) {
	s := alone(t, FleetOptions{}, mainPool(place.Shared, 3))
	user := s.userOf(t, "store1")
	s.login(t, user)
	s.update(t, Pool{Name: "other", Backends: []Backend{{Name: "else", Weight: 1}}})
	s.out()
	until(t, "the pool to be gone", func() bool { return len(s.f.Status()) == 1 })
	if _, _, _, err := s.f.Place(t.Context(), "main", user); !errors.Is(err, ErrNoPool) {
		t.Errorf("Place: error %v, want ErrNoPool", err)
	}
	if _, err := s.f.Where("main", user); !errors.Is(err, ErrNoPool) {
		t.Errorf("Where: error %v, want ErrNoPool", err)
	}
	s.f.SetHealth("main", "store1", false) // a late word
	s.f.SetHealth("never", "was", false)
}

// TestStorageChanges: the mail has been brought to one kind of storage from another.
// Live users stay, and whoever comes is placed by the new rules.
func TestStorageChanges(t *testing.T) {
	s := alone(t, FleetOptions{}, mainPool(place.Shared, 3))
	user := s.userOf(t, "store1")
	s.health(t, "store1", false)
	if b, _ := s.login(t, user); b == "store1" {
		t.Fatal("placed on a back end that is down")
	}
	s.update(t, mainPool(place.Local, 3))
	if st := s.f.Status()[0]; st.Storage != "local" || s.count() != 1 {
		t.Errorf("got %+v with %d sessions, want local storage and his session", st, s.count())
	}
	if b, why := s.visit(t, user); b == "store1" || why != place.ByStay {
		t.Errorf("%s by %s, want where he is, by stay", b, why)
	}
	other := "user0"
	for i := 0; ; i++ {
		if other = fmt.Sprintf("user%d", i); other != user {
			if w, _ := s.f.Where("main", other); w.Home == "store1" {
				break
			}
		}
	}
	if _, _, _, err := s.f.Place(t.Context(), "main", other); !errors.Is(err, ErrNoBackend) {
		t.Errorf("got %v, want ErrNoBackend: his mail is on store1", err)
	}
	s.update(t, mainPool(place.Shared, 3))
	if b, _ := s.visit(t, other); b == "store1" {
		t.Error("placed on a back end that is down")
	}
}

// TestAddressesDiffer: while the files of nodes differ a name is two servers. Who is
// on the one is not let in at the other, and not after all have the new file either.
func TestAddressesDiffer(t *testing.T) {
	nodes := trio(t, func(o *FleetOptions) { o.KickDelay = -1 })
	for _, s := range nodes {
		if err := s.f.Update([]Pool{addressed(place.Shared, 3, 1)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range nodes {
		await(t, s)
		until(t, "the addresses to be known", func() bool {
			s.f.mu.Lock()
			defer s.f.mu.Unlock()
			return s.f.inForce() && s.f.reaches(s.f.table.Pools["main"], firstID(s.f, "store1"))
		})
	}
	leader, first := nodes[0], nodes[1]
	if nodes[1].f.Overview().Leader == "edge-2" {
		leader, first = nodes[1], nodes[0]
	}
	user := leader.userOf(t, "store1")
	leader.login(t, user)
	if err := first.f.Update([]Pool{addressed(place.Shared, 3, 2)}); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if b, _, _, err := first.f.Place(short, "main", user); !errors.Is(err, ErrHeld) {
		t.Errorf("on the node that has another server by that name: %q, %v; want ErrHeld", b, err)
	}
	for _, s := range nodes {
		if err := s.f.Update([]Pool{addressed(place.Shared, 3, 2)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range nodes {
		s.f.SetHealth("main", "store1", true)
	}
	first.login(t, user)
	if n := leader.count(); n != 0 {
		t.Errorf("%d sessions are left on the old server", n)
	}
}

// firstID is the number of a configured back end, called with mu held.
func firstID(f *Fleet, name string) uint16 {
	for id, b := range f.table.Pools["main"].Backends {
		if b.Name == name && !b.Removed {
			return id
		}
	}
	return 0
}

// TestRemovedRush: all users of a back end that was removed come at once, and so do
// others. None is lost, and the fleet keeps its leases.
func TestRemovedRush(t *testing.T) {
	const users = 600
	nodes := trio(t, func(o *FleetOptions) { o.KickDelay = -1 })
	for _, s := range nodes {
		await(t, s)
	}
	var moved []string
	for i := 0; len(moved) < users; i++ {
		user := fmt.Sprintf("user%d", i)
		if w, _ := nodes[0].f.Where("main", user); w.Home == "store3" {
			nodes[i%3].login(t, user)
			moved = append(moved, user)
		}
	}
	for _, s := range nodes {
		if err := s.f.Update([]Pool{mainPool(place.Shared, 2)}); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the back end to be removed", func() bool { return nodes[2].backend("store3").State == "removed" })
	var wg sync.WaitGroup
	var late atomic.Int64
	for i, user := range moved {
		wg.Go(func() {
			for { // as clients do
				b, _, hold, err := nodes[i%3].f.Place(t.Context(), "main", user)
				if errors.Is(err, ErrHeld) {
					late.Add(1)
					continue
				}
				if err != nil || b == "store3" {
					t.Errorf("%s: %s, %v", user, b, err)
				}
				nodes[i%3].f.Release(hold)
				return
			}
		})
	}
	wg.Wait()
	t.Logf("%d logins had to come again", late.Load())
	for _, s := range nodes {
		if n := s.f.stats.Isolated.Load(); n != 0 || s.count() != 0 {
			t.Errorf("%s lost its lease %d times, and has %d sessions", s.f.o.Node, n, s.count())
		}
	}
}
