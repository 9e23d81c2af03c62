package member_test

import (
	"slices"
	"testing"

	"usher.example/cluster/member"
	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

const second = member.Second

// A fleet is a table with a node that is looked at, and others that are not.
type fleet struct {
	t   *testing.T
	tab *table.Table
	n   *member.Node
	now int64
}

// newFleet has the nodes a and b, and a pool of two back ends up, b1 and b2.
func newFleet(t *testing.T, o member.Options) *fleet {
	t.Helper()
	f := &fleet{t: t, tab: table.New(), now: 1000 * second}
	o.Name, o.Dir = "a", "a.0"
	if o.Retention == 0 {
		o.Retention, o.KickDelay = 60*second, 2*second
	}
	f.apply(
		table.Join{Node: "a", Dir: "a.0"}, table.Join{Node: "b", Dir: "b.0"},
		table.Define{Term: 1, Pools: []table.Defined{{Name: "p", Backends: []table.Server{
			{Name: "b1", Address: "1", Weight: 100}, {Name: "b2", Address: "2", Weight: 100},
		}}}},
		table.Verdict{Term: 1, Pool: "p", Up: map[uint16]bool{1: true, 2: true}},
		prepare(0, 100, place.Up), table.Activate{Term: 1, Pool: "p", Epoch: 1},
	)
	f.n = member.New(o, f.tab, 0)
	f.enter()
	return f
}

// prepare is a change of the view that an epoch has: b1 gets a weight and a state.
func prepare(epoch uint64, weight int, state place.State) table.Prepare {
	return table.Prepare{Term: 1, Pool: "p", Epoch: epoch, View: []table.Standing{
		{ID: 1, Weight: weight, State: state}, {ID: 2, Weight: 100},
	}}
}

func (f *fleet) apply(list ...table.Command) {
	f.t.Helper()
	for _, c := range list {
		if err := f.tab.Apply(c, 1); err != nil {
			f.t.Fatalf("%T: %v", c, err)
		}
	}
}

// look lets the node look, and returns what it wants done.
func (f *fleet) look() member.Effects {
	f.n.Look(f.now)
	return f.n.Effects()
}

// enter has the node's life entered and granted.
func (f *fleet) enter() {
	f.t.Helper()
	f.look()
	f.apply(table.Enter{Node: "a", Dir: "a.0", Life: f.n.Life()})
	f.grant()
	if !f.n.Leased(f.now) {
		f.t.Fatal("the node has no lease")
	}
}

// grant has a report granted.
func (f *fleet) grant() {
	f.t.Helper()
	f.look()
	r := f.n.Report(f.now, false)
	f.apply(table.Grant{Term: 1, Nodes: []table.Granted{{Node: "a", Life: r.Life, Report: r.Number}}})
	f.look()
	f.look() // the lease begins after what does not fit is closed
}

// user returns a user whose home is a back end.
func (f *fleet) user(backend uint16) place.Key {
	f.t.Helper()
	for k := place.Key(1); k < 1000; k++ {
		if f.tab.Present(f.tab.Pools["p"], k<<40).Backend == backend {
			return k << 40
		}
	}
	f.t.Fatal("no user there")
	return 0
}

// login has a user logged in, and returns his hold.
func (f *fleet) login(k place.Key, backend uint16) uint64 {
	f.t.Helper()
	d := f.n.Place(f.now, "p", k)
	if d.Verdict != member.Placed || d.Backend != backend {
		f.t.Fatalf("placed %+v, want on %d", d, backend)
	}
	if !f.n.Still(f.now, d.Hold) {
		f.t.Fatal("may not send credentials")
	}
	f.n.Confirm(d.Hold)
	return d.Hold
}

// want returns the command of a kind among those that the node sends.
func want[C table.Command](t *testing.T, e member.Effects) C {
	t.Helper()
	for _, c := range e.Commands {
		if c, ok := c.(C); ok {
			return c
		}
	}
	var none C
	t.Fatalf("no %T in %+v", none, e.Commands)
	return none
}

// A strict node without a lease places nobody; another goes on alone, unheld.
func TestAlone(t *testing.T) {
	for _, tt := range []struct {
		strict bool
		want   member.Verdict
	}{{true, member.Isolated}, {false, member.Placed}} {
		f := newFleet(t, member.Options{Strict: tt.strict})
		k := f.user(1)
		f.apply(prepare(1, 0, place.Up))
		if d := f.n.Place(f.now, "p", k); d.Verdict != member.Held || d.Cause != table.Changing {
			t.Errorf("strict %v, with a lease: %+v", tt.strict, d)
		}
		f.now += member.Lease
		f.look()
		if d := f.n.Place(f.now, "p", k); d.Verdict != tt.want {
			t.Errorf("strict %v, alone: %+v", tt.strict, d)
		}
		if f.n.Deadline() != 0 || f.n.Leased(f.now) || f.n.Life() != 2 {
			t.Errorf("strict %v: a lease until %d, life %d", tt.strict, f.n.Deadline(), f.n.Life())
		}
	}
}

// Seen by the simulation: a change of view dropped the record of a user whom it
// closed, so a move of him waited for nothing.
func TestHadAfterChange(t *testing.T) {
	f := newFleet(t, member.Options{})
	k := f.user(1)
	hold := f.login(k, 1)
	f.apply(prepare(1, 100, place.Down))
	if e := f.look(); len(e.Kicks) != 1 || e.Kicks[0].Key != k || !slices.Contains(e.Kicks[0].Holds, hold) {
		t.Fatalf("kicks %+v", e.Kicks)
	}
	if !f.n.Release(f.now, hold) {
		t.Error("nobody waits for a connection that was to be closed")
	}
	want[table.Ready](t, f.look())
	f.apply(table.Start{Pool: "p", Key: k, Pin: table.PinKeep})
	if c := want[table.Clear](t, f.look()); !c.Had {
		t.Error("nobody had him")
	}
}

// Seen by the simulation: a login whose connection broke before the answer left
// nothing, though the back end may be at work for him.
func TestUnanswered(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(n *member.Node, hold uint64)
		had  bool
	}{
		{"broken", func(*member.Node, uint64) {}, true},
		{"refused", (*member.Node).Refused, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFleet(t, member.Options{})
			k := f.user(1)
			d := f.n.Place(f.now, "p", k)
			f.n.Still(f.now, d.Hold)
			tt.end(f.n, d.Hold)
			f.n.Release(f.now, d.Hold)
			f.apply(table.Start{Pool: "p", Key: k, Pin: table.PinKeep})
			if c := want[table.Clear](t, f.look()); c.Had != tt.had {
				t.Errorf("had is %v", c.Had)
			}
			f.now += 5 * second
			f.look()
			if records, holds := f.n.Counts(); holds != 0 || !tt.had && records != 0 {
				t.Errorf("%d records, %d holds", records, holds)
			}
		})
	}
}

