package table_test

import (
	"errors"
	"testing"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// pools is a configuration with one pool.
func pools(servers ...table.Server) []table.Defined {
	return []table.Defined{{Name: "p", Backends: servers}}
}

var (
	b1 = table.Server{Name: "b1", Address: "1", Weight: 100}
	b2 = table.Server{Name: "b2", Address: "2", Weight: 100}
)

// apply applies commands in term 1, all of which are good.
func apply(t *testing.T, tab *table.Table, list ...table.Command) {
	t.Helper()
	for _, c := range list {
		if err := tab.Apply(c, 1); err != nil {
			t.Fatalf("%T%+v: %v", c, c, err)
		}
	}
}

// newTable has the nodes a and b with lives 1, and a pool of b1 and b2 at epoch 1.
func newTable(t *testing.T) *table.Table {
	t.Helper()
	tab := table.New()
	apply(t, tab,
		table.Join{Node: "a", Dir: "a.0"}, table.Join{Node: "b", Dir: "b.0"},
		table.Define{Term: 1, Pools: pools(b1, b2)},
		table.Verdict{Term: 1, Pool: "p", Up: map[uint16]bool{1: true, 2: true}},
		prepare(0, 100), table.Activate{Term: 1, Pool: "p", Epoch: 1},
		table.Enter{Node: "a", Dir: "a.0", Life: 1}, table.Enter{Node: "b", Dir: "b.0", Life: 1},
	)
	return tab
}

// prepare is a change in which b1 gets a weight.
func prepare(epoch uint64, weight int) table.Prepare {
	return table.Prepare{Term: 1, Pool: "p", Epoch: epoch, View: []table.Standing{{ID: 1, Weight: weight}, {ID: 2, Weight: 100}}}
}

// user returns a user whose home is a back end.
func user(t *testing.T, tab *table.Table, backend uint16) place.Key {
	t.Helper()
	for k := place.Key(1); k < 1000; k++ {
		if tab.Present(tab.Pools["p"], k<<40).Backend == backend {
			return k << 40
		}
	}
	t.Fatal("no user there")
	return 0
}

// A pool that went and came back is not the one that late commands were about.
func TestPoolComesBack(t *testing.T) {
	tab := newTable(t)
	apply(t, tab,
		prepare(1, 50), table.Ready{Node: "a", Life: 1, Pool: "p", Epoch: 2}, table.Ready{Node: "b", Life: 1, Pool: "p", Epoch: 2},
		table.Activate{Term: 1, Pool: "p", Epoch: 2, Enters: 2},
		table.Define{Term: 1}, table.Prepare{Term: 1, Pool: "p", Epoch: 2},
		table.Ready{Node: "a", Life: 1, Pool: "p", Epoch: 3}, table.Ready{Node: "b", Life: 1, Pool: "p", Epoch: 3},
		table.Activate{Term: 1, Pool: "p", Epoch: 3, Enters: 2},
	)
	if tab.Pools["p"] != nil {
		t.Fatal("the pool is still there")
	}
	apply(t, tab, table.Define{Term: 1, Pools: pools(b1, b2)})
	epoch := tab.Pools["p"].Epoch
	apply(t, tab, table.Prepare{Term: 1, Pool: "p", Epoch: epoch, View: []table.Standing{{ID: tab.LastID, Weight: 1}}})
	for old := uint64(1); old <= 3; old++ {
		if err := tab.Apply(table.Ready{Node: "a", Life: 1, Pool: "p", Epoch: old}, 1); !errors.Is(err, table.ErrLate) {
			t.Errorf("Ready for epoch %d of the old pool: %v", old, err)
		}
	}
}

// Seen by the simulation: a change or a move that had waited for everybody was
// ended late, when another life had entered and closed connections a moment ago.
func TestEndsNameWhoWasWaitedFor(t *testing.T) {
	tab := newTable(t)
	apply(t, tab, prepare(1, 50), table.Start{Pool: "p", Key: 1, Pin: table.PinKeep})
	for _, node := range []string{"a", "b"} {
		apply(t, tab, table.Ready{Node: node, Life: 1, Pool: "p", Epoch: 2}, table.Clear{Node: node, Life: 1, Number: 1})
	}
	activate, placed := table.Activate{Term: 1, Pool: "p", Epoch: 2, Enters: 2}, table.Placed{Term: 1, Number: 1, Enters: 2}
	apply(t, tab,
		table.Join{Node: "c", Dir: "c.0"}, table.Enter{Node: "c", Dir: "c.0", Life: 1},
		table.Ready{Node: "c", Life: 1, Pool: "p", Epoch: 2}, table.Clear{Node: "c", Life: 1, Number: 1, Had: true},
	)
	for _, late := range []table.Command{activate, placed} {
		if err := tab.Apply(late, 1); !errors.Is(err, table.ErrLate) {
			t.Errorf("%T: %v", late, err)
		}
	}
	activate.Enters, placed.Enters = 3, 3
	apply(t, tab, activate, placed)
}

// Each command does its work once, in its time and its term.
func TestCommands(t *testing.T) {
	pin := func(k place.Key, target string) table.Start {
		return table.Start{Pool: "p", Key: k, User: "u", Target: target, Pin: table.PinSet, By: "ann"}
	}
	for _, tt := range []struct {
		name   string
		before []table.Command
		c      table.Command
		term   uint64 // 0 is 1
		want   error
	}{
		{"a directory is replaced when its life is over", []table.Command{table.Expire{Term: 1, Node: "a", Life: 1}}, table.Join{Node: "a", Dir: "a.1"}, 0, nil},
		{"and not before", nil, table.Join{Node: "a", Dir: "a.1"}, 0, table.ErrCounted},
		{"a life enters once", nil, table.Enter{Node: "a", Dir: "a.0", Life: 2}, 0, table.ErrCounted},
		{"a life that was does not", []table.Command{table.Expire{Term: 1, Node: "a", Life: 1}}, table.Enter{Node: "a", Dir: "a.0", Life: 1}, 0, table.ErrOldLife},
		{"nor one of another directory", nil, table.Enter{Node: "a", Dir: "a.1", Life: 2}, 0, table.ErrDirectory},
		{"a stranger does not enter", nil, table.Enter{Node: "c", Dir: "c.0", Life: 1}, 0, table.ErrNoMember},
		{"a grant of another term", nil, table.Grant{Term: 1}, 2, table.ErrTerm},
		{"an end of another term", nil, table.Expire{Term: 1, Node: "a", Life: 1}, 2, table.ErrTerm},
		{"an end of another life", nil, table.Expire{Term: 1, Node: "a", Life: 2}, 0, table.ErrNotCounted},
		{"a member who is counted stays", nil, table.Forget{Node: "a"}, 0, table.ErrCounted},
		{"a change", nil, prepare(1, 50), 0, nil},
		{"a change of another term", nil, prepare(1, 50), 2, table.ErrTerm},
		{"a change of a past epoch", nil, prepare(0, 50), 0, table.ErrLate},
		{"a second change", []table.Command{prepare(1, 50)}, prepare(1, 60), 0, table.ErrLate},
		{"a change waits", []table.Command{prepare(1, 50)}, table.Activate{Term: 1, Pool: "p", Epoch: 2, Enters: 2}, 0, table.ErrWaits},
		{"and ends once", nil, table.Activate{Term: 1, Pool: "p", Epoch: 1, Enters: 2}, 0, table.ErrLate},
		{"ready for nothing", nil, table.Ready{Node: "a", Life: 1, Pool: "p", Epoch: 2}, 0, table.ErrLate},
		{"ready in another life", []table.Command{prepare(1, 50)}, table.Ready{Node: "a", Life: 2, Pool: "p", Epoch: 2}, 0, table.ErrNotCounted},
		{"a stay for nothing", nil, table.AddStay{Node: "a", Life: 1, Pool: "p", Epoch: 2}, 0, table.ErrLate},
		{"a move", nil, pin(1, "b1"), 0, nil},
		{"a second move", []table.Command{pin(1, "b1")}, pin(1, "b2"), 0, table.ErrMoving},
		{"a move to nowhere", nil, pin(1, "b9"), 0, table.ErrNoBackend},
		{"a move waits", []table.Command{pin(1, "b1")}, table.Placed{Term: 1, Number: 1, Enters: 2}, 0, table.ErrWaits},
		{"clear of nothing", nil, table.Clear{Node: "a", Life: 1, Number: 1}, 0, table.ErrLate},
		{"clear in another life", []table.Command{pin(1, "b1")}, table.Clear{Node: "a", Life: 2, Number: 1}, 0, table.ErrNotCounted},
		{"no such pool", nil, table.Adjust{Pool: "q", Backend: "b1"}, 0, table.ErrNoPool},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tab := newTable(t)
			apply(t, tab, tt.before...)
			if got := tab.Apply(tt.c, max(tt.term, 1)); !errors.Is(got, tt.want) || tt.want == nil && got != nil {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

// Within a change a user is held unless both views agree, and a stay is the answer.
func TestWhere(t *testing.T) {
	tab := newTable(t)
	p, k := tab.Pools["p"], user(t, tab, 1)
	apply(t, tab, prepare(1, 0))
	if w := tab.Where(p, k); w.Hold != table.Changing || w.Backend != 1 {
		t.Errorf("%+v while his home changes", w)
	}
	other := user(t, tab, 2)
	apply(t, tab, table.AddStay{Node: "a", Life: 1, Pool: "p", Epoch: 2, Users: table.Users{{Key: k, Backend: 1}, {Key: other, Backend: 1}}})
	if w := tab.Where(p, k); w.Hold != table.Free || w.Backend != 1 {
		t.Errorf("%+v with a stay", w)
	}
	if p.Keeps(other, 1) {
		t.Error("a stay where the user has no place")
	}
	apply(t, tab, table.Start{Pool: "p", Key: k, Pin: table.PinKeep})
	if w := tab.Where(p, k); w.Hold != table.Moving {
		t.Errorf("%+v while he is moved", w)
	}
}

// Who owes does not enter before that is done, unless nobody else is counted who
// could do it without him.
func TestOwingWithNobodyElse(t *testing.T) {
	tab := newTable(t)
	apply(t, tab, prepare(1, 50), table.Expire{Term: 1, Node: "a", Life: 1, Owes: true})
	enter := table.Enter{Node: "a", Dir: "a.0", Life: 2}
	if err := tab.Apply(enter, 1); !errors.Is(err, table.ErrOwes) {
		t.Errorf("while b is waited for: %v", err)
	}
	apply(t, tab, table.Expire{Term: 1, Node: "b", Life: 1, Owes: true}, enter)
	apply(t, tab, table.Ready{Node: "a", Life: 2, Pool: "p", Epoch: 2}, table.Activate{Term: 1, Pool: "p", Epoch: 2, Enters: 3})
}
