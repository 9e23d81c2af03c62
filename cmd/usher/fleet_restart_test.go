package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"usher.example/cluster"
	"usher.example/cluster/table"
)

// TestFleetAllRestart kills all nodes at once. When they are back, a pin, an
// admin state and everybody's home are as they were.
func TestFleetAllRestart(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{servers: 3})
	r.start()
	admin := r.administrator("")
	if err := admin.SetAdmin(deadlineCtx(t), "main", "mail3", table.Draining, "test"); err != nil {
		t.Fatal(err)
	}
	if err := admin.Move(deadlineCtx(t), "main", "pinned", "mail1", "test"); err != nil {
		t.Fatal(err)
	}
	other, err := admin.Where("main", "pinned")
	if err != nil || other.Pin != "mail1" {
		t.Fatalf("%+v, %v", other, err)
	}
	was := map[string]string{}
	logins := 0
	for i := range 20 {
		user := fmt.Sprintf("user%02d", i)
		r.session(r.nodes[i%3], user)
		was[user] = r.last(user, 1)
		logins++
	}
	for round := range 2 {
		for _, e := range r.nodes {
			if round == 0 {
				e.kill()
			} else {
				e.p.signal(syscall.SIGTERM)
				e.p.signal(syscall.SIGTERM)
			}
		}
		began := time.Now()
		for _, e := range r.nodes {
			if round == 1 {
				e.p.wait()
			}
			e.begin()
		}
		for _, e := range r.nodes {
			e.ready()
		}
		t.Logf("all serve again after %v", since(began))
		r.leads(admin)
		t.Logf("a witness without a vote is of the fleet again after %v", since(began))
		i := 0
		for user, at := range was {
			i++
			if ok, verdict := r.nodes[i%3].tries(user); !ok {
				t.Errorf("%s: %s", user, verdict)
			}
			logins++
			if got := r.last(user, 2+round); got != at {
				t.Errorf("%s was at %s and is at %s", user, at, got)
			}
			if at == "mail3" {
				t.Errorf("%s came to the server that is drained", user)
			}
		}
		if ok, verdict := r.nodes[round].tries("pinned"); !ok {
			t.Errorf("pinned: %s", verdict)
		}
		logins++
		if at := r.last("pinned", 1+round); at != "mail1" {
			t.Errorf("the pinned user is at %s", at)
		}
	}
	r.checkPresence(logins)
}

// TestFleetLostDirectory takes a voter's state directory away: it comes back as
// another voter, by itself, and with the others makes a quorum.
func TestFleetLostDirectory(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	r.start()
	admin := r.administrator("")
	victim := r.follows(admin)
	victim.stop()
	if err := os.RemoveAll(victim.state()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	victim.begin()
	victim.ready()
	t.Logf("the node serves again after %v", since(began))
	leader := r.leads(admin)
	leader.p.log.await(t, `msg="a node votes" .*peer=`+victim.name, 1)
	t.Logf("it votes again after %v", since(began))
	// Its vote counts: without one of the others there is a quorum.
	for _, e := range r.nodes {
		if e != victim && e != leader {
			e.kill()
		}
	}
	t.Logf("a view changes with its vote after %v", change(t, admin, table.Draining, 14*time.Second))
	if ok, verdict := victim.tries("joe"); !ok {
		t.Error(verdict)
	}
	if at := r.last("joe", 1); at != "mail2" {
		t.Errorf("joe is at %s, which is drained", at)
	}
	r.checkPresence(1)
}

// TestFleetNoQuorum kills two of three voters. By serve, logins go on, at once and
// after the lease; by refuse they get a temporary error, and sessions are closed.
// Orders say that there is no quorum.
func TestFleetNoQuorum(t *testing.T) {
	t.Parallel()
	for _, refuse := range []bool{false, true} {
		t.Run(map[bool]string{false: "serve", true: "refuse"}[refuse], func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rigOptions{refuse: refuse})
			r.start()
			admin := r.administrator("")
			left := r.nodes[2]
			live := r.session(left, "live")
			home := r.last("live", 1)
			r.nodes[0].kill()
			r.nodes[1].kill()
			began := time.Now()
			ended := make(chan time.Duration, 1)
			go func() { live.ended(); ended <- since(began) }()
			if ok, verdict := left.tries("early"); !ok {
				t.Errorf("at once: %s", verdict)
			}
			refused := time.Duration(0)
			isolated := func() bool { return len(left.p.log.lines("the node has lost its fleet")) > 0 }
			tick := time.NewTicker(loadEvery)
			defer tick.Stop()
			for ; !isolated(); <-tick.C {
				switch ok, verdict := left.tries("live"); {
				case ok:
				case refuse && temporary(verdict):
					if refused == 0 {
						refused = since(began)
					}
				default:
					t.Errorf("after %v: %s", since(began), verdict)
				}
				if since(began) > patience/2 {
					t.Fatal("the node does not notice")
				}
			}
			t.Logf("isolated after %v", since(began))
			if took := time.Since(began); took > 9*time.Second {
				t.Errorf("isolated after %v", took)
			}
			ok, verdict := left.tries("late")
			asked := time.Now()
			err := admin.SetAdmin(deadlineCtx(t), "main", "mail1", table.Draining, "test")
			if !errors.Is(err, cluster.ErrNoLeader) {
				t.Errorf("an order: %v, want %v", err, cluster.ErrNoLeader)
			}
			if err != nil && !strings.Contains(err.Error(), "edge-1, edge-2") {
				t.Errorf("an order: %v: who is missed is not said", err)
			}
			t.Logf("an order was refused after %v: %v", since(asked), err)
			if !refuse {
				if !ok {
					t.Errorf("isolated: %s", verdict)
				}
				select {
				case at := <-ended:
					t.Errorf("the session ended after %v", at)
				default:
				}
				r.checkPresence(3)
				if at := r.at("live"); len(at) != 1 || at[0] != home {
					t.Errorf("live was at %s and later at %s", home, at)
				}
				return
			}
			if ok || !temporary(verdict) {
				t.Errorf("isolated: %q, want a temporary error", verdict)
			}
			took := <-ended
			t.Logf("logins are refused after %v, the session ended after %v", refused, took)
			if took > 9*time.Second {
				t.Errorf("the session ended after %v", took)
			}
			if status, text := left.p.ask("/readyz?verbose"); status == 200 {
				t.Errorf("ready while logins are refused: %s", text)
			}
			r.checkPresence(2)
			// One more voter is a quorum.
			began = time.Now()
			r.nodes[0].begin()
			left.ready()
			t.Logf("with a second voter logins are taken again after %v", since(began))
			if ok, verdict := left.tries("live"); !ok {
				t.Error(verdict)
			}
		})
	}
}

