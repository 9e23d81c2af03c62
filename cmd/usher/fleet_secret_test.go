package main_test

import (
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"usher.example/balancer/admin"
	"usher.example/cluster"
)

// TestFleetSecretRotation exchanges the secret of a fleet as its help says, one
// node after the other, and stops to look after each single restart: the fleet is
// whole, takes orders and logins, and everybody's place is as it was. Every other
// node is killed and not stopped. With USHER_LONG all nodes are killed at each of
// these points as well, with files that are a step apart.
func TestFleetSecretRotation(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	text, err := os.ReadFile(r.secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range r.nodes { // each has a file of its own
		e.secret = e.file("secret")
		e.put(e.secret, string(text))
		e.head = "drain = \"300ms\"\n" + r.fleetTable(e)
	}
	r.start()
	s := &rotation{rig: r, t: t, homes: map[string]string{}}
	s.whole("before")
	old := string(text)
	for _, step := range []string{"add", "promote", "drop"} {
		s.step(step)
	}
	for _, e := range r.nodes {
		now, err := os.ReadFile(e.secret)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(now), strings.TrimSpace(old)) {
			t.Errorf("%s still has the old secret", e.name)
		}
		if bad := e.p.log.lines("users cannot be placed|sealed with a fleet secret that this node does not have"); len(bad) != 0 {
			t.Errorf("%s: %s", e.name, bad)
		}
	}
	// What all have forgotten is not believed any more.
	stranger, other := r.nodes[0], r.nodes[1]
	refused := `msg="a connection to the fleet port was refused"`
	before := len(other.p.log.lines(refused))
	stranger.kill()
	stranger.put(stranger.secret, old)
	stranger.begin()
	other.p.log.await(t, refused, before+1)
	s.checkPresence(s.logins)
	for _, user := range []string{"joe", "ann"} {
		if at := s.at(user); len(at) != 1 || at[0] != s.homes[user] {
			t.Errorf("%s was at %v, want %s only", user, at, s.homes[user])
		}
	}
}

// A rotation is a fleet whose secret is being exchanged.
type rotation struct {
	*rig
	t             *testing.T
	homes         map[string]string
	logins, moves int
}

// step takes one step, node by node.
func (s *rotation) step(step string) {
	first := s.nodes[0]
	out, err := first.p.command("fleet", "secret", "--rotate", step, first.secret)
	if err != nil {
		s.t.Fatalf("%s: %v: %s", step, err, out)
	}
	// Who does not know whether it was done tries again, and is told where he is.
	if out, err = first.p.command("fleet", "secret", "--rotate", step, first.secret); err == nil || !strings.Contains(out, "the next step is") {
		s.t.Errorf("%s twice: %v: %s", step, err, out)
	}
	text, err := os.ReadFile(first.secret)
	if err != nil {
		s.t.Fatal(err)
	}
	for i, e := range s.nodes {
		l := s.load(20, s.nodes...)
		e.put(e.secret, string(text))
		l.cut(e, true)
		began := time.Now()
		if i%2 == 0 {
			e.stop()
		} else {
			e.kill()
		}
		ended := since(began)
		e.begin()
		e.ready()
		l.cut(e, false)
		serves := since(began)
		_, slowest := l.soFar()
		s.logins += l.end(s.rig) // its lines make the servers' logs long
		s.whole(step + " at " + e.name)
		s.t.Logf("%s: %s ended after %v, served after %v, the fleet was seen to be whole and to take orders after %v; the slowest login took %v",
			step, e.name, ended, serves, since(began), slowest)
		if long() {
			for _, e := range s.nodes {
				e.kill()
			}
			for _, e := range s.nodes {
				e.begin()
			}
			for _, e := range s.nodes {
				e.ready()
			}
			s.whole(step + " at " + e.name + ", all restarted")
		}
	}
}

// whole wants the fleet to be of one piece, to take an order by each node, and to
// place everybody where he was.
func (s *rotation) whole(when string) {
	s.t.Helper()
	for _, e := range s.nodes {
		eventually(s.t, when+": "+e.name+" sees all nodes", func() bool {
			var o cluster.Overview
			e.asks(admin.FleetPath, nil, &o)
			n := 0
			for _, m := range o.Members {
				if m.Counted && m.State == "alive" {
					n++
				}
			}
			return o.Quorum && !o.Isolated && n == len(s.nodes)
		})
	}
	for _, e := range s.nodes {
		target := []string{"mail1", "mail2"}[s.moves%2]
		s.moves++
		eventually(s.t, when+": an order by "+e.name, func() bool { // its leader may be a new one
			out, err := e.p.command("user", "move", "pinned", target, "--socket", e.socket())
			if err != nil {
				s.t.Logf("%s: an order by %s: %s", when, e.name, strings.TrimSpace(out))
			}
			return err == nil
		})
		for _, user := range []string{"joe", "ann", "pinned"} {
			var w cluster.Whereabouts
			e.asks(admin.UserPath, url.Values{"user": {user}}, &w)
			if was, known := s.homes[user]; known && user != "pinned" && w.Place != was || user == "pinned" && w.Place != target {
				s.t.Errorf("%s: by %s %s is at %+v, was at %s", when, e.name, user, w, was)
			}
			s.homes[user] = w.Place
			if ok, verdict := e.tries(user); !ok {
				s.t.Errorf("%s: %s by %s: %s", when, user, e.name, verdict)
			}
			s.logins++
		}
	}
}
