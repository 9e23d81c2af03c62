package main

import (
	"strings"
	"testing"
	"time"

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

// What is under seal is told by version: an operator drops one when there is nothing.
func TestStatusVault(t *testing.T) {
	var out strings.Builder
	st := admin.FleetStatus{Overview: cluster.Overview{Fleet: "mail", Node: "u1", Leader: "u1", Quorum: true, Vault: cluster.Vault{
		Values: 3, Octets: 1234, MaxOctets: 67108864,
		Locks:   []cluster.LockState{{Name: "issue a", Node: "u2"}, {Name: "b", Node: "u1"}, {Name: "c", Node: "u1"}, {Name: "d", Node: "u1"}, {Name: "e", Node: "u1"}, {Name: "f", Node: "u1"}},
		Tickets: cluster.TicketState{Epoch: 7, Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Keys: 4, Unopened: 1},
		Seals: []cluster.Seal{
			{By: "aaaaaaaa", Used: true, Values: 1, Tickets: 3, MapKey: true}, {By: "bbbbbbbb"}, {By: "cccccccc", Unknown: true, Values: 2},
		},
	}}}
	if err := printFleet(&out, &st); err != nil {
		t.Fatal(err)
	}
	want := `3 values stored, 1234 of 67108864 octets
locked: issue a by u2, b by u1, c by u1, d by u1, e by u1, and 1 more
session tickets: key 7 since 2026-01-02T03:04:05Z, 4 keys, of which this node cannot open 1
sealed: with aaaaaaaa: 1 value, 3 ticket keys, the map key; with bbbbbbbb: nothing; with cccccccc, which this node does not have: 2 values
`
	if !strings.Contains(out.String(), want) {
		t.Errorf("no\n%s\nin\n%s", want, out.String())
	}
}
