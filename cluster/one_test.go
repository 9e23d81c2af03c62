package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"usher.example/cluster/lead"
	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// mainPool returns a pool of that many back ends, store1 and so on.
func mainPool(storage place.Storage, n int) Pool {
	p := Pool{Name: "main", Storage: storage}
	for i := range n {
		p.Backends = append(p.Backends, Backend{Name: fmt.Sprintf("store%d", i+1), Weight: 100})
	}
	return p
}

// alone is a fleet of one in memory that serves; unless the options say otherwise
// nothing is waited for after a close.
func alone(t testing.TB, o FleetOptions, pools ...Pool) *sitter {
	t.Helper()
	if o.KickDelay == 0 {
		o.KickDelay = -1
	}
	s := openNode(t, o, pools...)
	await(t, s)
	return s
}

// update puts pools into force.
func (s *sitter) update(t testing.TB, pools ...Pool) {
	t.Helper()
	if err := s.f.Update(pools); err != nil {
		t.Fatal(err)
	}
	s.settle(t)
}

// settle waits until logins go by what is configured, and nothing changes.
func (s *sitter) settle(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := errors.Join(s.f.Settle(ctx), s.f.Pinned(ctx)); err != nil {
		t.Fatal(err)
	}
}

// health says whether a back end answers, and waits until the view has it.
func (s *sitter) health(t testing.TB, backend string, up bool) {
	t.Helper()
	s.f.SetHealth("main", backend, up)
	until(t, "the verdict about "+backend, func() bool {
		if s.backend(backend).Up != up {
			return false
		}
		s.f.mu.Lock()
		defer s.f.mu.Unlock()
		return lead.Settled(s.f.table.Pools["main"])
	})
}

func (s *sitter) admin(t testing.TB, backend string, state table.Admin) {
	t.Helper()
	if err := s.f.SetAdmin(t.Context(), "main", backend, state, "test"); err != nil {
		t.Fatal(err)
	}
}

func (s *sitter) backend(name string) BackendStatus {
	for _, p := range s.f.Status() {
		for _, b := range p.Backends {
			if b.Name == name {
				return b
			}
		}
	}
	return BackendStatus{}
}

// states are the states of the pool's back ends, by name.
func (s *sitter) states() string {
	var words []string
	for _, b := range s.f.Status()[0].Backends {
		words = append(words, b.State)
	}
	return strings.Join(words, " ")
}

// visit places a user for a moment, and not as one who has logged in.
func (s *sitter) visit(t testing.TB, user string) (backend, why string) {
	t.Helper()
	backend, why, hold, err := s.f.Place(t.Context(), "main", user)
	if err != nil {
		t.Fatalf("%s: %v", user, err)
	}
	s.f.Release(hold)
	return backend, why
}

// userOf returns a user whose home is the back end.
func (s *sitter) userOf(t testing.TB, backend string) string {
	t.Helper()
	for i := range 1000 {
		user := fmt.Sprintf("user%d", i)
		w, err := s.f.Where("main", user)
		if err != nil {
			t.Fatal(err)
		}
		if w.Home == backend {
			return user
		}
	}
	t.Fatalf("nobody's home is %s", backend)
	return ""
}

func TestPlaceIsStable(t *testing.T) {
	s := alone(t, FleetOptions{Names: place.Names{LowerCase: true, DefaultDomain: "example.org"}}, mainPool(place.Shared, 3))
	home, _ := s.login(t, "joe")
	for _, name := range []string{"joe", "JOE", "Joe@example.org"} {
		if b, _ := s.visit(t, name); b != home {
			t.Errorf("%s while joe is live: %s, want %s", name, b, home)
		}
	}
	if got, want := s.f.Normal("JOE"), "joe@example.org"; got != want {
		t.Errorf("Normal(JOE) = %q, want %q", got, want)
	}
	s.out()
	for range 1000 {
		if b, why := s.visit(t, "joe@EXAMPLE.org"); b != home || why != place.ByHome {
			t.Fatalf("later login: %s by %s, want %s by home", b, why, home)
		}
	}
}

