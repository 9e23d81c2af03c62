package main_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"usher.example/cluster"
)

// localReturn is within what time a back end with local storage serves everybody
// again after its return: three good probes, and ten seconds since it fell.
const localReturn = 12 * time.Second

// TestFleetLocalDeath kills a Dovecot that alone has its users' mail: by every node
// and protocol they are told to come back, and nobody is let in elsewhere; the
// others' sessions do not notice. When it is back, so are they.
func TestFleetLocalDeath(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{storage: "local", health: "interval = \"2s\"\ntimeout = \"1s\"\nrise = 3\nfall = 3\n"})
	r.start()
	admin := r.administrator("")
	dead, rest := map[string]*client{}, map[string]*client{}
	logins := 0
	for i := range 12 {
		user := fmt.Sprintf("user%02d", i)
		c := r.session(r.nodes[i%3], user)
		logins++
		if r.last(user, 1) == "mail1" {
			dead[user] = c
		} else {
			rest[user] = c
		}
	}
	if len(dead) == 0 || len(rest) == 0 {
		t.Fatalf("%d and %d users, want some at each server", len(dead), len(rest))
	}
	began := time.Now()
	r.killServer(0)
	for user, c := range dead {
		if !c.ended() {
			t.Errorf("%s: his session goes on", user)
		}
	}
	t.Logf("%d sessions ended %v after its death", len(dead), since(began))
	refused := func(when string) {
		t.Helper()
		for user := range dead {
			for _, e := range r.nodes {
				for door, code := range map[string]string{"imaps": "NO [UNAVAILABLE]", "pop3s": "-ERR [SYS/TEMP]"} {
					c := e.enter(door, entry{})
					if verdict := c.login(user, "secret"); c.err != nil || !strings.HasPrefix(verdict, code) {
						t.Errorf("%s: %s by %s, %s: %q %v, want %s", when, user, e.name, door, verdict, c.err, code)
					}
					c.Close()
				}
			}
		}
	}
	refused("before anybody may know")
	eventually(t, "the fleet has agreed that it is down", func() bool { return !up(admin, "mail1") })
	t.Logf("it is agreed to be down %v after its death", since(began))
	refused("down")
	for user, c := range rest {
		if !c.works() {
			t.Errorf("%s is at the other server: %v", user, c.err)
		}
		for _, e := range r.nodes {
			if ok, verdict := e.tries(user); !ok {
				t.Errorf("%s by %s: %s", user, e.name, verdict)
			}
			logins++
		}
	}
	r.servers[0].Restart(t) // it greets
	began = time.Now()
	for _, e := range r.nodes {
		for user := range dead {
			eventually(t, user+" is served by "+e.name, func() bool { ok, _ := e.tries(user); return ok })
			logins++
		}
	}
	t.Logf("everybody is served again by every node %v after its return", since(began))
	if took := time.Since(began); took > localReturn {
		t.Errorf("it took %v, want %v", took, localReturn)
	}
	r.checkPresence(logins)
	for user := range dead {
		if at := r.at(user); len(at) != 1 || at[0] != "mail1" {
			t.Errorf("%s was at %v, want mail1 only", user, at)
		}
	}
}

// up is the fleet's verdict about a back end, as a node has it in its table.
func up(f *cluster.Fleet, backend string) bool {
	for _, p := range f.Status() {
		for _, b := range p.Backends {
			if b.Name == backend {
				return b.Up
			}
		}
	}
	return false
}
