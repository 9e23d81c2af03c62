package cluster

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
	"usher.example/health"
)

// Any node counts the users of all, and says whose it cannot count.
func TestSurvey(t *testing.T) {
	secret := NewSecret()
	var nodes []*sitter
	var join []string
	var end func() // of the last
	for _, name := range []string{"edge-1", "edge-2", "edge-3"} {
		var s *sitter
		s, end = startNode(t, FleetOptions{
			Fleet: "test", Node: name, Secrets: []Secret{secret}, Bind: "127.0.0.1:0", Join: join,
			Voters: []string{"edge-1", "edge-2", "edge-3"}, State: t.TempDir(), KickDelay: -1,
		}, mainPool(place.Shared, 3))
		if name != "edge-3" {
			t.Cleanup(end)
		}
		join = append(join, s.f.port.advertise.String())
		nodes = append(nodes, s)
	}
	for _, s := range nodes {
		await(t, s)
	}
	for _, s := range nodes {
		s.login(t, "joe")
		s.login(t, "joe")
	}
	until(t, "all nodes to answer", func() bool {
		list, err := nodes[0].f.Backends()
		users, holds := 0, 0
		for _, b := range list {
			users, holds = users+b.Users, holds+b.Holds
		}
		return err == nil && users == 3 && holds == 6
	})
	list, err := nodes[1].f.Nodes()
	if err != nil || len(list) != 3 {
		t.Fatalf("got %+v, %v", list, err)
	}
	for _, n := range list {
		if !n.Answered || n.Users != 1 || n.Holds != 2 || n.Drained || n.Role != "voter" {
			t.Errorf("got %+v", n)
		}
	}
	if all, err := nodes[2].f.Sessions("joe"); err != nil || len(all) != 3 || all[0].Node != "edge-3" {
		t.Errorf("got %+v, %v", all, err)
	}

	if err := nodes[0].f.DrainNode("edge-2", true); err != nil {
		t.Fatal(err)
	}
	if got := nodes[1].f.Reasons(); !slices.Equal(got, []health.Reason{{Code: health.Drained, Text: "drained by an administrator"}}) {
		t.Errorf("got %q", got)
	}
	if err := nodes[0].f.DrainNode("edge-2", false); err != nil || len(nodes[1].f.Reasons()) > 0 {
		t.Errorf("got %v, %q", err, nodes[1].f.Reasons())
	}
	if err := nodes[0].f.DrainNode("edge-9", true); !errors.Is(err, table.ErrNoMember) {
		t.Errorf("got %v", err)
	}

	end()
	until(t, "a node to be missed", func() bool { return len(nodes[0].f.MissingVoters()) == 1 })
	if _, err := nodes[0].f.Backends(); err == nil || !strings.Contains(err.Error(), "node edge-3: it cannot be seen, and may have users") {
		t.Errorf("got %v", err)
	}
	if err := nodes[0].f.DrainNode("edge-3", true); !errors.Is(err, ErrAbsent) {
		t.Errorf("got %v", err)
	}
}
