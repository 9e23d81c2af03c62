package main_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"usher.example/cluster/table"
)

// TestFleetPlaces logs users in through each node, and some through all nodes
// within the same ten milliseconds: each lands on one server. Then a server is
// drained while users are live, and one of them is moved while he is connected on
// all nodes.
func TestFleetPlaces(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	r.start()
	logins := 0
	for i := range 12 {
		for _, e := range r.nodes {
			if ok, verdict := e.tries(fmt.Sprintf("user%02d", i)); !ok {
				t.Errorf("%s: %s", e.name, verdict)
			}
			logins++
		}
	}
	for round := range 5 { // connections are made before, so that only the logins count
		user := fmt.Sprintf("quick%d", round)
		var cs []*client
		for i := range 4 {
			c := enter(t, r.nodes[i%3].site, "imaps", entry{})
			cs = append(cs, c)
		}
		var wg sync.WaitGroup
		began := time.Now()
		for _, c := range cs {
			wg.Go(func() {
				if got := c.login(user, "secret"); !good(got) {
					t.Errorf("%s: %s %v", user, got, c.err)
				}
			})
		}
		wg.Wait()
		logins += 4
		t.Logf("4 logins of %s over 3 nodes took %v", user, since(began))
		for _, c := range cs {
			c.Close()
		}
	}
	r.checkPresence(logins)
	homes := map[string]int{}
	for _, p := range r.presences() {
		if at := r.at(p.user); len(at) != 1 {
			t.Errorf("%s was at %v, want one server", p.user, at)
		}
		homes[p.server]++
	}
	if len(homes) != len(r.servers) {
		t.Errorf("users by server: %v, want some on each", homes)
	}
	admin := r.administrator("")
	t.Run("drain", func(t *testing.T) { r.drains(t, admin, table.Draining) })
	t.Run("move", func(t *testing.T) { r.moves(t, admin) })
}

// drains drains mail1 while users are live there.
func (r *rig) drains(t *testing.T, admin setter, state table.Admin) {
	live := map[string]*client{}
	for i := range 12 {
		user := fmt.Sprintf("live%02d", i)
		live[user] = r.session(r.nodes[i%3], user)
	}
	r.checkPresence(len(live))
	began := time.Now()
	if err := admin.SetAdmin(deadlineCtx(t), "main", "mail1", state, "test"); err != nil {
		t.Fatal(err)
	}
	t.Logf("drained with %d users live after %v", len(live), since(began))
	stayed := 0
	for user, c := range live {
		at := r.last(user, 1)
		if !c.works() {
			t.Errorf("%s at %s lost his session: %v", user, at, c.err)
		}
		for i, e := range r.nodes { // more of his connections go where he is
			r.session(e, user)
			if got := r.last(user, 2+i); got != at {
				t.Errorf("%s is at %s, and by %s at %s", user, at, e.name, got)
			}
		}
		if at == "mail1" {
			stayed++
		}
	}
	if stayed == 0 {
		t.Error("nobody was at the server that is drained")
	}
	for i := range 12 {
		user := fmt.Sprintf("new%02d", i)
		if ok, verdict := r.nodes[i%3].tries(user); !ok {
			t.Errorf("%s: %s", user, verdict)
		}
		if at := r.last(user, 1); at == "mail1" {
			t.Errorf("%s came to the server that is drained", user)
		}
	}
	began = time.Now()
	if err := admin.SetAdmin(deadlineCtx(t), "main", "mail1", table.Active, "test"); err != nil {
		t.Fatal(err)
	}
	t.Logf("active again after %v", since(began))
	r.checkPresence(0)
}

// moves moves a user who is connected on all nodes.
func (r *rig) moves(t *testing.T, admin mover) {
	const user = "rover"
	var took []time.Duration
	n := 0
	for range 3 {
		var cs []*client
		for _, e := range r.nodes {
			cs = append(cs, r.session(e, user), r.session(e, user))
			n += 2
		}
		from := r.last(user, n)
		to := map[string]string{"mail1": "mail2", "mail2": "mail1"}[from]
		began := time.Now()
		if err := admin.Move(deadlineCtx(t), "main", user, to, "test"); err != nil {
			t.Fatal(err)
		}
		took = append(took, since(began))
		for _, c := range cs {
			if !c.ended() {
				t.Errorf("a session at %s goes on: %v", from, c.err)
			}
		}
		for _, e := range r.nodes {
			r.session(e, user).logout()
			n++
			if at := r.last(user, n); at != to {
				t.Errorf("%s by %s: at %s, want %s", user, e.name, at, to)
			}
		}
	}
	slices.Sort(took)
	t.Logf("moves of a user with 6 sessions took %v", took)
	if took[1] > kickDelay+2*time.Second {
		t.Errorf("the median move took %v", took[1])
	}
	r.checkPresence(n)
}
