package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"usher.example/cluster/table"
)

// calmLease is for how many grants, one each second, nobody may lose his lease: more
// than a lease is long.
const calmLease = 10

// TestFleetClocks runs nodes whose machines have been up for different times: each is
// in a time namespace of its own, where CLOCK_BOOTTIME and CLOCK_MONOTONIC are days
// ahead. Leases hold, views change and users are moved, and a node that comes back
// with a clock that began anew, as after a restart of its machine, is let in. With
// USHER_LONG one leader after the other dies, and is waited for as long as ever.
//
// The wall clock has no namespaces, and nothing that is promised reads it: it dates
// certificates of the fleet port, which are good for a century, and notes.
func TestFleetClocks(t *testing.T) {
	t.Parallel()
	require(t, "unshare")
	if os.Getuid() != 0 {
		t.Skip("SKIPPED, needs root, for time namespaces")
	}
	if out, err := exec.Command("unshare", append(ahead(10, 400)[1:], "true")...).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED, no time namespaces here: %v: %s", err, out)
	}
	r := newRig(t, rigOptions{})
	r.nodes[0].within = ahead(5, 0)
	r.nodes[1].within = ahead(10, 10)
	r.nodes[2].within = ahead(1, 400) // MONOTONIC is ahead of BOOTTIME: no machine has that, and it does not matter
	r.start()
	admin := r.administrator("")
	for _, e := range r.nodes {
		if mine, theirs := clocks(t, "self"), clocks(t, strconv.Itoa(e.p.pid())); mine == theirs {
			t.Fatalf("the clocks of %s are ours: %s", e.name, theirs)
		}
	}
	logins, moves := 0, 0
	led := []string{}
	for moves < 1 || long() && moves < len(r.nodes) {
		leader := r.leads(admin)
		led = append(led, leader.name)
		took := change(t, admin, []table.Admin{table.Draining, table.Active}[moves%2], patience)
		from := time.Now()
		for _, e := range r.nodes {
			r.session(e, "rover")
			logins++
		}
		at := r.last("rover", logins)
		to := map[string]string{"mail1": "mail2", "mail2": "mail1"}[at]
		if moves%2 == 0 { // mail1 is drained
			to = "mail2"
		}
		if err := admin.Move(deadlineCtx(t), "main", "rover", to, "test"); err != nil {
			t.Errorf("led by %s: %v", leader.name, err)
		}
		moves++
		t.Logf("led by %s: a view changed in %v, a move took %v", leader.name, took, since(from))
		applied := admin.Overview().Applied
		eventually(t, "grants go on", func() bool { return admin.Overview().Applied >= applied+calmLease })
		for _, e := range r.nodes {
			if lost := e.p.log.lines("the node has lost its fleet"); len(lost) != 0 {
				t.Errorf("led by %s: %s: %s", leader.name, e.name, lost)
			}
		}
		victim, state := r.follows(admin), []table.Admin{table.Draining, table.Active}[moves%2]
		if long() { // the others wait for its lease by their own clocks
			leader.kill()
			began := time.Now()
			change(t, admin, state, 16*time.Second)
			t.Logf("%s, which led, has died: a view changed after %v", leader.name, since(began))
			victim = leader
		} else {
			victim.kill()
		}
		victim.within = nil // its machine has been restarted
		began := time.Now()
		victim.begin()
		victim.ready()
		change(t, admin, state, 16*time.Second)
		t.Logf("%s is back with another clock, and the view can change, after %v", victim.name, since(began))
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("it took %v", took)
		}
	}
	t.Logf("led by %s", led)
	r.checkPresence(logins)
}

// ahead runs a program on a machine that has been up for so many days more.
func ahead(boot, monotonic int) []string {
	seconds := func(days int) string { return fmt.Sprint(int((time.Duration(days) * 24 * time.Hour).Seconds())) }
	return []string{"unshare", "--time", "--boottime", seconds(boot), "--monotonic", seconds(monotonic), "--"}
}

// clocks is the time namespace of a process.
func clocks(t testing.TB, process string) string {
	t.Helper()
	text, err := os.Readlink("/proc/" + process + "/ns/time")
	if err != nil {
		t.Fatal(err)
	}
	return text
}
