package main_test

import (
	"fmt"
	"testing"
	"time"
)

// TestFleetBackendDeath kills a Dovecot under a fleet: its end is agreed, and its
// users are let in elsewhere; when it is back it is used again (USHER_LONG).
func TestFleetBackendDeath(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{
		kick:   2 * time.Second,
		health: "interval = \"2s\"\ntimeout = \"1s\"\nrise = 1\nfall = 3\n",
	})
	r.start()
	admin := r.administrator("")
	there, sessions := 0, map[string]*client{}
	for i := range 12 {
		user := fmt.Sprintf("user%02d", i)
		c := r.session(r.nodes[i%3], user)
		if r.last(user, 1) == "mail1" {
			sessions[user] = c
			there++
		}
	}
	if there == 0 {
		t.Fatal("nobody is at mail1")
	}
	began := time.Now()
	r.killServer(0)
	for user, c := range sessions {
		if !c.ended() {
			t.Errorf("%s: his session goes on", user)
		}
	}
	t.Logf("its sessions ended after %v", since(began))
	var slowest time.Duration
	for user := range sessions {
		eventually(t, user+" is let in elsewhere", func() bool { ok, _ := r.nodes[1].tries(user); return ok })
		slowest = max(slowest, since(began))
		if at := r.last(user, 2); at != "mail2" {
			t.Errorf("%s is at %s", user, at)
		}
	}
	t.Logf("all are let in elsewhere after %v", slowest)
	if slowest > 10*time.Second {
		t.Errorf("it took %v", slowest)
	}
	for i := range 3 { // by every node
		for user := range sessions {
			if ok, verdict := r.nodes[i].tries(user); !ok {
				t.Errorf("%s by %s: %s", user, r.nodes[i].name, verdict)
			}
		}
	}
	r.checkPresence(12)
	if !long() { // it stays down for ten seconds at least
		return
	}
	began = time.Now()
	r.servers[0].Restart(t)
	eventually(t, "the server is up in the view", func() bool {
		return admin.Status()[0].Backends[0].State == "up"
	})
	t.Logf("it is used again %v after its start began", since(began))
	r.checkPresence(12)
}
