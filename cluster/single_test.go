package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"usher.example/cluster/place"
)

// mainPool returns a pool of that many back ends, store1 and so on.
func mainPool(storage place.Storage, n int) Pool {
	p := Pool{Name: "main", Storage: storage}
	for i := range n {
		p.Backends = append(p.Backends, Backend{Name: fmt.Sprintf("store%d", i+1), Weight: 100})
	}
	return p
}

func newSingle(t testing.TB, o Options, pools ...Pool) *Single {
	t.Helper()
	s := NewSingle(o)
	if err := s.Update(pools); err != nil {
		t.Fatal(err)
	}
	return s
}

// login places a user and fails the test if that fails.
func login(t testing.TB, s *Single, user string) (backend, why string, release func()) {
	t.Helper()
	backend, why, hold, err := s.Place(t.Context(), "main", user)
	if err != nil {
		t.Fatalf("Place(%s): %v", user, err)
	}
	return backend, why, func() { s.Release(hold) }
}

// userOf returns a user whose home is the back end.
func userOf(t testing.TB, s *Single, backend string) string {
	t.Helper()
	for i := range 1000 {
		user := fmt.Sprintf("user%d", i)
		w, err := s.Where("main", user)
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
	s := newSingle(t, Options{Names: place.Names{LowerCase: true, DefaultDomain: "example.org"}}, mainPool(place.Shared, 3))
	home, why, release := login(t, s, "joe")
	if why != "home" {
		t.Errorf("first login: why %q, want home", why)
	}
	for _, name := range []string{"joe", "JOE", "Joe@example.org"} {
		b, why, release := login(t, s, name)
		if b != home || why != "stay" {
			t.Errorf("%s while joe is live: %s by %s, want %s by stay", name, b, why, home)
		}
		release()
	}
	if got, want := s.Normal("JOE"), "joe@example.org"; got != want {
		t.Errorf("Normal(JOE) = %q, want %q", got, want)
	}
	release()
	for range 1000 {
		b, why, release := login(t, s, "joe@EXAMPLE.org")
		release()
		if b != home || why != "home" {
			t.Fatalf("later login: %s by %s, want %s by home", b, why, home)
		}
	}
}

func TestReleaseTwiceIsOnce(t *testing.T) {
	s := newSingle(t, Options{}, mainPool(place.Shared, 3))
	_, _, first := login(t, s, "joe")
	_, _, second := login(t, s, "joe")
	first()
	first()
	if w, _ := s.Where("main", "joe"); w.Holds != 1 {
		t.Errorf("%d holds after one of two was released twice, want 1", w.Holds)
	}
	second()
	first()
	if w, _ := s.Where("main", "joe"); w.Holds != 0 || w.Stay != "" {
		t.Errorf("after all releases: %+v, want nobody live", w)
	}
}

func TestFailedLoginsLeaveNothing(t *testing.T) {
	s := newSingle(t, Options{}, mainPool(place.Shared, 3))
	for i := range 10000 {
		_, _, release := login(t, s, fmt.Sprintf("guess%d", i))
		release()
	}
	if n := len(s.users); n != 0 {
		t.Errorf("%d users in the table, want 0", n)
	}
	for _, b := range s.Status()[0].Backends {
		if b.Users != 0 || b.Holds != 0 {
			t.Errorf("%s has %d users and %d holds, want none", b.Name, b.Users, b.Holds)
		}
	}
}

// TestStay changes everything that must not move a live user.
func TestStay(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(s *Single) error
	}{
		{"a back end is added", func(s *Single) error { return s.Update([]Pool{mainPool(place.Shared, 9)}) }},
		{"weights change", func(s *Single) error {
			p := mainPool(place.Shared, 3)
			p.Backends[0].Weight = 0
			return s.Update([]Pool{p})
		}},
		{"his back end drains", func(s *Single) error { return s.SetAdmin("main", "store1", Drain) }},
		{"another goes down", func(s *Single) error { s.SetHealth("main", "store2", false); return nil }},
		{"storage becomes local", func(s *Single) error { return s.Update([]Pool{mainPool(place.Local, 3)}) }},
		{"he is pinned elsewhere", func(s *Single) error {
			return s.SetPins("main", Pins{"user0": "store2", "user1": "store2", "user2": "store2", "user3": "store2"})
		}},
		{"a configuration is refused", func(s *Single) error {
			if err := s.Update([]Pool{{}}); err == nil {
				return errors.New("no error")
			}
			return nil
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			kicked := false
			s := newSingle(t, Options{Kick: func(_, _, b string) { kicked = kicked || b == "store1" }}, mainPool(place.Shared, 3))
			user := userOf(t, s, "store1")
			_, _, release := login(t, s, user)
			defer release()
			if err := tt.change(s); err != nil {
				t.Fatal(err)
			}
			b, why, release2 := login(t, s, user)
			defer release2()
			if b != "store1" || why != "stay" {
				t.Errorf("%s by %s, want store1 by stay", b, why)
			}
			if kicked {
				t.Error("sessions were closed")
			}
		})
	}
}

