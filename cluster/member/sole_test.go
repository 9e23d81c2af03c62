package member_test

import (
	"testing"

	"usher.example/cluster/member"
	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// alone is newFleet without b: a leads and is the only voter.
func alone(t *testing.T, o member.Options) *fleet {
	t.Helper()
	f := newFleet(t, o)
	f.apply(table.Forget{Node: "b"}, table.Join{Node: "w", Dir: "w.0", Witness: true})
	f.n.Sole(true)
	f.look()
	return f
}

// Who is alone has a lease without grants, whether he looks or not.
func TestSole(t *testing.T) {
	for _, strict := range []bool{true, false} {
		f := alone(t, member.Options{Strict: strict})
		k := f.user(1)
		d := f.n.Place(f.now, "p", k)
		f.now += 3600 * second
		if !f.n.Leased(f.now) || !f.n.Still(f.now, d.Hold) || f.n.Deadline() <= f.now {
			t.Error("a node that is alone has lost its lease")
		}
		life := f.n.Life()
		if e := f.look(); len(e.Kicks)+len(e.Commands) > 0 || e.Persist != 0 || f.n.Life() != life {
			t.Errorf("a node that is alone wants %+v after an hour", e)
		}
		if v := f.n.Place(f.now, "p", f.user(2)).Verdict; v != member.Placed {
			t.Errorf("and its next login is %v", v)
		}
	}
}

// Who is alone needs no grant to begin, but a life that has entered.
func TestSoleBegins(t *testing.T) {
	tab := table.New()
	f := &fleet{t: t, tab: tab, now: 1000 * second}
	f.apply(table.Join{Node: "a", Dir: "a.0"})
	f.n = member.New(member.Options{Name: "a", Dir: "a.0", Strict: true}, tab, 0)
	f.n.Sole(true)
	f.look()
	if f.n.Leased(f.now) || f.n.Deadline() != 0 {
		t.Error("a lease before the life has entered")
	}
	f.apply(table.Enter{Node: "a", Dir: "a.0", Life: f.n.Life()})
	f.look()
	if !f.n.Leased(f.now) {
		t.Error("no lease, and nobody who could grant one")
	}
}

// When another member joins, or the node leads no more, it has a lease as if a
// report of the last look had been granted, and no more.
func TestSoleEnds(t *testing.T) {
	for name, end := range map[string]func(f *fleet){
		"another joins": func(f *fleet) { f.apply(table.Join{Node: "c", Dir: "c.0"}) },
		"a vote":        func(f *fleet) { f.n.Sole(false) },
	} {
		t.Run(name, func(t *testing.T) {
			f := alone(t, member.Options{Strict: true})
			f.now += 100 * second
			f.look()
			at := f.now
			f.now += second
			end(f)
			if got := f.n.Deadline(); got != at+member.Lease {
				t.Errorf("its lease ends %d ns after the last look", got-at)
			}
			f.now = at + member.Lease
			f.look()
			if f.n.Leased(f.now) || f.n.Deadline() != 0 {
				t.Error("it goes on without grants")
			}
			f.enterAnew()
		})
	}
}

// enterAnew has the next life entered and granted.
func (f *fleet) enterAnew() {
	f.t.Helper()
	f.apply(table.Expire{Term: 1, Node: "a", Life: f.tab.Members["a"].Life})
	f.enter()
}

// A life that has ended is over for who is alone as well.
func TestSoleNeedsItsLife(t *testing.T) {
	f := alone(t, member.Options{Strict: true})
	f.apply(table.Expire{Term: 1, Node: "a", Life: f.n.Life()})
	if f.n.Leased(f.now) && f.n.Deadline() > f.now+member.Lease {
		t.Error("a lease for ever after the end of its life")
	}
	f.look()
	if f.n.Leased(f.now) {
		t.Error("a lease after the end of its life")
	}
}

// What does not fit the table is closed before who is alone may use his lease.
func TestSoleFits(t *testing.T) {
	f := alone(t, member.Options{})
	k := f.user(1)
	f.n.Place(f.now, "p", k)
	f.apply(table.Expire{Term: 1, Node: "a", Life: f.n.Life()})
	f.look()
	f.apply(
		prepare(1, 100, place.Down), table.Enter{Node: "a", Dir: "a.0", Life: f.n.Life()},
		table.Ready{Node: "a", Life: f.n.Life(), Pool: "p", Epoch: 2}, table.Activate{Term: 1, Pool: "p", Epoch: 2, Enters: 2},
	)
	f.look()
	if f.n.Leased(f.now) {
		t.Error("a lease with a session on a back end that is down")
	}
}
