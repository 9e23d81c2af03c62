package main_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"usher.example/cluster"
	"usher.example/cluster/table"
)

// TestFleetPartition cuts a strict node off from the others. It closes what it has
// and refuses logins by the end of its lease; then the others move a user who was
// connected there. By the servers' logs he was never at two of them. When the
// link is back, so is the node.
func TestFleetPartition(t *testing.T) {
	t.Parallel()
	if inNetwork(t) {
		p := cutOff(t, true, false)
		p.refused()
		p.heals()
		p.checkPresence(1)
	}
}

// TestFleetPartitionServe cuts off a node that goes on, and the leader.
func TestFleetPartitionServe(t *testing.T) {
	if !long() {
		t.Skip("SKIPPED, takes a minute: USHER_LONG=1")
	}
	t.Parallel()
	if inNetwork(t) {
		p := cutOff(t, false, false)
		p.served()
		p.heals()
	}
}

// TestFleetPartitionLeader cuts off a strict leader.
func TestFleetPartitionLeader(t *testing.T) {
	if !long() {
		t.Skip("SKIPPED, takes a minute: USHER_LONG=1")
	}
	t.Parallel()
	if inNetwork(t) {
		p := cutOff(t, true, true)
		p.refused()
		p.heals()
		p.checkPresence(1)
	}
}

// TestFleetPartitionLong keeps a node cut off for a minute.
func TestFleetPartitionLong(t *testing.T) {
	if !long() {
		t.Skip("SKIPPED, takes minutes: USHER_LONG=1")
	}
	t.Parallel()
	if inNetwork(t) {
		p := cutOff(t, true, false)
		p.refused()
		<-time.After(time.Minute - time.Since(p.at))
		p.heals()
		p.checkPresence(1)
	}
}

// A partition is a rig with one node cut off.
type partition struct {
	*rig
	t      *testing.T
	admin  *cluster.Fleet
	victim *edge
	home   netHome
	others []*edge
	at     time.Time
	live   *client // of the user, by the victim
	from   string
	to     string
}

const cutUser = "roamer"

// cutOff starts a rig, connects a user by a node and cuts that node off.
func cutOff(t *testing.T, refuse, leader bool) *partition {
	t.Helper()
	homes := networks(t)
	r := newRig(t, rigOptions{refuse: refuse, homes: homes, address: inMail(t)})
	r.start()
	p := &partition{rig: r, t: t, admin: r.administrator("10.78.0.1")}
	p.victim = r.follows(p.admin)
	if leader {
		p.victim = r.leads(p.admin)
	}
	p.home = homes[slices.Index(r.nodes, p.victim)]
	for _, e := range r.nodes {
		if e != p.victim {
			p.others = append(p.others, e)
		}
	}
	p.live = r.session(p.victim, cutUser)
	p.from = r.last(cutUser, 1)
	p.to = map[string]string{"mail1": "mail2", "mail2": "mail1"}[p.from]
	p.home.cut(t)
	p.at = time.Now()
	return p
}

// moves has the others move the user, which has to wait for the victim's lease.
func (p *partition) moves() chan error {
	done := make(chan error, 1)
	go func() {
		var err error
		poll(patience, func() bool { // there may be no leader yet
			err = p.admin.Move(deadlineCtx(p.t), "main", cutUser, p.to, "test")
			return err == nil
		})
		done <- err
	}()
	return done
}

// refused holds the victim to refusing everything by the end of its lease.
func (p *partition) refused() {
	moved := p.moves()
	ended := make(chan time.Duration, 1)
	go func() { p.live.ended(); ended <- since(p.at) }()
	eventually(p.t, "the node refuses logins", func() bool {
		ok, verdict := p.victim.tries(cutUser)
		if !ok && !temporary(verdict) {
			p.t.Errorf("by the node that is cut off: %s", verdict)
		}
		return !ok
	})
	p.t.Logf("logins are refused %v after the cut", since(p.at))
	if took := <-ended; took > 9*time.Second {
		p.t.Errorf("the session ended after %v", took)
	} else {
		p.t.Logf("the session ended %v after the cut", took)
	}
	if err := <-moved; err != nil {
		p.t.Error(err)
	}
	p.t.Logf("the user was moved by the others %v after the cut", since(p.at))
	p.moved()
}

// served holds the victim to going on.
func (p *partition) served() {
	moved := p.moves()
	p.victim.p.log.await(p.t, "the node has lost its fleet", 1)
	p.t.Logf("isolated %v after the cut", since(p.at))
	if took := time.Since(p.at); took > 9*time.Second {
		p.t.Errorf("isolated after %v", took)
	}
	if status, text := p.victim.p.ask("/readyz"); status != http.StatusOK || !strings.HasPrefix(text, "ready\ndegraded: isolated from the fleet") {
		p.t.Errorf("/readyz of the node that is cut off: %d, %q", status, text)
	}
	for i := range 10 {
		if ok, verdict := p.victim.tries(fmt.Sprintf("user%d", i)); !ok {
			p.t.Errorf("by the node that is cut off: %s", verdict)
		}
	}
	if err := <-moved; err != nil {
		p.t.Error(err)
	}
	p.t.Logf("the user was moved by the others %v after the cut", since(p.at))
	p.moved()
	if bad := overlaps(p.presences()); len(bad) == 0 { // what "serve" takes into the bargain
		p.t.Error("the user is at two servers, and the checker does not see it")
	}
	if !p.live.works() {
		p.t.Errorf("the session by the node that is cut off: %v", p.live.err)
	}
}

// moved logs the user in by the others.
func (p *partition) moved() {
	if took := time.Since(p.at); took > 15*time.Second {
		p.t.Errorf("the move took %v", took)
	}
	for _, e := range p.others {
		if ok, verdict := e.tries(cutUser); !ok {
			p.t.Errorf("%s: %s", e.name, verdict)
		}
	}
	eventually(p.t, "the user is at "+p.to, func() bool { return slices.Contains(p.rig.at(cutUser), p.to) })
}

// heals gives the link back and wants the node to be one of the fleet again.
func (p *partition) heals() {
	p.home.heal(p.t)
	began := time.Now()
	eventually(p.t, "the node is where the fleet is", func() bool {
		c := p.victim.enter("imaps", entry{})
		defer c.Close()
		if !good(c.login(cutUser, "secret")) {
			return false
		}
		return p.placed(p.victim) == p.to
	})
	p.t.Logf("the node is one of the fleet again %v after the link is back", since(began))
	if took := time.Since(began); took > 15*time.Second {
		p.t.Errorf("the node came back after %v", took)
	}
	if !p.live.ended() {
		p.t.Error("the session that does not fit goes on")
	}
	took := change(p.t, p.admin, table.Draining, 15*time.Second)
	p.t.Logf("a view changes in %v", took)
	if took > 3*time.Second {
		p.t.Errorf("a change of the view took %v: somebody is waited for who is there", took)
	}
}

// placed is where a node has the user.
func (p *partition) placed(e *edge) string { return e.p.places(p.t, e.site)[cutUser] }