// A user who was settled for a change may have been moved there and back while the
// node was away: he is looked at again.
func TestCheckedDiesWithLife(t *testing.T) {
	f := newFleet(t, member.Options{})
	k := f.user(1)
	f.login(k, 1)
	f.apply(prepare(1, 0, place.Up)) // his next home is b2
	c := want[table.AddStay](t, f.look())
	f.apply(c)
	want[table.Ready](t, f.look())
	old := f.n.Life()
	f.now += 20 * second
	f.look()
	f.apply(table.Expire{Term: 1, Node: "a", Life: old})
	f.apply(table.Start{Pool: "p", Key: k, Pin: table.PinKeep}, table.Placed{Term: 1, Number: 1, Enters: 1}) // drops his stay
	f.enter()
	want[table.AddStay](t, f.lookAgain())
}

// lookAgain looks when everything may be said again.
func (f *fleet) lookAgain() member.Effects {
	f.n.Effects()
	f.now += member.SayAgain
	return f.look()
}

// Seen by the simulation (seed 3776 of its day): a node that had entered and had
// no lease yet let in a user who was being moved, and then got its lease.
func TestLeaseOnlyWithWhatFits(t *testing.T) {
	f := newFleet(t, member.Options{})
	old := f.n.Life()
	f.now += 20 * second
	f.look()
	f.apply(table.Expire{Term: 1, Node: "a", Life: old}, table.Enter{Node: "a", Dir: "a.0", Life: f.n.Life()})
	f.look()
	k := f.user(1)
	f.apply(table.Start{Pool: "p", Key: k, Pin: table.PinKeep})
	f.login(k, 1)
	r := f.n.Report(f.now, false)
	f.apply(table.Grant{Term: 1, Nodes: []table.Granted{{Node: "a", Life: r.Life, Report: r.Number}}})
	if e := f.look(); len(e.Kicks) != 1 {
		t.Errorf("kicks are %+v", e.Kicks)
	}
	if f.n.Leased(f.now) {
		t.Error("a lease with a session that does not fit")
	}
}

// A login that is refused leaves nothing, for the collector neither.
func TestGuessLeavesNothing(t *testing.T) {
	f := newFleet(t, member.Options{})
	k := f.user(1)
	if n := testing.AllocsPerRun(1000, func() {
		d := f.n.Place(f.now, "p", k)
		f.n.Still(f.now, d.Hold)
		f.n.Refused(d.Hold)
		if f.n.Leaves(d.Hold) {
			t.Error("a refused login leaves something")
		}
		if f.n.Release(0, d.Hold) {
			t.Error("somebody waits for it")
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
	if records, holds := f.n.Counts(); records != 0 || holds != 0 {
		t.Errorf("%d records and %d holds are left", records, holds)
	}
	d := f.n.Place(f.now, "p", k)
	if f.n.Confirm(d.Hold); !f.n.Leaves(d.Hold) {
		t.Error("a login that succeeded leaves nothing")
	}
}

// Records of users who stay lie side by side, not each among the garbage of a login.
func TestRecordsAreMadeInBlocks(t *testing.T) {
	const users = 2000
	f := newFleet(t, member.Options{})
	keys := make([]place.Key, users)
	for i := range keys {
		keys[i] = place.Key(i+1) << 40
	}
	next := 0
	if n := testing.AllocsPerRun(1, func() { // twice
		for _, k := range keys[next : next+users/2] {
			f.n.Confirm(f.n.Place(f.now, "p", k).Hold)
		}
		next += users / 2
	}); n > users/2/4 {
		t.Errorf("%v allocations for %d users", n, users/2)
	}
	if records, _ := f.n.Counts(); records != users {
		t.Errorf("%d records, want %d", records, users)
	}
}
