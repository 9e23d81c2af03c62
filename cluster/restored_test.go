package cluster

import (
	"testing"

	"usher.example/cluster/place"
)

// TestNewestAfterARestart: a node that has a snapshot and nothing behind it knows how far
// that is, or who asks it for what is new would take nothing for all there is.
func TestNewestAfterARestart(t *testing.T) {
	o := FleetOptions{State: t.TempDir(), KickDelay: -1, Log: testLog(t)}
	s, end := startNode(t, o, mainPool(place.Shared, 1))
	await(t, s)
	put(t, s, "a", "x")
	before := s.f.Overview().Applied
	end()
	f, err := OpenFleet(o) // it does not run: nothing else is said
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var index uint64
	until(t, "it to lead", func() bool {
		index, err = f.newest()
		return err == nil
	})
	if index < before {
		t.Errorf("the newest entry is %d, and was %d before the restart", index, before)
	}
}