func TestReleaseTwiceIsOnce(t *testing.T) {
	s := alone(t, FleetOptions{}, mainPool(place.Shared, 3))
	var holds []uint64
	for range 2 {
		_, _, hold, err := s.f.Place(t.Context(), "main", "joe")
		if err != nil {
			t.Fatal(err)
		}
		holds = append(holds, hold)
	}
	s.f.Release(holds[0])
	s.f.Release(holds[0])
	if w, _ := s.f.Where("main", "joe"); w.Holds != 1 {
		t.Errorf("%d holds after one of two was released twice, want 1", w.Holds)
	}
	s.f.Release(holds[1])
	s.f.Release(holds[0])
	if w, _ := s.f.Where("main", "joe"); w.Holds != 0 || w.Stay != "" {
		t.Errorf("after all releases: %+v, want nobody live", w)
	}
}

// TestStay changes everything that must not move a live user.
func TestStay(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, s *sitter)
	}{
		{"a back end is added", func(t *testing.T, s *sitter) { s.update(t, mainPool(place.Shared, 9)) }},
		{"weights change", func(t *testing.T, s *sitter) {
			p := mainPool(place.Shared, 3)
			p.Backends[0].Weight = 0
			s.update(t, p)
		}},
		{"his back end drains", func(t *testing.T, s *sitter) { s.admin(t, "store1", table.Draining) }},
		{"storage becomes local", func(t *testing.T, s *sitter) { s.update(t, mainPool(place.Local, 3)) }},
		{"another goes down", func(t *testing.T, s *sitter) { s.health(t, "store2", false) }},
		{"a configuration is refused", func(t *testing.T, s *sitter) {
			if err := s.f.Update([]Pool{{}}); err == nil {
				t.Error("no error")
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := alone(t, FleetOptions{}, mainPool(place.Shared, 3))
			user := s.userOf(t, "store1")
			s.login(t, user)
			tt.change(t, s)
			if b, why := s.visit(t, user); b != "store1" {
				t.Errorf("%s by %s, want store1", b, why)
			}
			if s.count() != 1 {
				t.Error("his session was closed")
			}
		})
	}
}

func TestDrainTakesNoNewUsers(t *testing.T) {
	s := alone(t, FleetOptions{}, mainPool(place.Shared, 3))
	user := s.userOf(t, "store1")
	s.admin(t, "store1", table.Draining)
	if b, why := s.visit(t, user); b == "store1" || why != place.ByHome {
		t.Errorf("%s by %s, want another by home", b, why)
	}
}

func TestNoBackendSaysWhichAndWhy(t *testing.T) {
	pool := mainPool(place.Shared, 4)
	pool.Backends[3].Weight = 0
	s := alone(t, FleetOptions{}, pool)
	s.admin(t, "store2", table.Down)
	s.admin(t, "store3", table.Draining)
	s.health(t, "store1", false)
	_, _, hold, err := s.f.Place(t.Context(), "main", "joe")
	if !errors.Is(err, ErrNoBackend) || hold != 0 {
		t.Fatalf("error %v, hold %d, want ErrNoBackend and none", err, hold)
	}
	const want = "pool main: no usable back end: store1 (health), store2 (admin down), store3 (drain), store4 (weight 0)"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	var no *NoBackendError
	if !errors.As(err, &no) || no.Pool != "main" || len(no.Unusable) != 4 {
		t.Errorf("errors.As gives %+v", no)
	}
	if _, _, _, err := s.f.Place(t.Context(), "nowhere", "joe"); !errors.Is(err, ErrNoPool) {
		t.Errorf("unknown pool: error %v, want ErrNoPool", err)
	}
}

