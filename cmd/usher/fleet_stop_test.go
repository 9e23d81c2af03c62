package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"usher.example/cluster/table"
)

// TestFleetStopped stops a node's process for longer than a lease, with a user
// connected by it whom the fleet moves meanwhile. It comes back without a lease. A
// strict node forwards nothing that came while it was stopped; both close what
// does not fit, enter anew and serve. With 20 s behind USHER_LONG.
func TestFleetStopped(t *testing.T) {
	t.Parallel()
	stops, ways := []time.Duration{10 * time.Second}, []bool{true}
	if long() {
		stops, ways = append(stops, 20*time.Second), append(ways, false)
	}
	for _, refuse := range ways {
		for _, stop := range stops {
			name := fmt.Sprintf("%s/%v", map[bool]string{false: "serve", true: "refuse"}[refuse], stop)
			t.Run(name, func(t *testing.T) { testStopped(t, refuse, stop) })
		}
	}
}

func testStopped(t *testing.T, refuse bool, stop time.Duration) {
	t.Parallel()
	r := newRig(t, rigOptions{refuse: refuse})
	r.start()
	admin := r.administrator("")
	victim, other := r.follows(admin), r.leads(admin)
	const user = "sleeper"
	c := r.session(victim, user)
	stays := r.session(victim, "steady")
	r.last("steady", 1)
	from := r.last(user, 1)
	to := map[string]string{"mail1": "mail2", "mail2": "mail1"}[from]
	if !c.works() {
		t.Fatal(c.err)
	}
	began := time.Now()
	victim.freeze()
	c.send("z1 CREATE woke-%s", "x")
	moved := make(chan error, 1)
	go func() { moved <- admin.Move(deadlineCtx(t), "main", user, to, "test") }()
	if err := <-moved; err != nil {
		t.Error(err)
	}
	t.Logf("the move took %v, without the node", since(began))
	if took := time.Since(began); took > 14*time.Second {
		t.Errorf("the move took %v", took)
	}
	if ok, verdict := other.tries(user); !ok {
		t.Error(verdict)
	}
	if at := r.last(user, 2); at != to {
		t.Errorf("%s is at %s, want %s", user, at, to)
	}
	<-time.After(stop - time.Since(began))
	woke := time.Now()
	victim.p.signal(syscall.SIGCONT)
	if !c.ended() {
		t.Errorf("his old session goes on: %v", c.err)
	}
	t.Logf("his old session ended %v after the node woke", since(woke))
	victim.p.log.await(t, "the node has lost its fleet", 1)
	eventually(t, "the node takes logins again", func() bool { ok, _ := victim.tries(user); return ok })
	t.Logf("the node took him again %v after it woke", since(woke))
	if took := time.Since(woke); took > 8*time.Second {
		t.Errorf("the node came back after %v", took)
	}
	if at := r.at(user); len(at) != 2 {
		t.Errorf("%s was at %v", user, at)
	}
	if at := r.last(user, 3); at != to {
		t.Errorf("%s is at %s, want %s", user, at, to)
	}
	i := index(from)
	line := r.servers[i].WaitLog(t, `imap\(`+user+`\).*Disconnected`)
	if refuse {
		if created := r.servers[i].Doveadm(t, "mailbox", "list", "-u", user); strings.Contains(created, "woke") {
			t.Errorf("a command went through the node that had slept: %s", created)
		}
		if !strings.Contains(line, " in=9 ") { // the NOOP before
			t.Errorf("got %s, want nothing but the NOOP", line)
		}
		if !stays.ended() {
			t.Error("the strict node kept a session over the end of its lease")
		}
	} else if !stays.works() {
		t.Errorf("a session that fits was closed: %v", stays.err)
	}
	// Everything works again, and nobody waits for the life that is over.
	if took := change(t, admin, table.Draining, 5*time.Second); took > 3*time.Second {
		t.Errorf("a change of the view took %v", took)
	}
}

// freeze stops the process and waits until all of its threads have: one that was
// about to run may still have gone round its loop.
func (e *edge) freeze() {
	e.t.Helper()
	e.p.signal(syscall.SIGSTOP)
	eventually(e.t, e.name+" is stopped", func() bool {
		stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", e.p.pid()))
		if err != nil || len(stats) == 0 {
			return false
		}
		for _, path := range stats {
			text, err := os.ReadFile(path)
			if _, rest, _ := strings.Cut(string(text), ") "); err != nil || !strings.HasPrefix(rest, "T") { // proc(5)
				return false
			}
		}
		return true
	})
}

// TestFleetStoppedLeader stops the leader until another one is elected: what it
// says when it wakes up is nothing to anybody.
func TestFleetStoppedLeader(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	r.start()
	admin := r.administrator("")
	leader := r.leads(admin)
	began := time.Now()
	leader.freeze()
	eventually(t, "another node leads", func() bool {
		name := admin.Overview().Leader
		return name != "" && name != leader.name
	})
	t.Logf("another node leads after %v", since(began))
	change(t, admin, table.Draining, 16*time.Second)
	t.Logf("a view changes %v after the leader stopped", since(began))
	woke := time.Now()
	leader.p.signal(syscall.SIGCONT)
	eventually(t, "the node is counted and serves", func() bool {
		for _, m := range admin.Overview().Members {
			if m.Node == leader.name && !m.Counted {
				return false
			}
		}
		ok, _ := leader.tries("joe")
		return ok
	})
	t.Logf("the deposed leader serves %v after it woke", since(woke))
	if at := r.last("joe", 1); at != "mail2" && len(r.at("joe")) > 1 {
		t.Errorf("joe is at %v", r.at("joe"))
	}
	if took := change(t, admin, table.Active, 5*time.Second); took > 3*time.Second {
		t.Errorf("a change of the view took %v", took)
	}
	r.checkPresence(1)
}
