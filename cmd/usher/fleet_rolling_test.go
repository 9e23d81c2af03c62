package main_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"usher.example/cluster/table"
)

// TestFleetRolling restarts one node after the other under logins: none fails but
// at the node that is being restarted, and nobody is ever on two servers. A node
// that stops in good order is not waited for.
func TestFleetRolling(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	for _, e := range r.nodes {
		e.head = "drain = \"300ms\"\n" + r.fleetTable(e)
	}
	r.start()
	admin := r.administrator("")
	sticky := map[string]string{}
	for i := range 6 {
		user := fmt.Sprintf("user%02d", i)
		r.session(r.nodes[i%3], user)
		sticky[user] = r.last(user, 1)
	}
	l := r.load(30, r.nodes...)
	for i, e := range r.nodes {
		led := r.leads(admin) == e
		l.cut(e, true)
		began := time.Now()
		e.p.signal(syscall.SIGTERM)
		e.p.wait()
		t.Logf("%s (it led: %v) ended after %v", e.name, led, since(began))
		state := []table.Admin{table.Draining, table.Active}[i%2]
		took := change(t, admin, state, 14*time.Second)
		t.Logf("a view changes in %v without it", took)
		if took > 4*time.Second {
			t.Errorf("a change of the view took %v: a node was waited for that had said good-bye", took)
		}
		began = time.Now()
		e.begin()
		e.ready()
		t.Logf("%s serves again after %v", e.name, since(began))
		l.cut(e, false)
	}
	for user, at := range sticky {
		for i, e := range r.nodes {
			if ok, verdict := e.tries(user); !ok {
				t.Errorf("%s by %s: %s", user, e.name, verdict)
			}
			if got := r.last(user, 2+i); got != at && at == "mail2" { // mail1 was drained
				t.Errorf("%s was at %s and is at %s", user, at, got)
			}
		}
	}
	_, slowest := l.soFar()
	n := l.end(r)
	t.Logf("%d logins, the slowest took %v", n, slowest)
	r.checkPresence(n)
}
