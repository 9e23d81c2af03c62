package main_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"usher.example/balancer/admin"
	"usher.example/cluster"
	"usher.example/cluster/table"
)

// smallDisk holds a state directory with the log's first file, which takes its 64 MB
// at once, and a second one.
const smallDisk = "160m"

// TestFleetDiskFull fills the disk with a node's state directory: logins and orders
// go on by all nodes. Killed and started on the full disk it says so, and serves
// from the table that it has; when there is room it is one of the fleet again, by
// itself. A node that begins on a full disk ends, in words. With USHER_LONG a leader
// is elected meanwhile, and the same is done to the disk of the leader.
func TestFleetDiskFull(t *testing.T) {
	t.Parallel()
	onSmallDisks(t, long(), (*rig).diskFull)
}

// onSmallDisks runs a test with a node that follows, and if it is to with the leader,
// each in a fleet whose state directories are small disks.
func onSmallDisks(t *testing.T, leader bool, test func(r *rig, t *testing.T, f *cluster.Fleet, victim *edge)) {
	t.Helper()
	require(t, "mount", "umount")
	if os.Getuid() != 0 {
		t.Skip("SKIPPED, needs root, to mount a small disk")
	}
	for _, leads := range []bool{false, true} {
		t.Run(map[bool]string{false: "follower", true: "leader"}[leads], func(t *testing.T) {
			if leads && !leader {
				t.Skip("SKIPPED, the leader's disk: USHER_LONG=1")
			}
			t.Parallel()
			r := newRig(t, rigOptions{})
			for _, e := range r.nodes {
				e.smallDisk()
			}
			r.start()
			f := r.administrator("")
			victim := r.follows(f)
			if leads {
				victim = r.leads(f)
			}
			test(r, t, f, victim)
		})
	}
}

func (r *rig) diskFull(t *testing.T, f *cluster.Fleet, victim *edge) {
	live := r.session(victim, "live")
	logins := 1
	order := func(when string) {
		t.Helper()
		for i, state := range []table.Admin{table.Draining, table.Active} {
			took := change(t, f, state, 16*time.Second)
			target := fmt.Sprintf("mail%d", 2-i)
			began := time.Now()
			if err := f.Move(deadlineCtx(t), "main", "rover", target, "test"); err != nil {
				t.Errorf("%s: %v", when, err)
			}
			t.Logf("%s: a view changed in %v, a move took %v", when, took, since(began))
			for _, e := range r.nodes {
				eventually(t, when+": "+e.name+" has the pin", func() bool {
					var w cluster.Whereabouts
					select {
					case <-e.p.done:
						t.Fatalf("%s: %s has ended: %v", when, e.name, e.p.err)
					default:
					}
					e.asks(admin.UserPath, map[string][]string{"user": {"rover"}}, &w)
					return w.Pin == target
				})
				if ok, verdict := e.tries("rover"); !ok {
					t.Errorf("%s: rover by %s: %s", when, e.name, verdict)
				}
				logins++
				if at := r.last("rover", logins-1); at != target {
					t.Errorf("%s: rover by %s is at %s, want %s", when, e.name, at, target)
				}
			}
		}
		if !live.works() {
			t.Errorf("%s: the session: %v", when, live.err)
		}
	}
	room := victim.fill()
	order("full")
	if leader := r.leads(f); long() && leader != victim { // another term, which a voter has to keep
		leader.kill()
		t.Logf("the leader is dead: a view changed after %v", change(t, f, table.Draining, 16*time.Second))
		leader.begin()
		leader.ready()
		order("full, another term")
	}
	victim.kill()
	began := time.Now()
	victim.begin()
	victim.p.log.await(t, "no space left on device", 1)
	t.Logf("started on the full disk it says after %v: %s", since(began), victim.p.log.lines("no space left on device")[0])
	victim.ready()
	t.Logf("it serves after %v", since(began))
	if ok, verdict := victim.tries("rover"); !ok {
		t.Errorf("started on the full disk: %s", verdict)
	}
	room()
	began = time.Now()
	eventually(t, "it is one of the fleet again", func() bool {
		var o cluster.Overview
		victim.asks(admin.FleetPath, nil, &o)
		return o.Quorum && !o.Isolated
	})
	t.Logf("with room it is one of the fleet again after %v", since(began))
	r.checkPresence(logins)

	late := r.add("edge-4")
	late.smallDisk()
	late.fill()
	late.begin()
	select {
	case <-late.p.done:
	case <-time.After(patience):
		t.Fatal("a node that begins on a full disk neither serves nor ends")
	}
	if late.p.err == nil {
		t.Error("a node that begins on a full disk ends well")
	}
	late.p.err = nil // as was wanted
	if said := late.p.log.lines("state directory.*no space left on device"); len(said) != 1 {
		t.Errorf("a node that begins on a full disk says %s", late.p.log)
	} else {
		t.Logf("a node that begins on a full disk: %s", said[0])
	}
}

// smallDisk puts the state directory on a disk of its own, in memory.
func (e *edge) smallDisk() {
	e.t.Helper()
	if err := os.MkdirAll(e.state(), 0o700); err != nil {
		e.t.Fatal(err)
	}
	runs(e.t, "mount", "-t", "tmpfs", "-o", "mode=700,size="+smallDisk, "usher-test", e.state())
	e.t.Cleanup(func() { runs(e.t, "umount", "--lazy", e.state()) })
}

// fill fills that disk up to the last octet, until room is called.
func (e *edge) fill() (room func()) {
	e.t.Helper()
	name := filepath.Join(e.state(), "ballast")
	f, err := os.Create(name)
	if err != nil {
		e.t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err = f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		e.t.Fatalf("fill the disk: %v", err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			e.t.Error(err)
		}
	}
}
