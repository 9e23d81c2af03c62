package table_test

import (
	"bytes"
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// random draws a command about few things, so that many are accepted.
func random(r *rand.Rand, tab *table.Table) table.Command {
	node := []string{"a", "b", "c"}[r.IntN(3)]
	life, epoch, move := uint64(1+r.IntN(3)), uint64(r.IntN(3)), tab.LastMove+1-uint64(r.IntN(2))
	if m := tab.Members[node]; m != nil {
		life = m.Life + uint64(r.IntN(2))
	}
	if p := tab.Pools["p"]; p != nil {
		epoch = p.Epoch + uint64(r.IntN(2))
	}
	k := place.Key(1 + r.IntN(6))
	term := uint64(1 + r.IntN(8)/7)
	weight := r.IntN(100) - 10
	admin := []table.Admin{table.Active, table.Draining, table.Evacuate, table.Down}[r.IntN(4)]
	switch r.IntN(30) {
	case 0:
		return table.Join{Node: node, Dir: node + "." + string(rune('0'+r.IntN(2)))}
	case 1, 2:
		dir := node + ".0"
		if m := tab.Members[node]; m != nil {
			dir = m.Dir
		}
		return table.Enter{Node: node, Dir: dir, Life: life}
	case 3:
		return table.AddStay{Node: node, Life: life, Pool: "p", Epoch: epoch, Users: table.Users{{Key: k, Backend: uint16(r.IntN(4))}}}
	case 4, 5:
		return table.Ready{Node: node, Life: life, Pool: "p", Epoch: epoch}
	case 6, 7:
		return table.Clear{Node: node, Life: life, Number: move, Had: r.IntN(2) == 0}
	case 8:
		return table.Grant{Term: term, Nodes: []table.Granted{{Node: node, Life: life, Report: r.Uint64N(100)}}}
	case 9:
		return table.Expire{Term: term, Node: node, Life: life, Owes: r.IntN(2) == 0}
	case 10:
		var view []table.Standing
		if p := tab.Pools["p"]; p != nil {
			for id := range tab.LastID + 1 {
				if p.Backends[id] != nil && r.IntN(4) > 0 {
					view = append(view, table.Standing{ID: id, Weight: 1 + r.IntN(100), State: place.State(r.IntN(3))})
				}
			}
		}
		list := ""
		if p := tab.Pools["p"]; p != nil && p.List != nil && r.IntN(4) > 0 {
			list = p.List.Mark
		}
		return table.Prepare{Term: term, Pool: "p", Epoch: epoch, View: view, All: r.IntN(9) == 0, List: list}
	case 11, 12:
		return table.Activate{Term: term, Pool: "p", Epoch: epoch, Enters: tab.Enters}
	case 13:
		return table.Placed{Term: term, Number: move, Enters: tab.Enters}
	case 14:
		if r.IntN(6) == 0 {
			return table.Define{Term: term}
		}
		d := table.Define{Term: term, Pools: pools([]table.Server{b1, b2, {Name: "b3", Address: "3", Weight: 9}}[r.IntN(3):]...)}
		if tab.Settings.Number == 0 || r.IntN(9) == 0 {
			s := tab.Settings
			s.Number, s.KickDelay = s.Number+1, int64(r.IntN(5)-1)
			d.Settings = &s
		}
		return d
	case 15:
		return table.Adjust{Pool: "p", Backend: "b2", Admin: &admin, Weight: &weight}
	case 16:
		c := table.Start{Pool: "p", Key: k, Keys: tab.Settings.Keys - r.IntN(20)/19, User: "u" + string(rune('0'+k)), Pin: table.PinClear}
		if r.IntN(2) == 0 {
			c.Pin, c.Target = table.PinSet, "b2"
		}
		return c
	case 17, 18:
		return settling(r, tab, term)
	case 20, 21:
		c := table.Stage{Term: term, Pool: "p", Keys: tab.Settings.Keys, Mark: string(rune('x' + r.IntN(2))), First: r.IntN(2) == 0, Last: r.IntN(2) == 0}
		for n := r.IntN(4); n > 0; n-- {
			k := place.Key(1 + r.IntN(6))
			c.Pins = append(c.Pins, table.Listed{Key: k, User: "u" + string(rune('0'+k)), Backend: []string{"", "b1", "b2"}[r.IntN(3)]})
		}
		return c
	case 19:
		return table.Settled{Term: term, Number: tab.Settings.Number + 1, Enters: tab.Enters}
	case 24, 25, 26:
		return value(r, tab)
	case 27, 28:
		return lock(r, tab, node, life, term)
	case 22:
		return ticketing(r, tab)
	default:
		return table.Verdict{Term: term, Pool: "p", Up: map[uint16]bool{uint16(r.IntN(5)): r.IntN(3) > 0}}
	}
}

// value draws something about values. Keys are few, and some are no keys.
func value(r *rand.Rand, tab *table.Table) table.Command {
	key := []string{"a", "a/b", "a/c", "a/c/d", "e", "f/g", "f//g", "../a", ""}[r.IntN(9)]
	base := tab.LastValue - min(tab.LastValue, uint64(r.IntN(8)/6))
	sealed := make([]byte, r.IntN(40))
	for i := range sealed {
		sealed[i] = byte(r.IntN(256))
	}
	switch r.IntN(4) {
	case 0:
		return table.Remove{Key: key, Base: base}
	case 1:
		v, _ := tab.Values.Find(key)
		return table.Reseal{Key: key, Number: v.Number, By: "y", Sealed: sealed}
	default:
		return table.Put{Key: key, Base: base, By: "x", Sealed: sealed, At: r.Int64N(1 << 40)}
	}
}

// lock draws something about locks.
func lock(r *rand.Rand, tab *table.Table, node string, life, term uint64) table.Command {
	name, nonce := string(rune('k'+r.IntN(3))), uint64(r.IntN(6))
	if l, ok := tab.Locks[name]; ok && r.IntN(3) > 0 {
		nonce, node, life = l.Nonce, l.Node, l.Life
	}
	switch r.IntN(4) {
	case 0:
		return table.Renew{Node: node, Life: life, Nonces: []uint64{nonce, uint64(r.IntN(6))}}
	case 1:
		return table.Drop{Name: name, Nonce: nonce}
	case 2:
		return table.Break{Term: term, Name: name, Nonce: nonce, Beat: tab.Locks[name].Beat}
	default:
		return table.Take{Name: name, Node: node, Life: life, Nonce: nonce}
	}
}

// ticketing draws a command about keys of tickets.
func ticketing(r *rand.Rand, tab *table.Table) table.Command {
	now, last, at := tab.Tickets, tab.Tickets.Last(), r.Int64N(1000)
	if r.IntN(4) == 0 {
		c := table.ResealTickets{Seals: now.Seals - uint64(r.IntN(9)/8)}
		for _, k := range now.Keys {
			if r.IntN(3) > 0 {
				c.Keys = append(c.Keys, table.Sealed{Epoch: k.Epoch, Sealed: []byte{byte(r.IntN(256))}})
			}
		}
		return c
	}
	c := table.Turn{Epoch: now.Epoch - uint64(r.IntN(9)/8), At: at, Drop: r.IntN(5) == 0}
	for n := range uint64(1 + r.IntN(2)) {
		c.Keys = append(c.Keys, table.Ticket{Epoch: last + 1 + n, Sealed: []byte{byte(r.IntN(256))}, NotBefore: at, Expiry: at + r.Int64N(2000)})
	}
	c.To = last + uint64(len(c.Keys)) - 1 - uint64(r.IntN(9)/8)
	return c
}

// settling draws a step of a change of settings: all others would be too rare.
func settling(r *rand.Rand, tab *table.Table, term uint64) table.Command {
	p := tab.Pools["p"]
	switch {
	case tab.Settling == nil || r.IntN(20) == 0:
		s := tab.Settings
		s.Number, s.Keys, s.Names.LowerCase = s.Number+1, s.Keys+r.IntN(2), r.IntN(2) == 0
		return table.Settle{Term: term, Number: tab.Settings.Number, Settings: &s}
	case r.IntN(40) == 0:
		return table.Settle{Term: term, Number: tab.Settings.Number}
	case tab.Rekeyed() && p != nil:
		return table.Prepare{Term: term, Pool: "p", Epoch: p.Epoch, All: true}
	}
	c := table.Rekey{Term: term, Number: tab.Settings.Number + 1}
	for k := range tab.Pins.All() {
		c.Pins = append(c.Pins, table.Rename{Old: k, New: place.Key(r.IntN(30))})
	}
	slices.SortFunc(c.Pins, func(a, b table.Rename) int { return cmp.Compare(a.Old, b.Old) })
	return c
}

func save(t testing.TB, tab *table.Table) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := tab.Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A log applied to two tables makes them equal: also where one is saved and loaded
// or copied on the way, and reads the commands from the wire. What is refused
// changes nothing.
func TestDeterminism(t *testing.T) {
	kinds := make(map[string]int)
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		a, b := table.New(), table.New()
		for range 400 {
			c := random(r, a)
			wire, err := table.Decode(table.Encode(c))
			if err != nil {
				t.Fatalf("%T%+v: %v", c, c, err)
			}
			before := save(t, a)
			errA, errB := a.Apply(c, 1), b.Apply(wire, 1)
			if (errA == nil) != (errB == nil) || errA != nil && errA.Error() != errB.Error() {
				t.Fatalf("%T%+v: %v and %v", c, c, errA, errB)
			}
			after := save(t, a)
			if errA != nil && !bytes.Equal(before, after) {
				t.Fatalf("%T%+v: %v, but it changed\n%s\nto\n%s", c, c, errA, before, after)
			}
			if errA == nil {
				kinds[string(table.Encode(c)[:20])]++
			}
			switch r.IntN(10) {
			case 0:
				b = b.Clone()
			case 1:
				if err := b.Load(bytes.NewReader(save(t, b))); err != nil {
					t.Fatal(err)
				}
			}
			if got := save(t, b); !bytes.Equal(got, after) {
				t.Fatalf("after %T%+v\n%s\nand\n%s", c, c, after, got)
			}
		}
	}
	if len(kinds) < 27 {
		t.Errorf("only %d kinds of commands were accepted: %v", len(kinds), kinds)
	}
}

