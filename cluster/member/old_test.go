package member_test

import (
	"testing"

	"usher.example/cluster/member"
	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// settledFleet is newFleet with settings.
func settledFleet(t *testing.T, o member.Options) *fleet {
	t.Helper()
	f := newFleet(t, o)
	f.apply(table.Define{Term: 1, Settings: &table.Settings{Number: 1, KickDelay: 2 * second, Retention: 60 * second}, Pools: []table.Defined{
		{Name: "p", Backends: []table.Server{{Name: "b1", Address: "1", Weight: 100}, {Name: "b2", Address: "2", Weight: 100}}},
	}})
	return f
}

// Everybody is closed before keys change, wherever he belongs, and nobody is let in.
func TestClosedForKeys(t *testing.T) {
	f := settledFleet(t, member.Options{})
	k := f.user(1)
	d := f.n.Place(f.now, "p", k)
	s := f.tab.Settings
	s.Number, s.Keys, s.Names.LowerCase = 2, 1, true
	c := prepare(1, 100, place.Up)
	c.All = true
	f.apply(table.Settle{Term: 1, Number: 1, Settings: &s}, c)
	e := f.look()
	if len(e.Kicks) != 1 || len(e.Commands) != 0 {
		t.Errorf("with a session: %+v", e)
	}
	if v := f.n.Place(f.now, "p", f.user(2)).Verdict; v != member.Held {
		t.Errorf("a login is %v", v)
	}
	f.n.Release(f.now, d.Hold)
	if e := f.look(); len(e.Commands) != 1 {
		t.Errorf("when it is closed: %+v", e)
	}
}

// A node that was away has sessions under old keys. They are closed before its lease
// begins, even where a key would be at home by chance, and their users are held.
func TestOldKeys(t *testing.T) {
	f := settledFleet(t, member.Options{})
	k := f.user(1)
	hold := f.n.Place(f.now, "p", k).Hold
	f.now += 20 * second // and the lease is over
	f.apply(table.Expire{Term: 1, Node: "a", Life: f.n.Life()}, table.Enter{Node: "b", Dir: "b.0", Life: 9})
	f.look()
	s := f.tab.Settings
	s.Number, s.Keys, s.Names.LowerCase = 2, 1, true
	c := prepare(1, 100, place.Up)
	c.All = true
	f.apply(table.Settle{Term: 1, Number: 1, Settings: &s}, c, table.Ready{Node: "b", Life: 9, Pool: "p", Epoch: 2}, table.Settled{Term: 1, Number: 2, Enters: 2})
	if f.n.Keyed(0) || !f.n.Keyed(1) {
		t.Error("an old key is as good as a new one")
	}
	if v := f.n.Place(f.now, "p", k).Verdict; v != member.Held {
		t.Errorf("a login beside an old session of the same key is %v", v)
	}
	f.apply(table.Enter{Node: "a", Dir: "a.0", Life: f.n.Life()})
	r := f.n.Report(f.now, true)
	f.apply(table.Grant{Term: 1, Nodes: []table.Granted{{Node: "a", Life: r.Life, Report: r.Number}}})
	f.now += second
	if e := f.look(); len(e.Kicks) == 0 || f.n.Leased(f.now) || r.Leaving {
		t.Errorf("%+v, leased %v, leaving %v", e, f.n.Leased(f.now), r.Leaving)
	}
	f.n.Release(f.now, hold)
	f.look()
	if records, holds := f.n.Counts(); !f.n.Leased(f.now) || records != 0 || holds != 0 {
		t.Errorf("leased %v, %d records, %d holds", f.n.Leased(f.now), records, holds)
	}
}

// Times are the fleet's, whatever the node's configuration says.
func TestTimesAreTheFleets(t *testing.T) {
	f := settledFleet(t, member.Options{Retention: second, KickDelay: second})
	d := f.n.Place(f.now, "p", f.user(1))
	f.n.Confirm(d.Hold)
	f.n.Release(f.now, d.Hold)
	f.now += 59 * second
	f.look()
	if records, _ := f.n.Counts(); records != 1 {
		t.Error("a user is forgotten before the fleet's retention is over")
	}
	f.now += 3 * second
	f.look()
	if records, _ := f.n.Counts(); records != 0 {
		t.Error("and not forgotten after it")
	}
}
