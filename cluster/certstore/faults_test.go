package certstore_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"usher.example/cluster"
)

const (
	// takenOver is within what time another node gets the lock of one that was killed.
	takenOver = 20 * time.Second
	// refused is within what time a node without a majority says so: an election's time
	// and a command's.
	refused = 15 * time.Second
)

// TestHolderDies kills the leader of three while it has one lock, and another node has
// another: the first is free within 20 s, the second is kept by its holder over the
// election and longer than a lease; when that one is killed too, the last has what it
// has, reads it and says of writes why they cannot be.
func TestHolderDies(t *testing.T) {
	t.Parallel()
	nodes := trio(t)
	leads, others := leader(t, nodes)
	holder, waiter := others[0], others[1]
	ctx := t.Context()
	if err := errors.Join(leads.Lock(ctx, "order"), holder.Lock(ctx, "other order"), holder.Store.Store(ctx, "a/key", []byte("value"))); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	leads.kill()

	// It is the holder's for longer than a lease.
	long, cancel := context.WithTimeout(ctx, cluster.LockLease+5*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := waiter.Lock(long, "other order"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a lock that is held over an election, after %v: %v", time.Since(began), err)
		}
	})
	free, cancel := context.WithTimeout(ctx, takenOver)
	defer cancel()
	if err := waiter.Lock(free, "order"); err != nil {
		t.Fatalf("the lock of the leader that was killed: %v", err)
	}
	t.Logf("the lock of the leader that was killed is another's after %v", time.Since(began))
	wg.Wait()
	if err := errors.Join(holder.RenewLockLease(ctx, "other order", 0), holder.Unlock(ctx, "other order"), waiter.Unlock(ctx, "order")); err != nil {
		t.Error(err)
	}

	holder.kill()
	noQuorum(t, waiter)
}

// noQuorum holds a node that has lost its fleet to what it may do still.
func noQuorum(t *testing.T, n *node) {
	t.Helper()
	within := func(what string, do func() error) {
		began := time.Now()
		err := do()
		if took := time.Since(began); !errors.Is(err, cluster.ErrNoLeader) || took > refused {
			t.Errorf("%s without a majority, after %v: %v", what, took, err)
		}
		if err != nil && !strings.Contains(err.Error(), "edge-") {
			t.Errorf("%s does not say who is missed: %v", what, err)
		}
	}
	ctx := t.Context()
	until(t, "the leader to be missed", func() bool { return n.fleet.Overview().Leader == "" })
	until(t, "gossip to miss the others", func() bool { return len(n.fleet.MissingVoters()) > 0 })
	var wg sync.WaitGroup
	wg.Go(func() { within("Store", func() error { return n.Store.Store(ctx, "a/other", []byte("x")) }) })
	wg.Go(func() { within("Lock", func() error { return n.Lock(ctx, "lock") }) })
	wg.Go(func() { within("Delete", func() error { return n.Delete(ctx, "a/key") }) })
	wg.Go(func() {
		within("Load of what is not here", func() error {
			_, err := n.Load(ctx, "none")
			if errors.Is(err, fs.ErrNotExist) {
				t.Error("it says that there is none, and cannot know")
			}
			return err
		})
	})
	wg.Wait()
	began := time.Now()
	if got, err := n.Load(ctx, "a/key"); err != nil || string(got) != "value" || time.Since(began) > time.Second {
		t.Errorf("Load of what is here, after %v: %q, %v", time.Since(began), got, err)
	}
	if list, err := n.List(ctx, "a", true); err != nil || len(list) != 1 {
		t.Errorf("List of what is here: %q, %v", list, err)
	}
}

// TestHolderOfThreeDies kills a node that does not lead while it has a lock for which
// both others wait: one of them gets it within 20 s, then the other.
func TestHolderOfThreeDies(t *testing.T) {
	t.Parallel()
	nodes := trio(t)
	leads, others := leader(t, nodes)
	holder := others[0]
	if err := holder.Lock(t.Context(), "order"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	holder.kill()
	ctx, cancel := context.WithTimeout(t.Context(), takenOver)
	defer cancel()
	var wg sync.WaitGroup
	for _, n := range []*node{leads, others[1]} {
		wg.Go(func() {
			if err := n.Lock(ctx, "order"); err != nil {
				t.Error(err)
				return
			}
			t.Logf("%s has the lock of the node that was killed after %v", n.o.Node, time.Since(began))
			if err := n.Unlock(ctx, "order"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestRestartInTheMidst kills a node alone in the midst of an order and starts it again:
// the lock of the life before is free soon, what was stored is there.
func TestRestartInTheMidst(t *testing.T) {
	t.Parallel()
	o := cluster.FleetOptions{State: t.TempDir(), KickDelay: -1}
	n := open(t, o)
	n.await(t)
	if err := errors.Join(n.Lock(t.Context(), "order"), n.Store.Store(t.Context(), "a", []byte("half"))); err != nil {
		t.Fatal(err)
	}
	n.kill()
	began := time.Now()
	n = open(t, o)
	n.await(t)
	ctx, cancel := context.WithTimeout(t.Context(), takenOver)
	defer cancel()
	if err := n.Lock(ctx, "order"); err != nil {
		t.Fatal(err)
	}
	t.Logf("the lock of the life before is free after %v", time.Since(began))
	if got, err := n.Load(t.Context(), "a"); err != nil || string(got) != "half" {
		t.Errorf("what was stored before: %q, %v", got, err)
	}
	if err := n.Unlock(t.Context(), "order"); err != nil {
		t.Error(err)
	}
}

// TestJoins: a node that joins has everything when it serves, without a word of whoever
// stored it.
func TestJoins(t *testing.T) {
	t.Parallel()
	nodes := trio(t)
	for i := range 20 {
		if err := nodes[i%3].Store.Store(t.Context(), fmt.Sprintf("certificates/%d", i), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	o := nodes[0].o
	o.Node, o.State, o.Join = "edge-4", t.TempDir(), []string{nodes[0].address(t)}
	began := time.Now()
	n := open(t, o)
	n.await(t)
	t.Logf("it serves after %v", time.Since(began))
	list, err := n.List(t.Context(), "certificates", false)
	if err != nil || len(list) != 20 {
		t.Errorf("it has %q, %v", list, err)
	}
	for _, key := range list {
		if got, err := n.Load(t.Context(), key); err != nil || "certificates/"+string(got) != key {
			t.Errorf("%s is %q, %v", key, got, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	told := make(chan string, len(list)+1)
	go n.Watch(ctx, "certificates", func(key string) { told <- key })
	for _, want := range append(list, "certificates/new.json") {
		if want == "certificates/new.json" {
			if err := nodes[1].Store.Store(t.Context(), want, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case key := <-told:
			if key != want {
				t.Errorf("it is told of %q, want %q", key, want)
			}
		case <-ctx.Done():
			t.Fatalf("it is not told of %q", want)
		}
	}
}
