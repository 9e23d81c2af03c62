package main_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"usher.example/cluster"
	"usher.example/cluster/table"
)

// TestFleetCrash kills a node that does not lead: its users come back by the
// others to the server where they were, and no login elsewhere waits.
func TestFleetCrash(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	r.start()
	admin := r.administrator("")
	victim := r.follows(admin)
	var others []*edge
	for _, e := range r.nodes {
		if e != victim {
			others = append(others, e)
		}
	}
	was, sessions := map[string]string{}, map[string]*client{}
	for i := range 10 {
		user := fmt.Sprintf("user%02d", i)
		sessions[user] = r.session(victim, user)
		was[user] = r.last(user, 1)
	}
	l := r.load(20, others...)
	victim.kill()
	for user, c := range sessions {
		if !c.ended() {
			t.Errorf("%s: his session outlives the node", user)
		}
	}
	for user, at := range was {
		for i, e := range others {
			if ok, verdict := e.tries(user); !ok {
				t.Errorf("%s by %s: %s", user, e.name, verdict)
			}
			if got := r.last(user, 2+i); got != at {
				t.Errorf("%s was at %s and is at %s", user, at, got)
			}
		}
	}
	began := time.Now()
	victim.begin()
	victim.ready()
	t.Logf("the node serves again after %v", since(began))
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("it took %v", took)
	}
	_, slowest := l.soFar()
	n := l.end(r)
	t.Logf("%d logins elsewhere meanwhile, the slowest took %v", n, slowest)
	if slowest > time.Second {
		t.Errorf("a login elsewhere waited %v", slowest)
	}
	r.checkPresence(n)
}

// change changes a view again and again until the fleet does it.
func change(t *testing.T, admin *cluster.Fleet, state table.Admin, limit time.Duration) (took time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	began := time.Now()
	var err error
	if !poll(limit, func() bool {
		err = admin.SetAdmin(ctx, "main", "mail1", state, "test")
		return err == nil
	}) {
		t.Fatalf("no change of the view within %v: %v", limit, err)
	}
	return since(began)
}

// TestFleetLeaderCrash kills the leader: logins elsewhere do not notice, and views
// can be changed again after a while, soon if its process is back soon.
func TestFleetLeaderCrash(t *testing.T) {
	t.Parallel()
	for _, back := range []bool{true, false} {
		t.Run(map[bool]string{true: "back", false: "gone"}[back], func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rigOptions{})
			r.start()
			admin := r.administrator("")
			leader := r.leads(admin)
			var others []*edge
			for _, e := range r.nodes {
				if e != leader {
					others = append(others, e)
				}
			}
			l := r.load(20, others...)
			limit := 14 * time.Second
			leader.kill()
			began := time.Now()
			if back {
				limit = 8 * time.Second
				leader.begin()
			}
			change(t, admin, table.Draining, limit)
			t.Logf("a view changes %v after the leader's end", since(began))
			_, slowest := l.soFar()
			n := l.end(r)
			t.Logf("%d logins elsewhere meanwhile, the slowest took %v", n, slowest)
			if slowest > time.Second {
				t.Errorf("a login elsewhere waited %v", slowest)
			}
			r.checkPresence(n)
		})
	}
}

// TestFleetRestart changes a view while a node is on its way back, and a node
// that nobody knew comes: the change waits for the one, and the other is let in
// and does not vote.
func TestFleetRestart(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	r.start()
	admin := r.administrator("")
	l := r.load(20, r.nodes...)
	victim := r.follows(admin)
	l.cut(victim, true)
	victim.kill()
	done := make(chan error, 1)
	began := time.Now()
	go func() { done <- admin.SetAdmin(deadlineCtx(t), "main", "mail1", table.Draining, "test") }()
	victim.begin()
	victim.ready()
	t.Logf("the node serves again after %v", since(began))
	l.cut(victim, false)
	if err := <-done; err != nil {
		t.Error(err)
	}
	t.Logf("the view that it was waited for has changed after %v", since(began))
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("it took %v", took)
	}

	late := r.add("edge-4")
	began = time.Now()
	late.begin()
	late.ready()
	t.Logf("a new node serves after %v", since(began))
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	for i := range 10 {
		user := fmt.Sprintf("user%02d", i)
		if ok, verdict := late.tries(user); !ok {
			t.Errorf("%s by the new node: %s", user, verdict)
		}
		if at := r.last(user, 1); at != "mail2" {
			t.Errorf("%s by the new node: at %s, which is drained", user, at)
		}
	}
	for _, e := range r.nodes {
		if voted := e.p.log.lines(`msg="a node votes" .*edge-4`); len(voted) != 0 {
			t.Errorf("the new node votes: %s", voted[0])
		}
	}
	r.checkPresence(l.end(r))
}
