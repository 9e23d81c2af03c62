package cluster

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"usher.example/cluster/place"
)

// TestStamp: a state directory is of one fleet, and goes into no other.
func TestStamp(t *testing.T) {
	dir := t.TempDir()
	pool := mainPool(place.Shared, 3)
	alone := FleetOptions{Node: "edge-2", State: dir, KickDelay: -1, Log: testLog(t)}
	abandon(t, alone, func(*sitter) {}, pool)
	fleet := func(name, node string, voters ...string) FleetOptions {
		o := alone
		o.Fleet, o.Node, o.Secrets, o.Bind, o.Voters = name, node, []Secret{NewSecret()}, "127.0.0.1:0", voters
		return o
	}
	refuse := func(o FleetOptions, want string) {
		t.Helper()
		f, err := OpenFleet(o)
		if err == nil {
			f.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "move "+dir+" away") {
			t.Errorf("got %v, want %q and what to do", err, want)
		}
	}
	refuse(fleet("mail", "edge-2", "edge-1", "edge-2", "edge-3"), "only the first by name may keep its pins")
	refuse(fleet("mail", "edge-4", "edge-1", "edge-2", "edge-3"), "only the first by name may keep its pins")
	abandon(t, fleet("mail", "edge-2", "edge-2"), func(s *sitter) {
		until(t, "the fleet to be noted", func() bool { return s.f.stamped.Load().id != "" })
	}, pool)
	refuse(fleet("post", "edge-2", "edge-2"), `it is of the fleet "mail", not of "post"`)
	refuse(alone, `it is of the fleet "mail", and fleet.name is not set`)
}

// TestTwoFleetsOfOneName: two that were founded apart, with one name and secret, do
// not become one.
func TestTwoFleetsOfOneName(t *testing.T) {
	secret := NewSecret()
	open := func(node string, join ...string) *sitter {
		return openNode(t, FleetOptions{
			Fleet: "test", Node: node, Secrets: []Secret{secret}, Bind: "127.0.0.1:0", Join: join, Voters: []string{node},
			State: filepath.Join(t.TempDir(), node), KickDelay: 50 * time.Millisecond,
		}, mainPool(place.Shared, 3))
	}
	one := open("edge-1")
	await(t, one)
	other := open("edge-2")
	await(t, other)
	for _, s := range []*sitter{one, other} {
		until(t, "the fleet to be noted", func() bool { return s.f.stamped.Load().id != "" })
	}
	if _, err := one.f.gossip.Join([]string{other.f.port.advertise.String()}); err != nil {
		t.Fatal(err)
	}
	until(t, "the other to be known for another fleet's", func() bool {
		p, there := one.f.alive()["edge-2"]
		return there && one.f.stranger("edge-2", p)
	})
	for range 3 { // looks of the leader
		one.f.reconcile()
	}
	servers := one.f.raft.GetConfiguration()
	if err := servers.Error(); err != nil {
		t.Fatal(err)
	}
	if n := len(servers.Configuration().Servers); n != 1 {
		t.Errorf("%d servers are in the log, want the one", n)
	}
}
