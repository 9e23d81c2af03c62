package main_test

import (
	"fmt"
	"testing"
	"time"
)

// TestFleetFlap has a Dovecot die and come back every five seconds: its users are
// placed anew once, and not again each time.
func TestFleetFlap(t *testing.T) {
	if !long() {
		t.Skip("SKIPPED, takes a minute: USHER_LONG=1")
	}
	t.Parallel()
	r := newRig(t, rigOptions{health: "interval = \"1s\"\ntimeout = \"1s\"\nrise = 3\nfall = 3\n"})
	r.start()
	const users = 12
	l := r.load(users, r.nodes...)
	homes := map[string]bool{}
	for i := range users {
		homes[r.last(fmt.Sprintf("load%02d", i), 1)] = true
	}
	if len(homes) != 2 {
		t.Fatalf("the users are at %v, want some at each server", homes)
	}
	for _, e := range r.nodes {
		l.cut(e, true) // who is let in counts, and not who is not
	}
	for began := time.Now(); time.Since(began) < time.Minute; {
		r.killServer(0)
		<-time.After(5 * time.Second)
		r.servers[0].Restart(t)
		<-time.After(5 * time.Second)
	}
	n := l.end(r)
	moves := map[string]int{}
	for i := range users {
		user := fmt.Sprintf("load%02d", i)
		at := ""
		for _, p := range r.stays(user) {
			if at != "" && p.server != at {
				moves[user]++
			}
			at = p.server
		}
		if moves[user] > 1 {
			t.Errorf("%s was placed anew %d times", user, moves[user])
		}
	}
	t.Logf("%d logins, users placed anew: %v", n, moves)
	if len(moves) == 0 {
		t.Error("nobody was placed anew: the test shows nothing")
	}
	r.checkPresence(n)
}
