package main_test

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"usher.example/balancer/admin"
	"usher.example/cluster"
	"usher.example/cluster/table"
)

// What a partition that heals is held to.
const (
	rejoinLimit = 15 * time.Second // until the node has its lease again
	equalLimit  = 5 * time.Second  // from then until all tables are equal
)

// calmGrants is for how many entries of the log, one each second, everything has to
// stay as it is after a partition: whatever is closed twice is closed by then.
const calmGrants = 10

// hours reports whether tests that take hours are wanted (make test-hours).
func hours() bool { return os.Getenv("USHER_HOURS") != "" }

// The tests below cut a node off that goes on, for a while, with sessions on both
// sides that are used all the time, while the others move users who are connected
// by it and change views. Then the link is given back.

func TestFleetHealMinute(t *testing.T)       { testHeal(t, long(), time.Minute, false) }
func TestFleetHealMinuteLeader(t *testing.T) { testHeal(t, long(), time.Minute, true) }
func TestFleetHealTenMinutes(t *testing.T)   { testHeal(t, long(), 10*time.Minute, false) }
func TestFleetHealTwoHours(t *testing.T)     { testHeal(t, hours(), 2*time.Hour, false) }

func testHeal(t *testing.T, wanted bool, length time.Duration, leader bool) {
	if !wanted {
		t.Skipf("SKIPPED, takes %v: USHER_LONG=1, and USHER_HOURS=1 for hours", length)
	}
	t.Parallel()
	if !inNetwork(t) {
		return
	}
	homes := networks(t)
	r := newRig(t, rigOptions{homes: homes, address: inMail(t)})
	r.start()
	h := &healing{rig: r, t: t, length: length, admin: r.administrator("10.78.0.1"), ends: map[string]time.Time{}}
	h.victim = r.follows(h.admin)
	if leader {
		h.victim = r.leads(h.admin)
	}
	h.home = homes[slices.Index(r.nodes, h.victim)]
	h.fill()
	h.home.cut(t)
	h.at = time.Now()
	h.apart()
	h.together()
}

// A healing is a partition that ends.
type healing struct {
	*rig
	t      *testing.T
	length time.Duration
	admin  *cluster.Fleet
	victim *edge
	home   netHome
	at     time.Time // of the cut
	life   uint64    // of the victim before it

	kept   map[string]*client // by user: sessions that fit, on all nodes
	wrong  map[string]*client // by user: those by the victim that will not
	to     map[string]string  // where the others move these users
	users  []string           // all
	moved  []*client          // sessions of the moved on the others
	logins int

	ending sync.WaitGroup
	mu     sync.Mutex           // guards ends
	ends   map[string]time.Time // of the wrong sessions
}

// fill logs users in on both sides.
func (h *healing) fill() {
	h.kept, h.wrong, h.to = map[string]*client{}, map[string]*client{}, map[string]string{}
	for i, e := range h.nodes {
		for j := range 4 {
			user := fmt.Sprintf("kept%d%d", i, j)
			h.kept[user] = h.keeps(e, user)
		}
	}
	for i := range 3 {
		user := fmt.Sprintf("wrong%d", i)
		h.wrong[user] = h.keeps(h.victim, user)
		h.to[user] = map[string]string{"mail1": "mail2", "mail2": "mail1"}[h.last(user, 1)]
	}
	h.to["absent"] = "mail1"
	if where, err := h.admin.Where("main", "absent"); err != nil || where.Place == "mail1" {
		h.to["absent"] = "mail2" // away from home
	}
	for user := range h.to {
		h.users = append(h.users, user)
	}
	for user := range h.kept {
		h.users = append(h.users, user)
	}
	h.life = h.member(h.victim.name).Life
}

// keeps logs a user in whose session outlasts the partition.
func (h *healing) keeps(e *edge, user string) *client {
	c := h.session(e, user)
	h.logins++
	if err := c.SetDeadline(time.Now().Add(h.length + 10*patience)); err != nil {
		h.t.Fatal(err)
	}
	return c
}

func (h *healing) member(name string) cluster.NodeState {
	for _, m := range h.admin.Overview().Members {
		if m.Node == name {
			return m
		}
	}
	return cluster.NodeState{}
}

