package table_test

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// settings are those of newSettled's table; with lower, the next.
func settings(lower bool) *table.Settings {
	s := &table.Settings{Number: 1, Place: place.Version, KickDelay: 2e9, Retention: 60e9}
	if lower {
		s.Number, s.Keys, s.Names.LowerCase = 2, 1, true
	}
	return s
}

// newSettled is newTable with settings, and pins of users.
func newSettled(t *testing.T, pins map[string]string) *table.Table {
	t.Helper()
	tab := newTable(t)
	apply(t, tab, table.Define{Term: 1, Settings: settings(false), Pools: pools(b1, b2)})
	for user, backend := range pins {
		pin(t, tab, user, backend)
	}
	return tab
}

func oldKey(user string) place.Key { return place.NewKeyer(nil).Key("p", user) }
func newKey(user string) place.Key { return place.NewKeyer([]byte("new")).Key("p", user) }

func pin(t *testing.T, tab *table.Table, user, backend string) {
	t.Helper()
	apply(t, tab, table.Start{Pool: "p", Key: oldKey(user), User: user, Target: backend, Pin: table.PinSet})
	n := tab.LastMove
	apply(t, tab,
		table.Clear{Node: "a", Life: 1, Number: n}, table.Clear{Node: "b", Life: 1, Number: n},
		table.Placed{Term: 1, Number: n, Enters: tab.Enters})
}

func rekey(users ...string) table.Rekey {
	c := table.Rekey{Term: 1, Number: 2}
	for _, u := range users {
		c.Pins = append(c.Pins, table.Rename{Old: oldKey(u), New: newKey(place.Names{LowerCase: true}.Normal(u))})
	}
	return c
}

var (
	settle  = table.Settle{Term: 1, Number: 1, Settings: settings(true)}
	settled = table.Settled{Term: 1, Number: 2, Enters: 2}
)

// closeAll prepares the end of a change of keys.
func closeAll(t *testing.T, tab *table.Table) {
	t.Helper()
	c := prepare(1, 100)
	c.All = true
	apply(t, tab, c, table.Ready{Node: "a", Life: 1, Pool: "p", Epoch: 2}, table.Ready{Node: "b", Life: 1, Pool: "p", Epoch: 2})
}

// Pins outlive a change of names under their new keys; two of one user become one.
// Settings, pins, view and stays change in one entry.
func TestSettle(t *testing.T) {
	tab := newSettled(t, map[string]string{"Joe": "b1", "joe": "b1", "ann": "b2"})
	tab.Pools["p"].Stays[77] = 1
	apply(t, tab, settle, rekey("Joe", "ann"))
	if tab.Rekeyed() {
		t.Error("a pin has no new key yet")
	}
	b := save(t, tab)
	tab = table.New()
	if err := tab.Load(bytes.NewReader(b)); err != nil || !bytes.Equal(save(t, tab), b) || !bytes.Equal(save(t, tab.Clone()), b) {
		t.Fatalf("a change under way is saved and loaded: %v", err)
	}
	apply(t, tab, rekey("joe"))
	closeAll(t, tab)
	if tab.Settings != *settings(false) || tab.Pins.Len() != 3 {
		t.Error("the new settings hold too early")
	}
	apply(t, tab, settled)
	want := map[place.Key]table.Pin{
		newKey("joe"): {Pool: "p", User: "joe", Backend: "b1"}, newKey("ann"): {Pool: "p", User: "ann", Backend: "b2"},
	}
	if got := maps.Collect(tab.Pins.All()); !maps.Equal(got, want) {
		t.Errorf("the pins are %+v", got)
	}
	p := tab.Pools["p"]
	if tab.Settings != *settings(true) || tab.Settling != nil || p.Epoch != 2 || p.Next != nil || len(p.Stays) != 0 {
		t.Errorf("%+v, %+v", tab.Settings, p)
	}
}

// Whose pin should be lost is not decided by a program.
func TestSettleCollides(t *testing.T) {
	tab := newSettled(t, map[string]string{"Joe": "b1", "joe": "b2", "ann": "b2"})
	if err := tab.Apply(settle, 1); !errors.Is(err, table.ErrCollide) || tab.Settling != nil {
		t.Errorf("%v", err)
	}
	if got := tab.Collide(place.Names{LowerCase: true}); !slices.Equal(got, []string{"Joe", "joe"}) {
		t.Errorf("they are %q", got)
	}
}

