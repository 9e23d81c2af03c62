package cluster

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"usher.example/cluster/place"
)

// addressed returns mainPool with addresses; the generation is part of that of
// the first back end.
func addressed(storage place.Storage, n, generation int) Pool {
	p := mainPool(storage, n)
	for i := range p.Backends {
		p.Backends[i].Address = fmt.Sprintf("host%d:143", i+1)
	}
	p.Backends[0].Address = fmt.Sprintf("host1-%d:143", generation)
	return p
}

func update(t testing.TB, s *Single, pools ...Pool) {
	t.Helper()
	if err := s.Update(pools); err != nil {
		t.Fatal(err)
	}
}

// TestChangedAddress: another server under the same name is another back end. A
// user who is live on the one before leaves it when he logs in again, so that
// nobody is on both.
func TestChangedAddress(t *testing.T) {
	for _, storage := range []place.Storage{place.Shared, place.Local} {
		t.Run(storage.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d desk
				s := newSingle(t, Options{Kick: d.kick}, addressed(storage, 3, 1))
				user := userOf(t, s, "store1")
				b, _, release := login(t, s, user)
				sitting := d.sit(user, b)
				left := false
				go func() { <-sitting.closed; left = true; release() }()

				update(t, s, addressed(storage, 3, 2))
				s.SetHealth("main", "store1", true)
				if got := d.log(); len(got) != 0 {
					t.Errorf("kicks %q at reload, want none", got)
				}
				if st := s.Status()[0].Backends; len(st) != 3 || st[0].State != "up" || st[0].Users != 0 || st[0].Former != 1 {
					t.Errorf("status is %+v, want three, store1 up with one former user", st)
				}
				b, why, release2 := login(t, s, user)
				if b != "store1" || why != "home" {
					t.Errorf("%s by %s, want store1 by home: the new one", b, why)
				}
				if !left {
					t.Error("he is on both servers")
				}
				if got, want := d.log(), []string{"main/" + user + "/store1"}; !slices.Equal(got, want) {
					t.Errorf("kicks %q, want %q", got, want)
				}
				if st := s.Status()[0].Backends[0]; st.Users != 1 || st.Former != 0 {
					t.Errorf("status of store1 is %+v, want one user there and none on the former", st)
				}
				release2()
				if len(s.users) != 0 || len(s.pools["main"].gone) != 0 {
					t.Errorf("%d users and %d removed back ends left, want none", len(s.users), len(s.pools["main"].gone))
				}
			})
		})
	}
}

// TestAddressComesBack: who was live on a server all the time stays there.
func TestAddressComesBack(t *testing.T) {
	s := newSingle(t, Options{}, addressed(place.Shared, 3, 1))
	user := userOf(t, s, "store1")
	_, _, release := login(t, s, user)
	for _, generation := range []int{2, 3, 1} {
		update(t, s, addressed(place.Shared, 3, generation))
	}
	b, why, release2 := login(t, s, user)
	if b != "store1" || why != "stay" {
		t.Errorf("%s by %s, want store1 by stay", b, why)
	}
	release()
	release2()
	update(t, s, addressed(place.Shared, 3, 2))
	if p := s.pools["main"]; len(p.gone) != 0 || len(p.backends) != 3 {
		t.Errorf("%d back ends and %d removed ones, want 3 and none", len(p.backends), len(p.gone))
	}
}

// TestStatusOfFormerServers: no name is there twice, whatever users are live on.
func TestStatusOfFormerServers(t *testing.T) {
	s := newSingle(t, Options{}, addressed(place.Shared, 1, 0))
	for generation := range 3 {
		update(t, s, addressed(place.Shared, 1, generation))
		_, _, release := login(t, s, fmt.Sprintf("user%d", generation))
		defer release()
	}
	if st := s.Status()[0].Backends; len(st) != 1 || st[0].Users != 1 || st[0].Former != 2 {
		t.Errorf("status %+v, want one back end with a user and two former ones", st)
	}
	update(t, s, mainPool(place.Shared, 0))
	if st := s.Status()[0].Backends; len(st) != 1 || st[0].State != "removed" || st[0].Users != 3 || st[0].Holds != 3 {
		t.Errorf("status %+v, want one removed back end with three users", st)
	}
}

// TestNewBackendWaitsForItsFirstProbe: users do not go where nobody has looked,
// unless there is nowhere else.
func TestNewBackendWaitsForItsFirstProbe(t *testing.T) {
	drained := mainPool(place.Shared, 3)
	drained.Backends[0].Admin, drained.Backends[1].Weight = Drain, 0
	for _, tt := range []struct {
		name   string
		before Pool
		after  Pool
		up     bool // store3, which is new
	}{
		{"others can", mainPool(place.Shared, 2), mainPool(place.Shared, 3), false},
		{"local storage: others cannot", mainPool(place.Local, 2), mainPool(place.Local, 3), true},
		{"no others", mainPool(place.Shared, 0), mainPool(place.Shared, 3), true},
		{"others drain or take nobody", mainPool(place.Shared, 2), drained, true},
		{"others are removed", mainPool(place.Shared, 2), Pool{Name: "main", Backends: []Backend{{Name: "store3", Weight: 1}}}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSingle(t, Options{}, tt.before)
			update(t, s, tt.after)
			st := s.Status()[0].Backends
			if got := st[len(st)-1]; got.Name != "store3" || got.Up != tt.up {
				t.Errorf("%+v, want store3 up: %v", got, tt.up)
			}
			s.SetHealth("main", "store3", true)
			if got := userOf(t, s, "store3"); got == "" {
				t.Error("nobody's home is store3 once it is up")
			}
		})
	}
}
