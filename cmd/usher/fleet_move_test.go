package main_test

import (
	"errors"
	"testing"
	"time"

	"usher.example/cluster/table"
)

// TestFleetLeaderDiesInMove kills the leader while a user is being moved, after a
// second administrator was told of the first: the move comes to its end by itself,
// and no login is held for ever.
func TestFleetLeaderDiesInMove(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{kick: 3 * time.Second})
	r.start()
	admin := r.administrator("")
	leader := r.leads(admin)
	const user = "rover"
	var c *client
	var others []*edge
	for _, e := range r.nodes {
		if e != leader {
			c = r.session(e, user)
			others = append(others, e)
		}
	}
	from := r.last(user, 2)
	to := map[string]string{"mail1": "mail2", "mail2": "mail1"}[from]
	moved := make(chan error, 1)
	began := time.Now()
	go func() { moved <- admin.Move(deadlineCtx(t), "main", user, to, "one") }()
	if !c.ended() {
		t.Errorf("his session goes on: %v", c.err)
	}
	if err := admin.Move(deadlineCtx(t), "main", user, from, "two"); !errors.Is(err, table.ErrMoving) {
		t.Errorf("the second administrator: %v, want %v", err, table.ErrMoving)
	} else {
		t.Logf("the second administrator is told: %v", err)
	}
	leader.kill()
	held := 0
	for _, e := range others {
		eventually(t, "the user is let in", func() bool {
			ok, verdict := e.tries(user)
			if !ok && !temporary(verdict) {
				t.Errorf("%s: %s", e.name, verdict)
			}
			if !ok {
				held++
			}
			return ok
		})
	}
	t.Logf("the user is let in %v after the move began, %d logins waited in vain", since(began), held)
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
	if err := <-moved; err != nil {
		t.Error(err)
	}
	if at := r.last(user, 4); at != to {
		t.Errorf("%s is at %s, want %s", user, at, to)
	}
	r.checkPresence(4)
}
