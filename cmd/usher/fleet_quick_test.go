package main_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"usher.example/cluster"
	"usher.example/cluster/table"
)

const (
	// atOnce is within what time logins have to be sent to be at once.
	atOnce = 10 * time.Millisecond
	// quickRounds is how often they are sent, quickLeast how often at once.
	quickRounds, quickLeast = 12, 6
)

// TestFleetAtOnce has four nodes. One user logs in by all of them within ten
// milliseconds, while the view is at rest and while it changes, again and again: his
// sessions are on one server. Then two administrators give different orders about
// one user by two nodes at the same time.
func TestFleetAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{kick: time.Second})
	r.add("edge-4")
	r.start()
	admin := r.administrator("")
	t.Run("logins", func(t *testing.T) { r.loginsAtOnce(t, admin) })
	t.Run("administrators", func(t *testing.T) { r.ordersAtOnce(t, admin) })
	r.checkPresence(0)
}

func (r *rig) loginsAtOnce(t *testing.T, admin *cluster.Fleet) {
	logins, close10 := 0, 0
	var widest, slowest time.Duration
	for round := range quickRounds {
		user := fmt.Sprintf("quick%02d", round)
		var cs []*client
		for _, e := range r.nodes { // connected before, so that only logins count
			cs = append(cs, enter(t, e.site, "imaps", entry{}))
		}
		changed := make(chan error, 1)
		state := []table.Admin{table.Draining, table.Active}[round/2%2]
		if round%2 == 1 { // the view changes at the same time
			go func() { changed <- admin.SetAdmin(deadlineCtx(t), "main", "mail1", state, "test") }()
		} else {
			changed <- nil
		}
		sent, took := make([]time.Time, len(cs)), make([]time.Duration, len(cs))
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i, c := range cs {
			wg.Go(func() {
				<-start
				sent[i] = time.Now()
				if got := c.login(user, "secret"); !good(got) {
					t.Errorf("%s by %s: %q %v", user, r.nodes[i].name, got, c.err)
				}
				took[i] = since(sent[i])
			})
		}
		close(start)
		wg.Wait()
		if err := <-changed; err != nil {
			t.Error(err)
		}
		apart := slices.MaxFunc(sent, time.Time.Compare).Sub(slices.MinFunc(sent, time.Time.Compare))
		if apart <= atOnce {
			close10++
		}
		widest, slowest = max(widest, apart), max(slowest, slices.Max(took))
		logins += len(cs)
		r.last(user, len(cs))
		if at := r.at(user); len(at) != 1 {
			t.Errorf("%s is at %v with four live sessions, want one server", user, at)
		}
		for _, c := range cs {
			if !c.works() {
				t.Errorf("a session of %s: %v", user, c.err)
			}
			c.Close()
		}
	}
	t.Logf("%d rounds of 4 logins over 4 nodes, %d of them within %v, the widest within %v; the slowest login took %v",
		quickRounds, close10, atOnce, widest, slowest)
	if close10 < quickLeast {
		t.Errorf("only %d rounds were at once, want %d", close10, quickLeast)
	}
	r.checkPresence(logins)
	homes := map[string]int{}
	for _, p := range r.presences() {
		homes[p.server]++
	}
	if len(homes) != len(r.servers) {
		t.Errorf("logins by server: %v, want some on each", homes)
	}
	if err := admin.SetAdmin(deadlineCtx(t), "main", "mail1", table.Active, "test"); err != nil {
		t.Fatal(err)
	}
}

// ordersAtOnce has two administrators order different things about a user who is
// connected by all nodes, by the command line. If both are told that it is done, one
// was after the other.
func (r *rig) ordersAtOnce(t *testing.T, admin *cluster.Fleet) {
	const user, rounds = "rover", 3
	logins, told := 0, 0
	for round := range rounds {
		var cs []*client
		for _, e := range r.nodes {
			cs = append(cs, r.session(e, user))
			logins++
		}
		r.last(user, logins)
		targets := []string{"mail1", "mail2"}
		type order struct {
			target, out string
			err         error
			took        time.Duration
		}
		orders := make([]order, len(targets))
		began := time.Now()
		var wg sync.WaitGroup
		for i, target := range targets {
			wg.Go(func() {
				out, err := r.nodes[i].p.command("user", "move", user, target, "--socket", r.nodes[i].socket())
				orders[i] = order{target, out, err, since(began)}
			})
		}
		wg.Wait()
		var done []string
		for i, o := range orders {
			switch {
			case o.err == nil:
				done = append(done, o.target)
			case strings.Contains(o.out, "being moved") && strings.Contains(o.out, orders[1-i].target):
				told++
				if round == 0 {
					t.Logf("the second was told after %v: %s", o.took, strings.TrimSpace(o.out))
				}
			default:
				t.Errorf("move to %s: %v: %s", o.target, o.err, o.out)
			}
		}
		if len(done) == 0 {
			t.Error("nobody's order was done")
		}
		var where cluster.Whereabouts
		eventually(t, "the administrator's own table has it", func() bool {
			var err error
			where, err = admin.Where("main", user)
			return err == nil && where.Error == ""
		})
		if !slices.Contains(done, where.Pin) {
			t.Errorf("he is at %+v; done were orders to %q", where, done)
		}
		for _, e := range r.nodes {
			began := time.Now()
			r.session(e, user).logout()
			logins++
			if took := since(began); took > time.Second {
				t.Errorf("a login by %s after it took %v", e.name, took)
			}
			if at := r.last(user, logins); at != where.Pin {
				t.Errorf("he is at %s by %s, want %s", at, e.name, where.Pin)
			}
		}
		for _, c := range cs {
			c.Close()
		}
	}
	t.Logf("%d rounds of two orders at once: in %d the second was told of the first", rounds, told)
	if told == 0 {
		t.Error("no order was given while another was under way")
	}
	eventually(t, "nothing is under way", func() bool { return admin.Overview().Moves == 0 })
}
