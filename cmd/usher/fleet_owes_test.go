package main

import (
	"strings"
	"testing"

	"usher.example/balancer/admin"
	"usher.example/cluster"
)

// usher fleet status names who holds up the others, and with what.
func TestPrintOwes(t *testing.T) {
	var out strings.Builder
	st := admin.FleetStatus{Overview: cluster.Overview{Fleet: "mail", Node: "edge-1", Leader: "edge-1", Quorum: true, Members: []cluster.NodeState{
		{Node: "edge-1"}, {Node: "edge-2", Owes: []string{"the change of pool main to epoch 8"}},
	}}}
	if err := printFleet(&out, &st); err != nil {
		t.Fatal(err)
	}
	if want := "\nwaits for edge-2: the change of pool main to epoch 8\n"; !strings.Contains(out.String(), want) {
		t.Errorf("got %q, want %q in it", out.String(), want)
	}
	if strings.Contains(out.String(), "waits for edge-1") {
		t.Errorf("got %q, and edge-1 owes nothing", out.String())
	}
}
