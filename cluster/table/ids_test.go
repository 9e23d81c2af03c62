package table_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// ids are those of a pool, by name and address.
func ids(p *table.Pool) map[string]uint16 {
	m := make(map[string]uint16)
	for id, b := range p.Backends {
		m[b.Name+b.Address] = id
	}
	return m
}

// Numbers of back ends go round; those that anything refers to are passed over.
func TestIDsAreUsedAgain(t *testing.T) {
	tab := newTable(t)
	tab.Pools["p"].Stays[7] = 4 // of a user whose back end is gone from everywhere else
	tab.LastID = math.MaxUint16 - 1
	more := func(i int) table.Server {
		return table.Server{Name: fmt.Sprintf("m%d", i), Address: "m", Weight: 1}
	}
	apply(t, tab, table.Define{Term: 1, Pools: pools(b1, b2, more(1), more(2), more(3))})
	got := ids(tab.Pools["p"])
	want := map[string]uint16{"b11": 1, "b22": 2, "m1m": math.MaxUint16, "m2m": 3, "m3m": 5}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, not %v", got, want)
	}
	// b2 is only in the view now, and then in nothing.
	apply(t, tab, table.Define{Term: 1, Pools: pools(b1)})
	tab.LastID = 1
	apply(t, tab, table.Define{Term: 1, Pools: pools(b1, more(9))})
	if got := ids(tab.Pools["p"]); got["m9m"] != 3 {
		t.Errorf("a number that the view has is given again: %v", got)
	}
}

// A configuration for which no numbers are left is refused, and nothing changes.
func TestIDsRunOut(t *testing.T) {
	tab := newTable(t)
	for id := range math.MaxUint16 - 2 {
		tab.Pools["p"].Stays[place.Key(id)] = uint16(id + 3)
	}
	before := save(t, tab)
	err := tab.Apply(table.Define{Term: 1, Pools: pools(b1, b2, table.Server{Name: "b3", Address: "3", Weight: 1})}, 1)
	if !errors.Is(err, table.ErrIDs) || string(save(t, tab)) != string(before) {
		t.Errorf("%v", err)
	}
	delete(tab.Pools["p"].Stays, 97)
	apply(t, tab, table.Define{Term: 1, Pools: pools(b1, b2, table.Server{Name: "b3", Address: "3", Weight: 1})})
	if got := ids(tab.Pools["p"])["b33"]; got != 100 {
		t.Errorf("the only free number is 100, not %d", got)
	}
}

// What no node can have meant changes nothing.
func TestDefineRefuses(t *testing.T) {
	twice := append(pools(b1), pools(b2)...)
	for name, d := range map[string]table.Define{
		"a storage":      {Pools: []table.Defined{{Name: "q", Storage: 7}}},
		"two of a name":  {Pools: twice},
		"no name":        {Pools: []table.Defined{{}}},
		"NUL":            {Pools: []table.Defined{{Name: "a\x00b"}}},
		"a weight":       {Pools: pools(table.Server{Name: "x", Weight: place.MaxWeight + 1})},
		"a kick delay":   {Settings: &table.Settings{Number: 1, KickDelay: table.MaxKickDelay + 1}},
		"negative":       {Settings: &table.Settings{Number: 1, Retention: -1}},
		"impossible":     {Settings: &table.Settings{Number: 1, Names: place.Names{DefaultDomain: "a@b"}}},
		"two ways":       {Settings: &table.Settings{Number: 1, Names: place.Names{DefaultDomain: "a", StripDomain: "b"}}},
		"another number": {Settings: &table.Settings{Number: -1}},
	} {
		tab := newTable(t)
		before := save(t, tab)
		d.Term = 1
		if err := tab.Apply(d, 1); err == nil || string(save(t, tab)) != string(before) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A placement that this program does not know is no command for it: its table would
// differ, or its places.
func TestUnknownPlacement(t *testing.T) {
	s := &table.Settings{Number: 2, Place: place.Version + 1}
	for _, c := range []table.Command{table.Define{Settings: s}, table.Settle{Number: 1, Settings: s}} {
		if _, err := table.Decode(table.Encode(c)); !errors.Is(err, table.ErrUnknown) {
			t.Errorf("%T: %v", c, err)
		}
	}
}