func TestLocalStorageMovesNobody(t *testing.T) {
	s := alone(t, FleetOptions{}, mainPool(place.Local, 3))
	user := s.userOf(t, "store1")
	s.health(t, "store1", false)
	_, _, _, err := s.f.Place(t.Context(), "main", user)
	if want := "pool main: no usable back end but the user's own: store1 (health)"; !errors.Is(err, ErrNoBackend) || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	s.health(t, "store1", true)
	if b, _ := s.login(t, user); b != "store1" {
		t.Errorf("%s after its return, want store1", b)
	}
	s.health(t, "store1", false)
	if _, _, _, err := s.f.Place(t.Context(), "main", user); !errors.Is(err, ErrNoBackend) {
		t.Errorf("error %v while he is live on a back end that is down, want ErrNoBackend", err)
	}
	if n := s.count(); n != 1 {
		t.Errorf("%d sessions, want the one that was there: nobody else could serve him", n)
	}
	s.admin(t, "store2", table.Draining)
	if b, _ := s.visit(t, s.userOf(t, "store2")); b != "store2" {
		t.Errorf("%s while store2 drains, want store2: nobody else has the mail", b)
	}
}

// TestLocalDown: an administrator's word closes sessions also where nobody else has the
// mail, and also of a back end that was down by its health before; health alone does not.
func TestLocalDown(t *testing.T) {
	s := alone(t, FleetOptions{}, mainPool(place.Local, 3))
	for _, sick := range []bool{false, true} {
		user, other := s.userOf(t, "store1"), s.userOf(t, "store2")
		s.login(t, user)
		s.login(t, other)
		if sick {
			s.health(t, "store1", false)
		}
		if n := s.count(); n != 2 {
			t.Fatalf("sick %v: %d sessions before the order", sick, n)
		}
		s.admin(t, "store1", table.Down)
		until(t, "the session at store1 is closed", func() bool { return s.count() == 1 })
		if _, _, _, err := s.f.Place(t.Context(), "main", user); !errors.Is(err, ErrNoBackend) {
			t.Errorf("sick %v: error %v while it is down, want ErrNoBackend", sick, err)
		}
		s.health(t, "store1", true)
		s.admin(t, "store1", table.Active)
		if b, _ := s.login(t, user); b != "store1" {
			t.Errorf("sick %v: %s after its return, want store1", sick, b)
		}
		s.out()
		until(t, "all are gone", func() bool { return s.count() == 0 })
	}
}

func TestStoppedBackendMovesOnlyItsOwn(t *testing.T) {
	s := alone(t, FleetOptions{}, mainPool(place.Shared, 4))
	was := map[string]string{}
	for i := range 1000 {
		user := fmt.Sprintf("user%d", i)
		was[user], _ = s.visit(t, user)
	}
	s.health(t, "store3", false)
	moved := 0
	for user, old := range was {
		b, _ := s.visit(t, user)
		if b != old {
			moved++
		}
		if b == "store3" || old != "store3" && b != old {
			t.Errorf("%s moved from %s to %s", user, old, b)
		}
	}
	if moved == 0 {
		t.Error("nobody moved")
	}
}

// TestKickBeforeMove: whoever was on a back end that died is placed when his
// connection there is closed and kick_delay is over, not before.
func TestKickBeforeMove(t *testing.T) {
	const delay = 100 * time.Millisecond
	s := alone(t, FleetOptions{KickDelay: delay}, mainPool(place.Shared, 3))
	s.slow = make(chan struct{})
	user := s.userOf(t, "store1")
	s.login(t, user)
	s.f.SetHealth("main", "store1", false)
	until(t, "his session to be closed", func() bool { return s.count() == 0 })
	short, cancel := context.WithTimeout(t.Context(), delay)
	defer cancel()
	if b, _, _, err := s.f.Place(short, "main", user); !errors.Is(err, ErrHeld) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while the connection closes: %s, %v; want ErrHeld", b, err)
	}
	if w, _ := s.f.Where("main", user); !strings.Contains(w.Error, "logins wait") {
		t.Errorf("while he is moved: %+v", w)
	}
	closed := time.Now()
	close(s.slow)
	if b, why := s.login(t, user); b == "store1" || why != place.ByHome {
		t.Errorf("%s by %s, want another by home", b, why)
	}
	if waited := time.Since(closed); waited < delay {
		t.Errorf("placed %v after the close, want %v at least", waited, delay)
	}
	if s.f.Stats().Moves.Load() != 1 || s.f.Stats().Expired.Load() != 1 {
		t.Errorf("%d moves and %d expired counted, want one of each", s.f.Stats().Moves.Load(), s.f.Stats().Expired.Load())
	}
}