// FuzzDecode: what is read is written and read alike, and does no harm.
func FuzzDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	tab := table.New()
	for range 100 {
		c := random(r, tab)
		_ = tab.Apply(c, 1) // accepted or not
		f.Add(table.Encode(c))
	}
	f.Add([]byte(`{"v":1,"k":"join","c":null}`))
	state := save(f, tab)
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := table.Decode(b)
		if err != nil {
			return
		}
		wire := table.Encode(c)
		again, err := table.Decode(wire)
		if err != nil || !bytes.Equal(table.Encode(again), wire) {
			t.Fatalf("%s is read as %+v: %v", wire, again, err)
		}
		tab := table.New()
		if err := tab.Load(bytes.NewReader(state)); err != nil {
			t.Fatal(err)
		}
		if err := tab.Apply(c, 1); err != nil {
			return
		}
		other := table.New()
		if err := other.Load(bytes.NewReader(save(t, tab))); err != nil {
			t.Fatalf("after %s: %v", wire, err)
		}
	})
}

// FuzzApply: a log, a command a line, changes tables alike, and whatever may be asked
// of one then is answered. What is wrong with it is an error, never a panic.
func FuzzApply(f *testing.F) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 3))
		tab := table.New()
		var log []byte
		for range 60 {
			c := random(r, tab)
			_ = tab.Apply(c, 1) // accepted or not
			log = append(append(log, table.Encode(c)...), '\n')
		}
		f.Add(log)
	}
	f.Fuzz(func(t *testing.T, log []byte) {
		a, b := table.New(), table.New()
		for line := range bytes.Lines(log) {
			c, err := table.Decode(bytes.TrimSpace(line))
			if err != nil {
				continue
			}
			errA := a.Apply(c, 1)
			if errB := b.Apply(c, 1); (errA == nil) != (errB == nil) {
				t.Fatalf("%s: %v and %v", line, errA, errB)
			}
			ask(a)
		}
		want := save(t, a)
		if got := save(t, b); !bytes.Equal(got, want) {
			t.Fatalf("%s\nand\n%s", want, got)
		}
		if err := b.Load(bytes.NewReader(want)); err != nil {
			t.Fatal(err)
		}
		ask(b)
	})
}

