package cluster

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"

	"usher.example/cluster/place"
)

// Two of three voters are lost with all they had: the third goes on alone with
// what was decided, and a new node takes a lost one's name.
func TestRecover(t *testing.T) {
	secret := NewSecret()
	names := []string{"edge-1", "edge-2", "edge-3"}
	dir := t.TempDir()
	options := func(name, state string, join ...string) FleetOptions {
		return FleetOptions{
			Fleet: "test", Node: name, Secrets: []Secret{secret}, Bind: "127.0.0.1:0", Join: join, Voters: names,
			State: filepath.Join(dir, state), KickDelay: -1,
		}
	}
	t.Run("before", func(t *testing.T) {
		var nodes []*sitter
		var join []string
		for _, name := range names {
			s := openNode(t, options(name, name, join...), mainPool(place.Shared, 3))
			join = append(join, s.f.port.advertise.String())
			nodes = append(nodes, s)
		}
		for _, s := range nodes {
			await(t, s)
		}
		if err := nodes[0].f.Move(t.Context(), "main", "joe", "store2", "test"); err != nil {
			t.Fatal(err)
		}
		until(t, "the pin to be everywhere", func() bool { return nodes[2].f.Overview().Pins == 1 })
		if _, err := Recover(filepath.Join(dir, "edge-3"), "edge-3", true); err == nil {
			t.Error("a node that runs was recovered")
		}
	})

	state := filepath.Join(dir, "edge-3")
	for _, force := range []bool{false, true} {
		left, err := Recover(state, "edge-3", force)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(left.Voters)
		if !slices.Equal(left.Voters, names) || left.Pins != 1 || left.Last == 0 || left.Term == 0 {
			t.Errorf("force %v: got %+v", force, left)
		}
	}
	if left, err := Recover(state, "edge-3", false); err != nil || !slices.Equal(left.Voters, []string{"edge-3"}) || left.Pins != 1 {
		t.Errorf("afterwards: got %+v, %v", left, err)
	}

	alone := openNode(t, options("edge-3", "edge-3"), mainPool(place.Shared, 3))
	await(t, alone)
	if b, why := alone.login(t, "joe"); b != "store2" || why != place.ByPin {
		t.Errorf("joe is on %s by %s", b, why)
	}
	anew := openNode(t, options("edge-1", "new", alone.f.port.advertise.String()), mainPool(place.Shared, 3))
	await(t, anew)
	if b, why := anew.login(t, "joe"); b != "store2" || why != place.ByPin {
		t.Errorf("on the new node joe is on %s by %s", b, why)
	}
}

func TestRecoverNothing(t *testing.T) {
	if _, err := Recover(filepath.Join(t.TempDir(), "none"), "a", true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
