package main_test

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"usher.example/cluster"
	"usher.example/cluster/table"
)

// moveAfterLeader is how long a move may take whose leader dies.
const moveAfterLeader = 30 * time.Second

// slowKick gives a test the time to do something within the kick delay.
const slowKick = 3 * time.Second

// TestFleetLeaderDiesInMove kills the leader in each phase of a move, and leaves it
// dead: the move comes to its end by itself, no login is held for ever, and the
// user was never on two servers.
func TestFleetLeaderDiesInMove(t *testing.T) {
	t.Parallel()
	for _, phase := range []struct {
		name string
		long bool
		kick time.Duration
		at   func(m *dying) // returns in that phase
	}{
		{"ordered", true, kickDelay, func(*dying) {}},
		{"clearing", false, kickDelay, (*dying).clearing},
		{"waiting", false, slowKick, (*dying).waiting},
		{"placed", true, kickDelay, (*dying).placed},
	} {
		t.Run(phase.name, func(t *testing.T) {
			if phase.long && !long() {
				t.Skip("SKIPPED, the phases that are over in a moment: USHER_LONG=1")
			}
			t.Parallel()
			r := newRig(t, rigOptions{kick: phase.kick})
			r.start()
			m := &dying{rig: r, t: t, admin: r.administrator("")}
			m.run(phase.at, phase.name)
		})
	}
}

// A dying is a move whose leader dies.
type dying struct {
	*rig
	t        *testing.T
	admin    *cluster.Fleet
	leader   *edge
	others   []*edge
	sessions []*client
	from, to string
	moved    chan error
	began    time.Time
	frozen   *edge
}

const dyingUser = "rover"

func (m *dying) run(at func(*dying), name string) {
	m.leader = m.leads(m.admin)
	for _, e := range m.nodes {
		if e != m.leader {
			m.sessions = append(m.sessions, m.session(e, dyingUser))
			m.others = append(m.others, e)
		}
	}
	m.from = m.last(dyingUser, 2)
	m.to = map[string]string{"mail1": "mail2", "mail2": "mail1"}[m.from]
	m.moved = make(chan error, 1)
	if name == "clearing" {
		m.frozen = m.others[1]
		m.frozen.freeze()
	}
	m.began = time.Now()
	go func() { m.moved <- m.admin.Move(deadlineCtx(m.t), "main", dyingUser, m.to, "one") }()
	at(m)
	m.leader.kill()
	m.t.Logf("the leader dies %v after the order", since(m.began))
	if m.frozen != nil {
		m.frozen.p.signal(syscall.SIGCONT)
	}
	held := 0
	for _, e := range m.others {
		eventually(m.t, "the user is let in", func() bool {
			ok, verdict := e.tries(dyingUser)
			if !ok && !temporary(verdict) {
				m.t.Errorf("%s: %s", e.name, verdict)
			}
			if !ok {
				held++
			}
			return ok
		})
	}
	m.t.Logf("he is let in by both %v after the order, %d logins waited in vain", since(m.began), held)
	err := <-m.moved
	m.t.Logf("the order's answer %v after it: %v", since(m.began), err)
	if took := time.Since(m.began); took > moveAfterLeader {
		m.t.Errorf("it took %v, want %v", took, moveAfterLeader)
	}
	eventually(m.t, "nothing is under way", func() bool { return m.admin.Overview().Moves == 0 })
	where, werr := m.admin.Where("main", dyingUser)
	if werr != nil {
		m.t.Fatal(werr)
	}
	switch {
	case where.Pin == m.to: // it was done, even if the one who asked was not told
	case name == "ordered" && err != nil && where.Pin == "": // it was never begun, and he was told so
		m.to = m.from
	default:
		m.t.Errorf("%+v with the answer %v, want %s", where, err, m.to)
	}
	if name != "ordered" && err != nil {
		m.t.Error(err)
	}
	for _, e := range m.others {
		if ok, verdict := e.tries(dyingUser); !ok {
			m.t.Errorf("%s: %s", e.name, verdict)
		}
	}
	if at := m.last(dyingUser, 6); at != m.to {
		m.t.Errorf("%s is at %s, want %s", dyingUser, at, m.to)
	}
	m.checkPresence(6)
}

// clearing: one node has not said that it has closed his session, as it is stopped;
// the other has.
func (m *dying) clearing() {
	if !m.sessions[0].ended() {
		m.t.Errorf("his session goes on: %v", m.sessions[0].err)
	}
	eventually(m.t, "the move is under way", func() bool { return m.admin.Overview().Moves == 1 }) // until the node wakes up
}

// waiting: all sessions are closed, the kick delay runs, and a second administrator
// is told of the first.
func (m *dying) waiting() {
	for _, c := range m.sessions {
		if !c.ended() {
			m.t.Errorf("his session goes on: %v", c.err)
		}
	}
	if err := m.admin.Move(deadlineCtx(m.t), "main", dyingUser, m.from, "two"); !errors.Is(err, table.ErrMoving) {
		m.t.Errorf("the second administrator: %v, want %v", err, table.ErrMoving)
	} else {
		m.t.Logf("the second administrator is told: %v", err)
	}
}

// placed: the move is done a moment ago.
func (m *dying) placed() {
	eventually(m.t, "he is placed", func() bool {
		w, err := m.admin.Where("main", dyingUser)
		return err == nil && w.Pin == m.to
	})
}
