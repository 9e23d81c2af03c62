package main_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"usher.example/cluster"
	"usher.example/cluster/table"
)

// TestFleetChaos restarts nodes in every way, changes views and moves users at
// random for a minute, under users who stay for a moment on each node: whatever
// happens, by the servers' logs nobody is at two of them at once, and in the end
// everybody is let in. It says its seed.
func TestFleetChaos(t *testing.T) {
	if !long() {
		t.Skip("SKIPPED, takes a minute: USHER_LONG=1")
	}
	t.Parallel()
	r := newRig(t, rigOptions{servers: 3})
	for _, e := range r.nodes {
		e.head = "drain = \"300ms\"\n" + r.fleetTable(e)
	}
	r.start()
	r.chaos(t, r.administrator(""), func(rnd *rand.Rand, e *edge) (what string) {
		what = "kill"
		if status, _ := e.p.ask("/readyz"); status == 200 && rnd.IntN(2) == 0 {
			what = "restart"
			e.p.signal(syscall.SIGTERM)
			e.p.wait()
		} else {
			e.kill()
		}
		e.begin()
		return what
	})
}

// TestFleetPartitionChaos is the same with strict nodes that are cut off from the
// others for a while, one at a time.
func TestFleetPartitionChaos(t *testing.T) {
	if !long() {
		t.Skip("SKIPPED, takes a minute: USHER_LONG=1")
	}
	t.Parallel()
	if !inNetwork(t) {
		return
	}
	homes := networks(t)
	r := newRig(t, rigOptions{servers: 3, refuse: true, homes: homes, address: inMail(t)})
	r.start()
	cut := -1
	r.chaos(t, r.administrator("10.78.0.1"), func(rnd *rand.Rand, e *edge) string {
		if cut >= 0 && rnd.IntN(3) == 0 {
			homes[cut].heal(t)
			cut = -1
			return "heal"
		}
		if cut < 0 {
			cut = slices.Index(r.nodes, e)
			homes[cut].cut(t)
			return "cut"
		}
		return "as it is"
	}, func() {
		if cut >= 0 {
			homes[cut].heal(t)
		}
	})
}

// chaos gives orders and has faults made under load; in the end the mend is made.
func (r *rig) chaos(t *testing.T, admin *cluster.Fleet, fault func(rnd *rand.Rand, e *edge) string, mend ...func()) {
	const users, workers, length = 12, 4, time.Minute
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	ctx, stop := context.WithTimeout(t.Context(), length)
	defer stop()

	var mu sync.Mutex
	verdicts := map[string]int{}
	var running sync.WaitGroup
	for w := range workers * len(r.nodes) {
		running.Go(func() {
			e := r.nodes[w%len(r.nodes)]
			tick := time.NewTicker(loadEvery)
			defer tick.Stop()
			for ctx.Err() == nil {
				c := e.enter("imaps", entry{})
				verdict := c.login(fmt.Sprintf("user%02d", rand.IntN(users)), "secret")
				for i := rand.IntN(20); i > 0 && good(verdict) && c.works(); i-- {
					<-tick.C
				}
				c.Close()
				kind := "cut"
				switch {
				case c.err != nil:
				case good(verdict):
					kind = "ok"
				case temporary(verdict):
					kind = "later"
				default:
					t.Errorf("%s: %s", e.name, verdict)
				}
				mu.Lock()
				verdicts[kind]++
				mu.Unlock()
				<-tick.C
			}
		})
	}
	orders := map[string]int{}
	order := func(what string, do func(ctx context.Context) error) {
		limited, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		if err := do(limited); err != nil {
			what += " not done"
		}
		orders[what]++
	}
	pause := time.NewTicker(500 * time.Millisecond)
	defer pause.Stop()
	for ; ctx.Err() == nil; <-pause.C {
		switch e := r.nodes[rnd.IntN(len(r.nodes))]; rnd.IntN(10) {
		case 0, 1:
			orders[fault(rnd, e)]++
		case 2, 3, 4:
			state := []table.Admin{table.Active, table.Draining, table.Down}[rnd.IntN(3)]
			backend := fmt.Sprintf("mail%d", 1+rnd.IntN(2)) // mail3 is always there
			order("view", func(ctx context.Context) error { return admin.SetAdmin(ctx, "main", backend, state, "chaos") })
		default:
			user, backend := fmt.Sprintf("user%02d", rnd.IntN(users)), fmt.Sprintf("mail%d", 1+rnd.IntN(3))
			order("move", func(ctx context.Context) error { return admin.Move(ctx, "main", user, backend, "chaos") })
		}
	}
	running.Wait()
	for _, do := range mend {
		do()
	}
	t.Logf("logins: %v, orders: %v", verdicts, orders)
	for _, e := range r.nodes {
		e.ready()
		for i := range users {
			user := fmt.Sprintf("user%02d", i)
			eventually(t, user+" is let in by "+e.name, func() bool { ok, _ := e.tries(user); return ok })
		}
	}
	eventually(t, "nothing is under way", func() bool { o := admin.Overview(); return o.Moves == 0 && len(o.Changes) == 0 })
	r.checkPresence(verdicts["ok"])
}
