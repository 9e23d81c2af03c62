package main

import (
	"strings"
	"testing"

	"usher.example/balancer/admin"
	"usher.example/cluster"
)

// Nodes whose configuration differs are named, with what differs.
func TestStatusDiffers(t *testing.T) {
	var out strings.Builder
	st := admin.FleetStatus{
		Overview: cluster.Overview{Fleet: "mail", Node: "u1", Leader: "u1", Quorum: true},
		Differs: map[string][]string{
			"u2": {"fleet.kick_delay is 1s, the fleet's is 2s", "users.lower_case is true, the fleet's is false"},
			"u3": {"fleet.voters are u1, elsewhere u1 u2 u3"},
		},
	}
	if err := printFleet(&out, &st); err != nil {
		t.Fatal(err)
	}
	want := `configured otherwise than the fleet: u2: fleet.kick_delay is 1s, the fleet's is 2s; users.lower_case is true, the fleet's is false
configured otherwise than the fleet: u3: fleet.voters are u1, elsewhere u1 u2 u3
`
	if !strings.Contains(out.String(), want) {
		t.Errorf("no\n%s\nin\n%s", want, out.String())
	}
}