// TestFleetDirectoryLock wants one process only in a state directory.
func TestFleetDirectoryLock(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	r.start()
	second := r.add("edge-1")
	second.head = "drain = \"20s\"\n" + r.fleetTable(second)
	if err := os.Symlink(r.nodes[0].state(), filepath.Clean(second.state())); err != nil {
		t.Fatal(err)
	}
	second.begin()
	<-second.p.done
	if second.p.err == nil {
		t.Error("a second process in one state directory started")
	}
	second.p.err = nil // as was wanted
	if got := second.p.log.lines("another usher has it"); len(got) != 1 {
		t.Errorf("it said %s", second.p.log)
	}
}

// TestFleetStartsAlone starts one of three nodes that were all stopped in good
// order: without a quorum it serves after a while from the table that it has.
func TestFleetStartsAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	r.start()
	admin := r.administrator("")
	if err := admin.Move(deadlineCtx(t), "main", "pinned", "mail1", "test"); err != nil {
		t.Fatal(err)
	}
	if err := admin.Move(deadlineCtx(t), "main", "other", "mail2", "test"); err != nil {
		t.Fatal(err)
	}
	for _, e := range r.nodes {
		e.p.signal(syscall.SIGTERM)
	}
	for _, e := range r.nodes {
		e.p.wait()
	}
	alone := r.nodes[1]
	began := time.Now()
	alone.begin()
	alone.ready()
	t.Logf("the node serves alone after %v", since(began))
	if took := time.Since(began); took > 14*time.Second {
		t.Errorf("it took %v", took)
	}
	for user, want := range map[string]string{"pinned": "mail1", "other": "mail2"} {
		if ok, verdict := alone.tries(user); !ok {
			t.Errorf("%s: %s", user, verdict)
		}
		if at := r.last(user, 1); at != want {
			t.Errorf("%s is at %s, want %s", user, at, want)
		}
	}
}

// TestFleetDamaged starts nodes whose logs are damaged as disks do it: what is torn
// at the end is dropped, what is broken inside is refused in words or mended by the
// others, and no pin is lost.
func TestFleetDamaged(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	r.start()
	admin := r.administrator("")
	for i := range 20 {
		if err := admin.Move(deadlineCtx(t), "main", fmt.Sprintf("user%02d", i), "mail1", "test"); err != nil {
			t.Fatal(err)
		}
	}
	victim := r.follows(admin)
	for _, damage := range []struct {
		name string
		do   func(text []byte, end int) []byte
	}{
		{"torn", func(text []byte, end int) []byte { clear(text[end-7:]); return text }},
		{"cut", func(text []byte, end int) []byte { return text[:end-20] }},
		{"flipped", func(text []byte, _ int) []byte { // mail1 becomes mail3, of which nobody knows
			text[bytes.LastIndex(text, []byte("mail1"))+4] ^= 2
			return text
		}},
	} {
		victim.kill()
		files, err := filepath.Glob(filepath.Join(victim.state(), "log", "*.wal"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no log: %v, %v", files, err)
		}
		file := files[len(files)-1]
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		end := len(bytes.TrimRight(text, "\x00"))
		if err := os.WriteFile(file, damage.do(text, end), 0o600); err != nil {
			t.Fatal(err)
		}
		victim.begin()
		serves := poll(patience, func() bool {
			select {
			case <-victim.p.done:
				return true
			default:
			}
			status, _ := victim.p.ask("/readyz")
			return status == 200
		})
		select {
		case <-victim.p.done:
			victim.p.err = nil // it may refuse, in words
			said := victim.p.log.String()
			t.Logf("%s: refused: %s", damage.name, said[max(0, len(said)-400):])
			if !strings.Contains(said, "state directory") {
				t.Errorf("%s: it does not say what is wrong", damage.name)
			}
			if err := os.RemoveAll(victim.state()); err != nil { // as it says
				t.Fatal(err)
			}
			victim.begin()
			victim.ready()
		default:
			t.Logf("%s: it serves: %v", damage.name, serves)
			if !serves {
				t.Errorf("%s: neither serves nor ends", damage.name)
			}
		}
		for i := range 20 {
			user := fmt.Sprintf("user%02d", i)
			if ok, verdict := victim.tries(user); !ok {
				t.Errorf("%s: %s: %s", damage.name, user, verdict)
			}
		}
	}
	r.checkPresence(60)
	for _, p := range r.presences() {
		if p.server != "mail1" {
			t.Errorf("%s was at %s", p.user, p.server)
		}
	}
}
