package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// patience bounds what a test waits for; nothing waits that long when it works.
const patience = 30 * time.Second

// A sitter is the balancer of a test: it knows the sessions of its node.
type sitter struct {
	mu       sync.Mutex
	f        *Fleet
	sessions map[uint64]string // hold: user@backend
	gate     int64
	slow     chan struct{} // if not nil, closes wait for it
}

func (s *sitter) Leave(_, _ string, holds []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for hold := range s.sessions {
		if slices.Contains(holds, hold) {
			delete(s.sessions, hold)
			go func() {
				if s.slow != nil {
					<-s.slow
				}
				s.f.Release(hold)
			}()
		}
	}
}
func (s *sitter) Kick(string, string) int         { return 0 }
func (s *sitter) Sessions(string) ([]byte, error) { return []byte("[]"), nil }
func (s *sitter) Gate(until int64)                { s.mu.Lock(); defer s.mu.Unlock(); s.gate = until }

func (s *sitter) count() int { s.mu.Lock(); defer s.mu.Unlock(); return len(s.sessions) }

// login places a user and keeps him there.
func (s *sitter) login(t testing.TB, user string) (backend, why string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	backend, why, hold, err := s.f.Place(ctx, "main", user)
	if err != nil {
		t.Fatalf("%s: %v", user, err)
	}
	if err := s.f.Still(hold); err != nil {
		t.Fatal(err)
	}
	s.f.Confirm(hold)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[hold] = backend
	return backend, why
}

// out ends all sessions of the node.
func (s *sitter) out() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for hold := range s.sessions {
		s.f.Release(hold)
		delete(s.sessions, hold)
	}
}

func testLog(t testing.TB) *slog.Logger {
	if os.Getenv("USHER_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.NewTextHandler(io.Discard, nil))
}

// openNode opens and runs a node until the end of the test.
func openNode(t testing.TB, o FleetOptions, pools ...Pool) *sitter {
	t.Helper()
	s, end := startNode(t, o, pools...)
	t.Cleanup(end)
	return s
}

// opened is called with each node that is opened, before it runs.
var opened = func(*Fleet) {}

// startNode opens and runs a node until end is called.
func startNode(t testing.TB, o FleetOptions, pools ...Pool) (s *sitter, end func()) {
	t.Helper()
	s = &sitter{sessions: make(map[uint64]string)}
	if o.Log == nil {
		o.Log = testLog(t)
	}
	if o.Local == nil {
		o.Local = s
	}
	o.Log = watchKeys(t, o.Log).With("node", o.Node, "fleet", o.Fleet) // as usher does
	f, err := OpenFleet(o)
	if err != nil {
		t.Fatal(err)
	}
	s.f = f
	opened(f)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx) }()
	if len(pools) > 0 {
		if err := f.Update(pools); err != nil {
			t.Fatal(err)
		}
	}
	return s, func() { stop(); <-done; f.Close() }
}