// The order of a change is kept: no moves, all pins, all closed, then the end.
func TestSettleOrder(t *testing.T) {
	start := table.Start{Pool: "p", Key: 5, User: "x", Target: "b1", Pin: table.PinSet}
	all := prepare(1, 100)
	all.All = true
	for _, tt := range []struct {
		name   string
		before []table.Command
		then   table.Command
		want   error
	}{
		{"a move is under way", []table.Command{start}, settle, table.ErrWaits},
		{"a move begins", []table.Command{settle}, start, table.ErrSettling},
		{"everybody is closed for nothing", nil, all, table.ErrWaits},
		{"a pin has no new key", []table.Command{settle}, all, table.ErrWaits},
		{"nobody is closed", []table.Command{settle, rekey("joe")}, settled, table.ErrWaits},
		{"a node is not ready", []table.Command{settle, rekey("joe"), all, table.Ready{Node: "a", Life: 1, Pool: "p", Epoch: 2}}, settled, table.ErrWaits},
		{"a pool ends by itself", []table.Command{settle, rekey("joe"), all, table.Ready{Node: "a", Life: 1, Pool: "p", Epoch: 2}, table.Ready{Node: "b", Life: 1, Pool: "p", Epoch: 2}}, table.Activate{Term: 1, Pool: "p", Epoch: 2, Enters: 2}, table.ErrLate},
		{"a pool is not closed", []table.Command{settle, rekey("joe"), all, table.Ready{Node: "a", Life: 1, Pool: "p", Epoch: 2}, table.Ready{Node: "b", Life: 1, Pool: "p", Epoch: 2}, table.Define{Term: 1, Pools: append(pools(b1, b2), table.Defined{Name: "q"})}}, settled, table.ErrWaits},
		{"it is given up too late", []table.Command{settle, rekey("joe"), all}, table.Settle{Term: 1, Number: 1}, table.ErrLate},
		{"two users get one key", []table.Command{settle, table.Rekey{Term: 1, Number: 2, Pins: table.Renames{{Old: oldKey("ann"), New: 1}}}}, table.Rekey{Term: 1, Number: 2, Pins: table.Renames{{Old: oldKey("joe"), New: 1}}}, table.ErrSameKey},
		{"an order was made before", []table.Command{settle, rekey("joe"), all, table.Ready{Node: "a", Life: 1, Pool: "p", Epoch: 2}, table.Ready{Node: "b", Life: 1, Pool: "p", Epoch: 2}, settled}, start, table.ErrKeys},
		{"another leader's", nil, table.Settle{Term: 2, Number: 1, Settings: settings(true)}, table.ErrTerm},
		{"for other settings", nil, table.Settle{Term: 1, Number: 3, Settings: settings(true)}, table.ErrLate},
	} {
		pins := map[string]string{"joe": "b1"}
		if tt.name == "two users get one key" {
			pins["ann"] = "b1"
		}
		tab := newSettled(t, pins)
		apply(t, tab, tt.before...)
		before := save(t, tab)
		if err := tab.Apply(tt.then, 1); !errors.Is(err, tt.want) || !bytes.Equal(save(t, tab), before) {
			t.Errorf("%s: %v, not %v", tt.name, err, tt.want)
		}
	}
}

// Before everybody is closed a change can be given up, or replaced.
func TestSettleGivenUp(t *testing.T) {
	tab := newSettled(t, map[string]string{"joe": "b1"})
	before := save(t, tab)
	apply(t, tab, settle, rekey("joe"), table.Settle{Term: 1, Number: 1})
	if !bytes.Equal(save(t, tab), before) {
		t.Errorf("%s", save(t, tab))
	}
}

// Times change at once; what makes keys does not, whatever a leader says.
func TestSettleTimes(t *testing.T) {
	tab := newSettled(t, nil)
	s := settings(false)
	s.Number, s.KickDelay = 2, 5e9
	apply(t, tab, table.Settle{Term: 1, Number: 1, Settings: s})
	if tab.Settings.KickDelay != 5e9 || tab.Settling != nil {
		t.Errorf("%+v", tab.Settings)
	}
	s.Number, s.Names.LowerCase = 3, true
	for _, c := range []table.Command{table.Settle{Term: 1, Number: 2, Settings: s}, table.Define{Term: 1, Settings: s, Pools: pools(b1, b2)}} {
		if err := tab.Apply(c, 1); err == nil || tab.Settings.Names.LowerCase {
			t.Errorf("%T changes names at once", c)
		}
	}
}
