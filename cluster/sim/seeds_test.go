package sim_test

import (
	"testing"

	"usher.example/cluster/sim"
)

// TestSeeds runs the seeds that found faults. What a seed means changes with the
// simulation, so each fault has a unit test besides, in member, lead or table;
// these seeds were looked for again with the fault put back.
func TestSeeds(t *testing.T) {
	for _, tt := range []struct {
		seed uint64
		was  string
	}{
		{55, "a change of view dropped the record of a user whom it had closed, so that a move of him waited for nothing"},
		{70, "a login whose connection broke before the back end answered left no record"},
		{74, "a value that had been removed was stored again by a command that came twice"},
		{214, "the kick delay was over too early by a clock that is fast"},
		{486, "the last report of a lost directory was granted to a life of the new one"},
		{1534, "a pool without back ends was made anew for ever by its list of pins"},
	} {
		if _, err := sim.Run(sim.Common.Draw(tt.seed), sim.Options{}); err != nil {
			t.Errorf("seed %d, where once %s: %v", tt.seed, tt.was, err)
		}
	}
}