func await(t testing.TB, s *sitter) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.f.Await(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestFleetOfOne(t *testing.T) {
	dir := t.TempDir()
	s := openNode(t, FleetOptions{State: dir, KickDelay: 50 * time.Millisecond}, mainPool(place.Shared, 3))
	began := time.Now()
	await(t, s)
	t.Logf("ready after %v", time.Since(began))
	b, why := s.login(t, "joe")
	if why != place.ByHome {
		t.Errorf("%s by %s", b, why)
	}
	other := "store1"
	if b == other {
		other = "store2"
	}
	began = time.Now()
	if err := s.f.Move(t.Context(), "main", "joe", other, "test"); err != nil {
		t.Fatal(err)
	}
	t.Logf("moved after %v", time.Since(began))
	if n := s.count(); n != 0 {
		t.Errorf("%d sessions are left where he was", n)
	}
	if b, why := s.login(t, "joe"); b != other || why != place.ByPin {
		t.Errorf("%s by %s, want %s by pin", b, why, other)
	}
	if err := s.f.SetAdmin(t.Context(), "main", other, table.Down, "test"); err != nil {
		t.Fatal(err)
	}
	if b, why := s.login(t, "joe"); b == other || why != place.ByHome {
		t.Errorf("%s by %s after %s is down", b, why, other)
	}
}

// TestOpenAgain holds that an end, of either kind, leaves nothing open that the next
// start in the same process would wait for.
func TestOpenAgain(t *testing.T) {
	o := FleetOptions{State: t.TempDir(), Log: testLog(t)}
	for _, end := range []func(*Fleet){(*Fleet).Abandon, (*Fleet).Close, (*Fleet).Close} {
		opened := make(chan *Fleet, 1)
		go func() { // ends with the opening
			f, err := OpenFleet(o)
			if err != nil {
				t.Error(err)
			}
			opened <- f
		}()
		select {
		case f := <-opened:
			if f == nil {
				return
			}
			end(f)
		case <-time.After(patience):
			t.Fatal("the state directory cannot be opened again")
		}
	}
}

// trio opens a fleet of three.
func trio(t testing.TB, change func(o *FleetOptions)) []*sitter {
	t.Helper()
	secret := NewSecret()
	names := []string{"edge-1", "edge-2", "edge-3"}
	var nodes []*sitter
	var join []string
	for _, name := range names {
		o := FleetOptions{
			Fleet: "test", Node: name, Secrets: []Secret{secret}, Bind: "127.0.0.1:0", Join: join, Voters: names,
			State: filepath.Join(t.TempDir(), name), KickDelay: 200 * time.Millisecond,
		}
		if change != nil {
			change(&o)
		}
		s := openNode(t, o, mainPool(place.Shared, 3))
		join = append(join, s.f.port.advertise.String())
		nodes = append(nodes, s)
	}
	return nodes
}

func TestThreeNodes(t *testing.T) {
	nodes := trio(t, nil)
	began := time.Now()
	for _, s := range nodes {
		await(t, s)
	}
	t.Logf("three nodes serve after %v", time.Since(began))
	for i := range 20 {
		user := fmt.Sprintf("user%d", i)
		var at []string
		for _, s := range nodes {
			b, _ := s.login(t, user)
			at = append(at, b)
		}
		if at[0] != at[1] || at[1] != at[2] {
			t.Errorf("%s is on %v", user, at)
		}
	}
	began = time.Now()
	if err := nodes[1].f.SetAdmin(t.Context(), "main", "store1", table.Draining, "test"); err != nil {
		t.Fatal(err)
	}
	until(t, "the drain to be the view", func() bool {
		st := nodes[2].f.Status()[0].Backends[0]
		return st.State == "drain"
	})
	t.Logf("drained after %v, stays %d", time.Since(began), nodes[0].f.Overview().Stays)
	for i := range 20 {
		w, err := nodes[0].f.Where("main", fmt.Sprintf("user%d", i))
		if err != nil || w.Error != "" || w.Place != w.Stay {
			t.Errorf("%+v, %v", w, err)
		}
	}
	began = time.Now()
	w, _ := nodes[0].f.Where("main", "user1")
	target := "store2"
	if w.Place == target {
		target = "store3"
	}
	if err := nodes[2].f.Move(t.Context(), "main", "user1", target, "test"); err != nil {
		t.Fatal(err)
	}
	t.Logf("moved after %v", time.Since(began))
	for _, s := range nodes {
		if b, why := s.login(t, "user1"); b != target || why != place.ByPin {
			t.Errorf("%s by %s, want %s", b, why, target)
		}
	}
	if err := nodes[0].f.Move(t.Context(), "main", "user2", "store9", "test"); !errors.Is(err, table.ErrNoBackend) {
		t.Errorf("a move to nowhere: %v", err)
	}
}

// until asks again and again whether something has come about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