// ask asks a table whatever nodes and leaders do.
func ask(t *table.Table) {
	for _, m := range t.Members {
		t.Debts(m)
		t.Only(m.Node)
	}
	for _, m := range t.Moves {
		t.AllClear(m)
		t.Way(m)
	}
	t.Tickets.InUse()
	t.AllClosed()
	t.Collide(place.Names{LowerCase: true})
	for key := range t.Values.Any() {
		t.Values.List(key, true)
		t.Values.Dir(key)
	}
	for _, p := range t.Pools {
		t.AllReady(p)
		t.LosesAny(p)
		for k := range place.Key(8) {
			w := t.Where(p, k)
			t.Base(p, k)
			t.MayStay(p, k, w.Backend)
			t.PresentBut(p, k, map[uint16]bool{1: true})
		}
	}
}

// FuzzLoad: what is loaded is saved and loaded alike.
func FuzzLoad(f *testing.F) {
	r := rand.New(rand.NewPCG(2, 1))
	tab := table.New()
	for i := range 200 {
		_ = tab.Apply(random(r, tab), 1) // accepted or not
		if i%20 == 0 {
			f.Add(save(f, tab))
		}
	}
	f.Add([]byte(`{"version":1,"members":[null]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		tab := table.New()
		if tab.Load(bytes.NewReader(b)) != nil {
			return
		}
		first := save(t, tab)
		if err := tab.Load(bytes.NewReader(first)); err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		if again := save(t, tab); !bytes.Equal(again, first) {
			t.Fatalf("%s is\n%s", first, again)
		}
		if copied := save(t, tab.Clone()); !bytes.Equal(copied, first) {
			t.Fatalf("%s is copied as\n%s", first, copied)
		}
	})
}
