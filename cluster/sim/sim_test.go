package sim_test

import (
	"flag"
	"os"
	"strconv"
	"testing"

	"usher.example/cluster/sim"
)

var (
	seed  = flag.Uint64("seed", 0, "the only seed to run, with a trace")
	from  = flag.Uint64("from", 1, "the first seed to run")
	seeds = flag.Uint64("seeds", 0, "how many seeds to run")
)

// TestPromise runs fleets of random fates.
func TestPromise(t *testing.T) {
	if *seed != 0 {
		r, err := sim.Run(sim.Common.Draw(*seed), sim.Options{Trace: os.Stdout})
		t.Logf("%+v", r)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	n := *from + 1999
	if s, err := strconv.ParseUint(os.Getenv("USHER_LONG"), 10, 64); err == nil {
		n *= s
	}
	if *seeds > 0 {
		n = *from + *seeds - 1
	}
	var sum sim.Result
	failed := 0
	for seed := *from; seed <= n && failed < 10; seed++ {
		r, err := sim.Run(sim.Common.Draw(seed), sim.Options{})
		sum.Add(r)
		if err != nil {
			failed++
			t.Errorf("seed %d: %.300s", seed, err)
		}
	}
	t.Logf("%d seeds: %+v", n, sum)
}