func TestDrainTakesNoNewUsers(t *testing.T) {
	s := newSingle(t, Options{}, mainPool(place.Shared, 3))
	user := userOf(t, s, "store1")
	if err := s.SetAdmin("main", "store1", Drain); err != nil {
		t.Fatal(err)
	}
	b, why, release := login(t, s, user)
	defer release()
	if b == "store1" || why != "home" {
		t.Errorf("%s by %s, want another by home", b, why)
	}
}

func TestNoBackendSaysWhichAndWhy(t *testing.T) {
	pool := mainPool(place.Shared, 4)
	pool.Backends[3].Weight = 0
	s := newSingle(t, Options{}, pool)
	s.SetHealth("main", "store1", false)
	for b, state := range map[string]Admin{"store2": Down, "store3": Drain} {
		if err := s.SetAdmin("main", b, state); err != nil {
			t.Fatal(err)
		}
	}
	_, _, hold, err := s.Place(t.Context(), "main", "joe")
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
	if len(s.users) != 0 {
		t.Errorf("%d users in the table, want 0", len(s.users))
	}
	if _, _, _, err := s.Place(t.Context(), "other", "joe"); !errors.Is(err, ErrNoPool) {
		t.Errorf("unknown pool: error %v, want ErrNoPool", err)
	}
}

func TestLocalStorageMovesNobody(t *testing.T) {
	s := newSingle(t, Options{Kick: func(_, _, b string) { t.Errorf("sessions on %s were closed", b) }}, mainPool(place.Local, 3))
	user := userOf(t, s, "store1")
	s.SetHealth("main", "store1", false)
	_, _, _, err := s.Place(t.Context(), "main", user)
	if want := "pool main: no usable back end but the user's own: store1 (health)"; !errors.Is(err, ErrNoBackend) || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	s.SetHealth("main", "store1", true)
	b, _, release := login(t, s, user)
	defer release()
	if b != "store1" {
		t.Errorf("%s after its return, want store1", b)
	}
	s.SetHealth("main", "store1", false)
	if _, _, _, err := s.Place(t.Context(), "main", user); !errors.Is(err, ErrNoBackend) {
		t.Errorf("error %v while he is live on a back end that is down, want ErrNoBackend", err)
	}
	if err := s.SetPins("main", Pins{user: "store3"}); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := s.Place(t.Context(), "main", user); err == nil || !strings.Contains(err.Error(), "store1 (health)") {
		t.Errorf("error %v after he was pinned elsewhere, want one about store1: he is live there", err)
	}
	if err := s.SetAdmin("main", "store2", Drain); err != nil {
		t.Fatal(err)
	}
	b, _, release2 := login(t, s, userOf(t, s, "store2"))
	defer release2()
	if b != "store2" {
		t.Errorf("%s while store2 drains, want store2: nobody else has the mail", b)
	}
}

func TestStoppedBackendMovesOnlyItsOwn(t *testing.T) {
	s := newSingle(t, Options{}, mainPool(place.Shared, 4))
	was := map[string]string{}
	for i := range 1000 {
		user := fmt.Sprintf("user%d", i)
		b, _, release := login(t, s, user)
		release()
		was[user] = b
	}
	s.SetHealth("main", "store3", false)
	moved := 0
	for user, old := range was {
		b, _, release := login(t, s, user)
		release()
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

// desk is a session table as a balancer has one: Kick closes what is in it.
type desk struct {
	mu       sync.Mutex
	sessions map[*sitting]struct{}
	kicks    []string
}

type sitting struct {
	user, backend string
	closed        chan struct{}
	once          sync.Once
}

func (d *desk) sit(user, backend string) *sitting {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sessions == nil {
		d.sessions = map[*sitting]struct{}{}
	}
	s := &sitting{user: user, backend: backend, closed: make(chan struct{})}
	d.sessions[s] = struct{}{}
	return s
}

func (d *desk) leave(s *sitting) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.sessions, s)
}

func (d *desk) kick(pool, user, backend string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kicks = append(d.kicks, strings.Join([]string{pool, user, backend}, "/"))
	for s := range d.sessions {
		if s.backend == backend && (user == "" || s.user == user) {
			s.once.Do(func() { close(s.closed) })
		}
	}
}

func (d *desk) log() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.kicks)
}

func TestKickBeforeMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const closing = 40 * time.Millisecond // of the connection to the back end
		var d desk
		s := newSingle(t, Options{Kick: d.kick}, mainPool(place.Shared, 3))
		user := userOf(t, s, "store1")
		b, _, release := login(t, s, user)
		sitting := d.sit(user, b)
		go func() {
			<-sitting.closed
			time.Sleep(closing)
			release()
		}()
		s.SetHealth("main", "store1", false)
		if got := d.log(); !slices.Equal(got, []string{"main//store1"}) {
			t.Errorf("kicks %q, want main//store1", got)
		}
		w, _ := s.Where("main", user)
		if w.Stay != "store1" || w.Place == "store1" || !strings.Contains(w.Error, "1 sessions on store1 have to end") {
			t.Errorf("while he is moved: %+v", w)
		}
		start := time.Now()
		b, why, release2 := login(t, s, user)
		defer release2()
		if waited := time.Since(start); waited != closing {
			t.Errorf("login waited %v, want %v", waited, closing)
		}
		if b == "store1" || why != "home" {
			t.Errorf("%s by %s, want another by home", b, why)
		}
		if s.Stats().Moves.Load() != 1 {
			t.Errorf("%d moves counted, want 1", s.Stats().Moves.Load())
		}
	})
}

// TestMissedSessionIsKickedAgain: a session that took its hold before its back
// end went down, and entered the session table after the kick.
func TestMissedSessionIsKickedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d desk
		s := newSingle(t, Options{Kick: d.kick}, mainPool(place.Shared, 3))
		user := userOf(t, s, "store1")
		b, _, release := login(t, s, user)
		s.SetHealth("main", "store1", false)
		var late *sitting
		time.AfterFunc(kickAgain/2, func() {
			late = d.sit(user, b)
			go func() { <-late.closed; release() }()
		})
		start := time.Now()
		b, _, release2 := login(t, s, user)
		defer release2()
		if waited := time.Since(start); b == "store1" || waited != kickAgain {
			t.Errorf("on %s after %v, want another after %v", b, waited, kickAgain)
		}
		if got, want := d.log(), []string{"main//store1", "main/" + user + "/store1", "main/" + user + "/store1"}; !slices.Equal(got, want) {
			t.Errorf("kicks %q, want %q", got, want)
		}
	})
}

func TestMoveIsBounded(t *testing.T) {
	for _, tt := range []struct {
		name  string
		limit time.Duration // of the context; zero: none
		want  time.Duration
		cause error
	}{
		{"by MoveWait", 0, DefaultMoveWait, ErrMoving},
		{"by the context", time.Second, time.Second, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSingle(t, Options{}, mainPool(place.Shared, 3))
				user := userOf(t, s, "store1")
				_, _, release := login(t, s, user)
				defer release()
				s.SetHealth("main", "store1", false)
				ctx := t.Context()
				if tt.limit > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.limit)
					defer cancel()
				}
				start := time.Now()
				_, _, _, err := s.Place(ctx, "main", user)
				if waited := time.Since(start); !errors.Is(err, ErrMoving) || !errors.Is(err, tt.cause) || waited != tt.want {
					t.Errorf("error %v after %v, want %v after %v", err, waited, tt.cause, tt.want)
				}
				if s.waiting != 0 {
					t.Errorf("%d logins wait, want 0", s.waiting)
				}
			})
		})
	}
}

func TestWaitersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSingle(t, Options{MaxWaiting: 2}, mainPool(place.Shared, 3))
		user := userOf(t, s, "store1")
		_, _, release := login(t, s, user)
		s.SetHealth("main", "store1", false)
		var wg sync.WaitGroup
		places := make(chan string, 2)
		for range 2 {
			wg.Go(func() {
				b, _, hold, err := s.Place(t.Context(), "main", user)
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Release(hold)
				places <- b
			})
		}
		synctest.Wait()
		if _, _, _, err := s.Place(t.Context(), "main", user); !errors.Is(err, ErrMoving) {
			t.Errorf("third: error %v, want ErrMoving", err)
		}
		release()
		wg.Wait()
		if a, b := <-places, <-places; a != b || a == "store1" {
			t.Errorf("the two that waited are on %s and %s, want the same other one", a, b)
		}
	})
}

func TestBackendReturnsWhileAMoveWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSingle(t, Options{}, mainPool(place.Shared, 3))
		user := userOf(t, s, "store1")
		_, _, release := login(t, s, user)
		defer release()
		s.SetHealth("main", "store1", false)
		time.AfterFunc(time.Second+kickAgain/2, func() { s.SetHealth("main", "store1", true) })
		b, why, release2 := login(t, s, user)
		defer release2()
		if b != "store1" || why != "stay" {
			t.Errorf("%s by %s, want store1 by stay", b, why)
		}
	})
}

func TestNobodyIsKickedWithoutAPlaceToGo(t *testing.T) {
	var d desk
	s := newSingle(t, Options{Kick: d.kick}, mainPool(place.Shared, 2))
	user := userOf(t, s, "store1")
	_, _, release := login(t, s, user)
	defer release()
	s.SetHealth("main", "store2", false)
	s.SetHealth("main", "store1", false)
	if got := d.log(); len(got) != 0 {
		t.Errorf("kicks %q, want none", got)
	}
	if _, _, _, err := s.Place(t.Context(), "main", user); !errors.Is(err, ErrNoBackend) {
		t.Errorf("error %v, want ErrNoBackend at once", err)
	}
}
