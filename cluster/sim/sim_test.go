package sim_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"strconv"
	"testing"

	"usher.example/cluster/rule"
	"usher.example/cluster/sim"
)

var (
	seed  = flag.Uint64("seed", 0, "the only seed to run, with a trace")
	from  = flag.Uint64("from", 1, "the first seed to run")
	seeds = flag.Uint64("seeds", 0, "how many seeds to run")
)

// TestPromise lets fleets have random fates. USHER_LONG=10 runs ten times as many;
// -seed replays one.
func TestPromise(t *testing.T) {
	if *seed != 0 {
		r, err := sim.Run(sim.Common.Draw(*seed), sim.Options{Trace: os.Stdout})
		t.Logf("%+v", r)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	n := uint64(2000)
	if raceOn {
		n = 200
	}
	if testing.Short() {
		n = 20
	}
	if times, err := strconv.ParseUint(os.Getenv("USHER_LONG"), 10, 64); err == nil {
		n *= times
	}
	if *seeds > 0 {
		n = *seeds
	}
	var sum sim.Result
	for seed := *from; seed < *from+n; seed++ {
		p := sim.Common.Draw(seed)
		r, err := sim.Run(p, sim.Options{})
		sum.Add(r)
		if err != nil {
			t.Errorf("%.1000v\nreplay: go test ./cluster/sim -run TestPromise -args -seed %d\n%s",
				err, seed, sim.Shrink(p, sim.Options{}, err, 300))
			break
		}
	}
	t.Logf("%d seeds: %+v", n, sum)
	if !t.Failed() && (sum.Logins == 0 || sum.Stays == 0 || sum.Changes == 0 || sum.Moves == 0 || sum.Loads == 0 || sum.Expired == 0 || sum.Stores == 0 || sum.Locks == 0) {
		t.Error("a simulation in which nothing happens")
	}
}

// TestTickets is TestPromise for fleets whose leaders turn keys of session tickets by
// clocks that may show anything: no key is used that a node with a lease does not have,
// each fleet has one in the end, and none makes many.
func TestTickets(t *testing.T) {
	pr := sim.Common
	pr.Tickets = true
	var sum sim.Result
	for seed := uint64(1); seed <= 100; seed++ {
		p := pr.Draw(seed)
		r, err := sim.Run(p, sim.Options{})
		sum.Add(r)
		if err != nil {
			t.Fatalf("seed %d: %.1000v\n%s", seed, err, sim.Shrink(p, sim.Options{}, err, 300))
		}
		if r.Turns == 0 {
			t.Errorf("seed %d: no key in all the time", seed)
		}
	}
	t.Logf("%+v", sum)
	if sum.Turns < 2*100 || sum.Logins == 0 {
		t.Error("a simulation in which nothing happens")
	}
}

// The same seed is the same run, to the last line of its trace.
func TestReplay(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		var a, b bytes.Buffer
		_, errA := sim.Run(sim.Common.Draw(seed), sim.Options{Trace: &a})
		_, errB := sim.Run(sim.Common.Draw(seed), sim.Options{Trace: &b})
		if errA != nil || errB != nil || a.Len() == 0 || !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("seed %d: two runs differ, or fail: %v, %v", seed, errA, errB)
		}
	}
}

// What is left of a plan fails for the same reason.
func TestShrink(t *testing.T) {
	o := sim.Options{Broken: rule.Broken(0).Break(rule.HoldInMove)}
	for seed := uint64(1); seed < 100; seed++ {
		p := sim.Common.Draw(seed)
		_, err := sim.Run(p, o)
		if !errors.Is(err, sim.ErrTwice) {
			continue
		}
		less := sim.Shrink(p, o, err, 500)
		if _, err := sim.Run(less, o); !errors.Is(err, sim.ErrTwice) {
			t.Errorf("the rest fails otherwise: %v", err)
		}
		if len(less.Actions)*4 > len(p.Actions) {
			t.Errorf("%d of %d actions are left", len(less.Actions), len(p.Actions))
		}
		t.Log(less)
		return
	}
	t.Fatal("no seed fails")
}