// apart is what happens during the cut.
func (h *healing) apart() {
	h.victim.p.log.await(h.t, "the node has lost its fleet", 1)
	h.t.Logf("isolated %v after the cut", since(h.at))
	for user, to := range h.to {
		var err error
		if !poll(patience, func() bool { // there may be no leader yet
			err = h.admin.Move(deadlineCtx(h.t), "main", user, to, "test")
			return err == nil
		}) {
			h.t.Fatal(err)
		}
	}
	h.t.Logf("%d users were moved by the others %v after the cut", len(h.to), since(h.at))
	for _, e := range h.nodes {
		for user := range h.wrong {
			if e != h.victim {
				h.moved = append(h.moved, h.keeps(e, user))
			}
		}
	}
	for _, state := range []table.Admin{table.Draining, table.Active} { // the victim is two views behind
		h.t.Logf("a view changes in %v without it", change(h.t, h.admin, state, patience))
	}
	// The rest is waited for, at a pace that neither sessions nor machine notice.
	pace := time.NewTicker(max(h.length/40, 2*time.Second))
	defer pace.Stop()
	for i := 0; time.Since(h.at) < h.length; i++ {
		select {
		case <-pace.C:
		case <-time.After(h.length - time.Since(h.at)):
		}
		for _, e := range h.nodes {
			if ok, verdict := e.tries("guest-" + e.name); !ok {
				h.t.Errorf("%v after the cut, by %s: %s", since(h.at), e.name, verdict)
			}
			h.logins++
		}
		h.works("during the cut", true)
	}
	h.t.Logf("%d logins up to the end of the cut, %v after it began", h.logins, since(h.at))
}

// works wants all sessions to work that have to.
func (h *healing) works(when string, wrong bool) {
	h.t.Helper()
	for user, c := range h.kept {
		if c.err == nil && !c.works() {
			h.t.Errorf("%s: the session of %s, which fits: %v", when, user, c.err)
		}
	}
	for _, c := range h.moved {
		if c.err == nil && !c.works() {
			h.t.Errorf("%s: a session of the moved: %v", when, c.err)
		}
	}
	for user, c := range h.wrong {
		if wrong && c.err == nil && !c.works() {
			h.t.Errorf("%s: the session of %s by the node that is cut off: %v", when, user, c.err)
		}
	}
}

// together gives the link back.
func (h *healing) together() {
	for user, c := range h.wrong {
		h.ending.Go(func() { // ends with the connection, which has a deadline
			if c.ended() {
				h.mu.Lock()
				defer h.mu.Unlock()
				h.ends[user] = time.Now()
			}
		})
	}
	h.home.heal(h.t)
	began := time.Now()
	eventually(h.t, "the node is a member with a lease again", func() bool {
		m := h.member(h.victim.name)
		var o cluster.Overview
		h.victim.asks(admin.FleetPath, nil, &o)
		return m.State == "alive" && m.Counted && m.Life > h.life && o.Quorum && !o.Isolated
	})
	h.t.Logf("the node has its lease again %v after the link is back", since(began))
	if took := time.Since(began); took > rejoinLimit {
		h.t.Errorf("the node came back after %v", took)
	}
	began = time.Now()
	var differ string
	if !poll(patience, func() bool { differ = h.differ(); return differ == "" }) {
		h.t.Errorf("the tables differ for good: %s", differ)
	}
	h.t.Logf("all tables are equal %v later, for %d users", since(began), len(h.users))
	if took := time.Since(began); took > equalLimit {
		h.t.Errorf("the tables were equal after %v", took)
	}
	h.ending.Wait()
	for user := range h.wrong {
		if h.ends[user].IsZero() {
			h.t.Errorf("the session of %s, which does not fit, goes on", user)
			continue
		}
		h.t.Logf("the session of %s was closed %v after the node had its lease", user, h.ends[user].Sub(began).Round(time.Millisecond))
	}
	h.works("after it", false)
	for user := range h.wrong { // he comes back by the same node
		h.moved = append(h.moved, h.keeps(h.victim, user))
	}
	applied := h.admin.Overview().Applied
	eventually(h.t, "the log goes on", func() bool { return h.admin.Overview().Applied >= applied+calmGrants })
	h.works("a while after it", false)
	h.once()
	took := change(h.t, h.admin, table.Draining, patience)
	h.t.Logf("a view changes in %v", took)
	if took > 3*time.Second {
		h.t.Errorf("a change of the view took %v: somebody is waited for who is there", took)
	}
}

// once wants the sessions that did not fit to be closed once and no other one, by
// the logs of the nodes and of the servers.
func (h *healing) once() {
	for _, e := range h.nodes {
		for _, user := range h.users {
			want := 0
			if e == h.victim && h.wrong[user] != nil {
				want = 1
			}
			if got := e.p.log.lines(`msg=session .*user=` + user + `\b`); len(got) != want {
				h.t.Errorf("%s: %d sessions of %s ended, want %d: %q", e.name, len(got), user, want, got)
			}
		}
	}
	list := h.presences()
	eventually(h.t, "every login is in a server's log", func() bool { list = h.presences(); return len(list) >= h.logins })
	for _, p := range list {
		to, moves := h.to[p.user]
		switch {
		case moves && p.server != to && p.to.IsZero():
			h.t.Errorf("%s is still at %s", p.user, p.server)
		case moves && p.server != to && p.from.After(h.at):
			h.t.Errorf("%s came to %s after he was moved", p.user, p.server)
		}
	}
	list = slices.DeleteFunc(list, func(p presence) bool { return h.wrong[p.user] != nil }) // "serve" takes that into the bargain
	for _, bad := range overlaps(list) {
		h.t.Errorf("two back ends at once: %s", bad)
	}
}
