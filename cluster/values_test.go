package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

func put(t testing.TB, s *sitter, key, value string) {
	t.Helper()
	if err := s.f.Put(t.Context(), key, []byte(value)); err != nil {
		t.Fatal(err)
	}
}

// has wants a value on a node.
func has(t testing.TB, s *sitter, key, want string) {
	t.Helper()
	if got, err := s.f.Value(t.Context(), key); err != nil || string(got) != want {
		t.Errorf("%s at %s is %q, %v; want %q", key, s.f.o.Node, got, err, want)
	}
}

// sealedBy lists what values are sealed with.
func (s *sitter) sealedBy() []string {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	var list []string
	for _, v := range s.f.table.Values.Any() {
		list = append(list, v.By)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// TestOwnSealer: a node that is alone makes a key, keeps it to itself and finds its
// values with it after a restart; without it it says what is missing, and goes on.
func TestOwnSealer(t *testing.T) {
	o := FleetOptions{State: t.TempDir(), KickDelay: -1}
	path := filepath.Join(o.State, sealerFile)
	s, end := startNode(t, o, mainPool(place.Shared, 1))
	await(t, s)
	put(t, s, "a/key", "private")
	put(t, s, "c", "of before")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info, err)
	}
	by := s.sealedBy()
	end()

	s, end = startNode(t, o, mainPool(place.Shared, 1))
	await(t, s)
	has(t, s, "a/key", "private")
	end()

	if err := os.Rename(path, path+".lost"); err != nil {
		t.Fatal(err)
	}
	lines := make(tape, 1<<12)
	o.Log = slog.New(lines)
	s, end = startNode(t, o, mainPool(place.Shared, 1))
	await(t, s)
	_, err := s.f.Value(t.Context(), "c")
	if !errors.Is(err, ErrSealed) || !strings.Contains(err.Error(), "c was sealed") || !strings.Contains(err.Error(), by[0]) || !strings.Contains(err.Error(), sealerFile) {
		t.Errorf("without the key: %v", err)
	}
	put(t, s, "b", "with a new key")
	has(t, s, "b", "with a new key")
	put(t, s, "a/key", "obtained anew")
	has(t, s, "a/key", "obtained anew")
	end()
	said := 0
	for len(lines) > 0 {
		if r := <-lines; r.Level == slog.LevelError && strings.Contains(r.Message, "a new key") {
			said++
		}
	}
	if said != 1 {
		t.Errorf("it was said %d times that there are values without their key", said)
	}

	now, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lost, err := os.ReadFile(path + ".lost")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, slices.Concat(now, []byte("# found again\n"), lost), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Log = nil
	s, end = startNode(t, o, mainPool(place.Shared, 1))
	await(t, s)
	has(t, s, "a/key", "obtained anew")
	has(t, s, "b", "with a new key")
	has(t, s, "c", "of before")
	until(t, "all values to be sealed with the first key", func() bool { return len(s.sealedBy()) == 1 })
	end()

	if err := os.WriteFile(path, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFleet(o); !errors.Is(err, errSealerDamaged) {
		t.Errorf("with a damaged key: %v", err)
	}
}

// TestLoneValuesInAFleet: what a node had stored when it was alone is every node's once
// it has a fleet, sealed with the fleet's secret, and its own key is needed no more.
func TestLoneValuesInAFleet(t *testing.T) {
	o := FleetOptions{State: t.TempDir(), KickDelay: -1}
	s, end := startNode(t, o, mainPool(place.Shared, 3))
	await(t, s)
	put(t, s, "a/key", "private")
	end()

	secret, names := NewSecret(), []string{"edge-1", "edge-2"}
	o.Fleet, o.Node, o.Secrets, o.Bind, o.Voters = "test", "edge-1", []Secret{secret}, "127.0.0.1:0", names[:1]
	first, end := startNode(t, o, mainPool(place.Shared, 3))
	await(t, first)
	has(t, first, "a/key", "private")
	second := o
	second.Node, second.State, second.Join = "edge-2", t.TempDir(), []string{first.f.port.advertise.String()}
	other := openNode(t, second, mainPool(place.Shared, 3))
	await(t, other)
	until(t, "the values to be sealed with the fleet's secret", func() bool {
		return slices.Equal(other.sealedBy(), []string{secret.Print()})
	})
	has(t, other, "a/key", "private")
	put(t, other, "b", "by the other")
	has(t, first, "b", "by the other")
	end()
	if err := os.Remove(filepath.Join(o.State, sealerFile)); err != nil {
		t.Fatal(err)
	}
	first, end = startNode(t, o, mainPool(place.Shared, 3))
	defer end()
	until(t, "the log to be read", func() bool { _, err := first.f.Value(t.Context(), "b"); return err == nil })
	has(t, first, "a/key", "private")
}

// TestValuesAreSealedAnew exchanges the secret of a fleet that runs: a version goes only
// when nothing is sealed with it any more, and readers see no change.
func TestValuesAreSealedAnew(t *testing.T) {
	old, next := NewSecret(), NewSecret()
	nodes := trio(t, func(o *FleetOptions) { o.Secrets = []Secret{old} })
	for _, s := range nodes {
		await(t, s)
	}
	for i := range 30 {
		put(t, nodes[i%3], fmt.Sprintf("k/%d", i), fmt.Sprintf("value %d", i))
	}
	w := nodes[1].f.Watch("")
	s := nodes[0]
	s.f.mu.Lock()
	err := s.f.mayUnseal([]Secret{old}, []Secret{next})
	s.f.mu.Unlock()
	if err == nil || !strings.Contains(err.Error(), "30 values") {
		t.Errorf("a version that is needed still may go: %v", err)
	}
	for _, list := range [][]Secret{{old, next}, {next, old}, {next}} {
		for _, s := range nodes {
			until(t, "the step to be taken", func() bool {
				err := s.f.SetSecrets(list)
				if err != nil && !strings.Contains(err.Error(), "try again") {
					t.Fatal(err)
				}
				return err == nil
			})
		}
	}
	for _, s := range nodes {
		if by := s.sealedBy(); !slices.Equal(by, []string{next.Print()}) {
			t.Errorf("%s has values sealed with %v", s.f.o.Node, by)
		}
		for i := range 30 {
			has(t, s, fmt.Sprintf("k/%d", i), fmt.Sprintf("value %d", i))
		}
	}
	put(t, nodes[0], "z", "new")
	if keys, err := w.Next(t.Context()); err != nil || !slices.Equal(keys, []string{"z"}) {
		t.Errorf("what changed is %q, %v: to be sealed anew is no change", keys, err)
	}
}

// TestWatch: each key is told once, however often it changed; also what comes by a
// snapshot, and what is gone.
func TestWatch(t *testing.T) {
	s := alone(t, FleetOptions{State: t.TempDir()}, mainPool(place.Shared, 1))
	put(t, s, "a/before", "x")
	put(t, s, "b/other", "x")
	w, all := s.f.Watch("a"), s.f.Watch("")
	next := func(w *Watch, want ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if got, err := w.Next(ctx); err != nil || !slices.Equal(got, want) {
			t.Errorf("told of %q, %v; want %q", got, err, want)
		}
	}
	got := make(chan []string)
	go func() {
		keys, _ := w.Next(t.Context()) // is compared below
		got <- keys
	}()
	put(t, s, "b/other", "y") // is not told
	put(t, s, "a/c/d", "x")
	select {
	case keys := <-got:
		if !slices.Equal(keys, []string{"a/c/d"}) {
			t.Errorf("told of %q while waiting", keys)
		}
	case <-time.After(patience):
		t.Fatal("who waits is not told")
	}
	for range 3 {
		put(t, s, "a/c/d", "x")
	}
	put(t, s, "ab", "x")
	if err := s.f.Remove(t.Context(), "a/before"); err != nil {
		t.Fatal(err)
	}
	next(w, "a/before", "a/c/d")
	next(all, "a/before", "a/c/d", "ab", "b/other")

	snapshot := table.New()
	snapshot.LastValue = s.f.table.LastValue + 9
	var b bytes.Buffer
	by, sealed := s.f.sealValue("a/n", []byte("x"))
	for _, c := range []table.Command{table.Put{Key: "a/n", By: by, Sealed: sealed}} {
		if err := snapshot.Apply(c, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := snapshot.Save(&b); err != nil {
		t.Fatal(err)
	}
	if err := (*machine)(s.f).Restore(nopCloser{&b}); err != nil {
		t.Fatal(err)
	}
	next(w, "a/c/d", "a/n")
	next(all, "a/c/d", "a/n", "ab", "b/other")
	ended, end := context.WithCancel(t.Context())
	end()
	if keys, err := w.Next(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("with nothing new: %q, %v", keys, err)
	}
}

type nopCloser struct{ *bytes.Buffer }

func (nopCloser) Close() error { return nil }

// TestQuestionsAreFew: many who ask at the same time for what nobody has cost the leader
// one question, not one each.
func TestQuestionsAreFew(t *testing.T) {
	s := alone(t, FleetOptions{}, mainPool(place.Shared, 1))
	if err := s.f.Fresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := s.f.raft.LastIndex()
	began := time.Now()
	done := make(chan error)
	const many = 1000
	for i := range many {
		go func() {
			_, err := s.f.Value(t.Context(), fmt.Sprintf("stranger%d", i))
			done <- err
		}()
	}
	for range many {
		if err := <-done; !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	asked, bound := s.f.raft.LastIndex()-before, uint64(time.Since(began)/freshAgain)+2
	if asked > bound || asked == 0 {
		t.Errorf("%d entries for %d questions, at most %d were to be", asked, many, bound)
	}
	if s.f.raft.State() != raft.Leader {
		t.Error("it leads no more")
	}
}
