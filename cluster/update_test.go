package cluster

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"usher.example/cluster/place"
)

func TestUpdateReportsEverythingAndChangesNothing(t *testing.T) {
	s := newSingle(t, Options{}, mainPool(place.Shared, 2))
	err := s.Update([]Pool{
		{Name: "main", Backends: []Backend{{Name: "a", Weight: -1}, {Name: "a", Admin: 7}}},
		{Name: "", Storage: 9},
		{Name: "main"},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{`"a" appears twice`, "weight -1", "admin state 7", "name of a pool", "storage(9)", `pool "main" appears twice`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
	if st := s.Status(); len(st) != 1 || len(st[0].Backends) != 2 || st[0].Usable != 2 {
		t.Errorf("status %+v, want the old pool", st)
	}
}

func TestReloadKeepsWhatWasSet(t *testing.T) {
	pool := mainPool(place.Shared, 3)
	s := newSingle(t, Options{}, pool)
	if err := s.SetAdmin("main", "store1", Drain); err != nil {
		t.Fatal(err)
	}
	s.SetHealth("main", "store2", false)
	if err := s.Update([]Pool{pool}); err != nil {
		t.Fatal(err)
	}
	states := func() string {
		var words []string
		for _, b := range s.Status()[0].Backends {
			words = append(words, b.State)
		}
		return strings.Join(words, " ")
	}
	if got, want := states(), "drain down up"; got != want {
		t.Errorf("after a reload without changes: %s, want %s", got, want)
	}
	pool.Backends = slices.Clone(pool.Backends)
	pool.Backends[0].Admin = Down
	if err := s.Update([]Pool{pool}); err != nil {
		t.Fatal(err)
	}
	if got, want := states(), "down down up"; got != want {
		t.Errorf("after the file says down: %s, want %s", got, want)
	}
	pool.Backends[0].Admin = Active
	if err := s.Update([]Pool{pool}); err != nil {
		t.Fatal(err)
	}
	if got, want := states(), "up down up"; got != want {
		t.Errorf("after the file says active: %s, want %s", got, want)
	}
}

func TestUpdateSetsDownAndKicks(t *testing.T) {
	var d desk
	pool := mainPool(place.Shared, 3)
	s := newSingle(t, Options{Kick: d.kick}, pool)
	_, _, release := login(t, s, userOf(t, s, "store1"))
	defer release()
	pool.Backends = slices.Clone(pool.Backends)
	pool.Backends[0].Admin = Down
	pool.Backends[1].Admin = Down // nobody is there
	if err := s.Update([]Pool{pool}); err != nil {
		t.Fatal(err)
	}
	if got := d.log(); !slices.Equal(got, []string{"main//store1"}) {
		t.Errorf("kicks %q, want main//store1", got)
	}
}

// TestRemovedBackend: a reload leaves sessions alone, the user's next login
// moves him.
func TestRemovedBackend(t *testing.T) {
	for _, storage := range []place.Storage{place.Shared, place.Local} {
		t.Run(storage.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d desk
				pool := mainPool(storage, 3)
				s := newSingle(t, Options{Kick: d.kick}, pool)
				user := userOf(t, s, "store1")
				b, _, release := login(t, s, user)
				sitting := d.sit(user, b)
				go func() { <-sitting.closed; release() }()

				pool.Backends = pool.Backends[1:]
				if err := s.Update([]Pool{pool}); err != nil {
					t.Fatal(err)
				}
				if got := d.log(); len(got) != 0 {
					t.Errorf("kicks %q at reload, want none", got)
				}
				if st := s.Status()[0].Backends[0]; st.State != "removed" || st.Users != 1 {
					t.Errorf("status of store1 is %+v, want removed with one user", st)
				}
				if err := s.SetAdmin("main", "store1", Down); !errors.Is(err, ErrUnknownBackend) {
					t.Errorf("SetAdmin of a removed back end: %v, want ErrUnknownBackend", err)
				}
				b, _, release2 := login(t, s, user)
				defer release2()
				if b == "store1" {
					t.Error("placed on a back end that is not configured")
				}
				if got, want := d.log(), []string{"main/" + user + "/store1"}; !slices.Equal(got, want) {
					t.Errorf("kicks %q, want %q", got, want)
				}
				if n := len(s.Status()[0].Backends); n != 2 {
					t.Errorf("%d back ends after the last user left, want 2", n)
				}
			})
		})
	}
}

func TestRemovedBackendComesBack(t *testing.T) {
	s := newSingle(t, Options{}, mainPool(place.Shared, 3))
	user := userOf(t, s, "store3")
	_, _, release := login(t, s, user)
	for _, n := range []int{2, 3} {
		if err := s.Update([]Pool{mainPool(place.Shared, n)}); err != nil {
			t.Fatal(err)
		}
	}
	b, why, release2 := login(t, s, user)
	if b != "store3" || why != "stay" {
		t.Errorf("%s by %s, want store3 by stay", b, why)
	}
	release()
	release2()
	if n := len(s.Status()[0].Backends); n != 3 {
		t.Errorf("%d back ends, want 3", n)
	}
}

func TestRemovedPool(t *testing.T) {
	s := newSingle(t, Options{}, mainPool(place.Shared, 3))
	user := userOf(t, s, "store1")
	_, _, release := login(t, s, user)
	if err := s.Update(nil); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := s.Place(t.Context(), "main", user); !errors.Is(err, ErrNoPool) {
		t.Errorf("Place: error %v, want ErrNoPool", err)
	}
	if _, err := s.Where("main", user); !errors.Is(err, ErrNoPool) {
		t.Errorf("Where: error %v, want ErrNoPool", err)
	}
	if err := s.SetAdmin("main", "store1", Down); !errors.Is(err, ErrNoPool) {
		t.Errorf("SetAdmin: error %v, want ErrNoPool", err)
	}
	if err := s.SetPins("main", nil); !errors.Is(err, ErrNoPool) {
		t.Errorf("SetPins: error %v, want ErrNoPool", err)
	}
	s.SetHealth("main", "store1", false) // a late word
	s.SetHealth("never", "was", false)
	release()
	if len(s.pools) != 0 || len(s.users) != 0 {
		t.Errorf("%d pools and %d users left, want none", len(s.pools), len(s.users))
	}
	if err := s.Update([]Pool{{Name: "empty"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(nil); err != nil || len(s.pools) != 0 {
		t.Errorf("error %v, %d pools left, want none", err, len(s.pools))
	}
}

func TestAdminText(t *testing.T) {
	for _, a := range []Admin{Active, Drain, Down} {
		text, err := a.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back Admin
		if err := back.UnmarshalText(text); err != nil || back != a {
			t.Errorf("%s reads as %v, %v", text, back, err)
		}
	}
	if _, err := Admin(9).MarshalText(); err == nil {
		t.Error("an unknown state is written")
	}
	var a Admin
	if err := a.UnmarshalText([]byte("maint")); err == nil {
		t.Error("an unknown word is read")
	}
	s := newSingle(t, Options{}, mainPool(place.Shared, 1))
	if err := s.SetAdmin("main", "store1", 9); err == nil {
		t.Error("an unknown state is set")
	}
}