func TestWaitersAreBounded(t *testing.T) {
	s := alone(t, FleetOptions{MaxHeld: 2}, mainPool(place.Shared, 3))
	s.slow = make(chan struct{})
	user := s.userOf(t, "store1")
	s.login(t, user)
	s.f.SetHealth("main", "store1", false)
	until(t, "his session to be closed", func() bool { return s.count() == 0 })
	var wg sync.WaitGroup
	places := make(chan string, 2)
	for range 2 {
		wg.Go(func() {
			b, _, hold, err := s.f.Place(t.Context(), "main", user)
			if err != nil {
				t.Error(err)
			}
			s.f.Release(hold)
			places <- b
		})
	}
	until(t, "two to wait", func() bool { s.f.mu.Lock(); defer s.f.mu.Unlock(); return s.f.held == 2 })
	if _, _, _, err := s.f.Place(t.Context(), "main", user); !errors.Is(err, ErrHeld) {
		t.Errorf("third: error %v, want ErrHeld", err)
	}
	close(s.slow)
	wg.Wait()
	if a, b := <-places, <-places; a != b || a == "store1" {
		t.Errorf("the two that waited are on %s and %s, want the same other one", a, b)
	}
}

func TestNobodyIsKickedWithoutAPlaceToGo(t *testing.T) {
	s := alone(t, FleetOptions{}, mainPool(place.Shared, 2))
	user := s.userOf(t, "store1")
	s.login(t, user)
	if got := s.f.Usable(); got["main"] != 2 {
		t.Errorf("usable are %v, want two of pool main", got)
	}
	s.health(t, "store2", false)
	s.health(t, "store1", false)
	if s.count() != 1 {
		t.Error("his session was closed")
	}
	if got := s.f.Usable(); got["main"] != 0 || len(got) != 1 {
		t.Errorf("usable are %v, want none of pool main", got)
	}
	if got := s.f.Status()[0]; got.Usable != 0 || got.Backends[0].State != "down" || got.Backends[1].State != "down" {
		t.Errorf("got %+v, want nobody usable", got)
	}
	if b, _ := s.visit(t, user); b != "store1" {
		t.Errorf("%s, want store1: it may be our own fault that it does not answer", b)
	}
}

// TestAloneRestarts: what administrators have set outlives the process, and who is
// alone serves at once by what it was.
func TestAloneRestarts(t *testing.T) {
	o := FleetOptions{State: t.TempDir(), KickDelay: 10 * time.Second}
	s, end := startNode(t, o, mainPool(place.Shared, 3))
	await(t, s)
	s.admin(t, "store1", table.Draining)
	user := s.userOf(t, "store2")
	if err := s.f.Move(t.Context(), "main", user, "store3", "test"); err != nil {
		t.Fatal(err)
	}
	end()
	began := time.Now()
	s = openNode(t, o, mainPool(place.Shared, 3))
	await(t, s)
	t.Logf("serves %v after the start", time.Since(began))
	if b, why := s.visit(t, user); b != "store3" || why != place.ByPin {
		t.Errorf("%s by %s, want store3 by pin", b, why)
	}
	if got, want := s.states(), "drain up up"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if waited := time.Since(began); waited > o.KickDelay/2 {
		t.Errorf("served after %v: nobody else is to be waited for", waited)
	}
}

// TestTellAtOnce has several loops tell gossip at the same time, as the manager, the
// keeper of pins and a change of the secret may: memberlist does not stand that by
// itself. The race detector is the judge.
func TestTellAtOnce(t *testing.T) {
	f := trio(t, nil)[0].f
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 10 {
				f.tell()
			}
		})
	}
	wg.Wait()
}
