package lead_test

import (
	"fmt"
	"strings"
	"testing"

	"usher.example/cluster/lead"
	"usher.example/cluster/member"
	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// key makes other keys with each change.
func key(s table.Settings, pool, user string) (place.Key, bool) {
	return place.NewKeyer(fmt.Append(nil, s.Keys)).Key(pool, user), true
}

// agreeing is a fleet of a and b with settings, and a leader who can make keys.
func agreeing(t *testing.T) *fleet {
	t.Helper()
	f := newFleet(t)
	f.apply(table.Define{Term: 1, Settings: &table.Settings{Number: 1, KickDelay: 2 * second, Retention: 60 * second}, Pools: []table.Defined{
		{Name: "p", Backends: []table.Server{{Name: "b1", Address: "1", Weight: 100}, {Name: "b2", Address: "2", Weight: 100}}},
	}})
	f.l = lead.New(lead.Options{Key: key}, f.tab, 1, f.now)
	return f
}

// pin pins a user by a move that nobody waits for.
func (f *fleet) pin(user, target string) {
	f.t.Helper()
	k, _ := key(f.tab.Settings, "p", user)
	f.apply(table.Start{Pool: "p", Key: k, Keys: f.tab.Settings.Keys, User: user, Target: target, Pin: table.PinSet})
	n := f.tab.LastMove
	f.apply(
		table.Clear{Node: "a", Life: 1, Number: n}, table.Clear{Node: "b", Life: 1, Number: n},
		table.Placed{Term: 1, Number: n, Enters: f.tab.Enters})
}

// says has nodes report their configurations for a while, be ready for what is
// prepared, and the leader act on it.
func (f *fleet) says(d int64, configs map[string]member.Config) (said []table.Command) {
	f.t.Helper()
	for end := f.now + d; f.now < end; f.now += second / 4 {
		for node, c := range configs {
			f.number++
			m := f.tab.Members[node]
			f.l.Report(f.now, member.Report{Node: node, Dir: m.Dir, Life: m.Life, Number: f.number, Config: c})
			if p := f.tab.Pools["p"]; p.Next != nil {
				f.apply(table.Ready{Node: node, Life: m.Life, Pool: "p", Epoch: p.Epoch + 1})
			}
		}
		said = append(said, f.look()...)
	}
	return said
}

var (
	now   = member.Config{KickDelay: 2 * second, Retention: 60 * second}
	later = member.Config{KickDelay: 3 * second, Retention: 60 * second}
	lower = member.Config{KickDelay: 2 * second, Retention: 60 * second, Names: place.Names{LowerCase: true}}
)

// What all nodes say for a while is what the fleet does; what one says is not.
func TestAgree(t *testing.T) {
	f := agreeing(t)
	f.says(20*second, map[string]member.Config{"a": later, "b": now})
	if f.tab.Settings.KickDelay != 2*second {
		t.Error("one node decides for all")
	}
	f.says(20*second, map[string]member.Config{"a": later}) // b is silent, and is waited for
	if f.tab.Settings.KickDelay != 2*second && f.tab.Members["b"].Counted {
		t.Error("a node that is counted was not asked")
	}

	f = agreeing(t)
	both := map[string]member.Config{"a": later, "b": later}
	f.says(lead.AgreeFor-second, both)
	if f.tab.Settings.KickDelay != 2*second {
		t.Error("a moment is enough")
	}
	f.says(2*second, both)
	if f.tab.Settings.KickDelay != 3*second || f.tab.Settings.Number != 2 {
		t.Errorf("%+v", f.tab.Settings)
	}
}

// Who is alone need not wait for others to say the same.
func TestAgreeAlone(t *testing.T) {
	f := agreeing(t)
	f.apply(table.Expire{Term: 1, Node: "b", Life: 1}, table.Forget{Node: "b"})
	f.l.Sole("a")
	f.says(second, map[string]member.Config{"a": later})
	if f.tab.Settings.KickDelay != 3*second {
		t.Error("it waits for itself")
	}
}

// Names change when all say so: first the pins, then all are closed, then the kick
// delay.
func TestNames(t *testing.T) {
	f := agreeing(t)
	f.pin("Joe", "b1")
	both := map[string]member.Config{"a": lower, "b": lower}
	var order []string
	for f.now < 1100*second && f.tab.Settings.Keys == 0 {
		for _, c := range f.says(second/4, both) {
			switch c := c.(type) {
			case table.Settle, table.Rekey, table.Settled:
				order = append(order, fmt.Sprintf("%T", c))
			case table.Prepare:
				order = append(order, fmt.Sprintf("%T %v", c, c.All))
			case table.Activate:
				t.Error("a pool changes by itself")
			default:
			}
		}
		if f.tab.AllClosed() && order[len(order)-1] != "closed" {
			order = append(order, "closed")
			f.says(3*second/2, both)
			if f.tab.Settings.Keys != 0 {
				t.Error("the kick delay was not waited for")
			}
		}
	}
	if got := strings.Join(order, " "); got != "table.Settle table.Rekey table.Prepare true closed table.Settled" {
		t.Error(got)
	}
	k, _ := key(f.tab.Settings, "p", "joe")
	if pin, _ := f.tab.Pins.Find(k); f.tab.Pins.Len() != 1 || pin != (table.Pin{Pool: "p", User: "joe", Backend: "b1"}) {
		t.Errorf("%d pins, %+v", f.tab.Pins.Len(), pin)
	}
}

// More pins than an entry holds get their keys bit by bit, also from another leader.
func TestManyPins(t *testing.T) {
	f := agreeing(t)
	const many = 2*table.MaxRenames + 7
	for i := range many {
		user := fmt.Sprintf("User%d", i)
		k, _ := key(f.tab.Settings, "p", user)
		f.tab.Pins.Set(k, table.Pin{Pool: "p", User: user, Backend: "b1"})
	}
	both := map[string]member.Config{"a": lower, "b": lower}
	entries := 0
	for f.now < 1100*second && f.tab.Settings.Keys == 0 {
		if len(of[table.Rekey](f.says(second/4, both))) > 0 {
			entries++
			f.l = lead.New(lead.Options{Key: key}, f.tab, 1, f.now)
		}
	}
	if f.tab.Pins.Len() != many || entries != 3 {
		t.Fatalf("%d pins, of %d, in %d entries", f.tab.Pins.Len(), many, entries)
	}
	for i := range many {
		k, _ := key(f.tab.Settings, "p", fmt.Sprintf("user%d", i))
		if p, _ := f.tab.Pins.Find(k); p.User != fmt.Sprintf("user%d", i) || p.Backend != "b1" {
			t.Fatalf("%+v", p)
		}
	}
}

// A change that all take back before anybody is closed is given up.
func TestNamesTakenBack(t *testing.T) {
	f := agreeing(t)
	f.pin("Joe", "b1")
	f.l = lead.New(lead.Options{}, f.tab, 1, f.now) // it cannot make keys
	s := f.tab.Settings
	s.Number, s.Keys, s.Names.LowerCase = 2, 1, true
	f.apply(table.Settle{Term: 1, Number: 1, Settings: &s})
	f.says(2*second, map[string]member.Config{"a": now, "b": now})
	if f.tab.Settling != nil {
		t.Error("a leader that cannot make keys holds up all moves")
	}
	f.l = lead.New(lead.Options{Key: key}, f.tab, 1, f.now)
	f.says(lead.AgreeFor+second, map[string]member.Config{"a": now, "b": now})
	f.apply(table.Settle{Term: 1, Number: 1, Settings: &s})
	f.says(second, map[string]member.Config{"a": now, "b": now})
	if f.tab.Settling != nil || f.tab.Settings.Number != 1 {
		t.Errorf("a change that nobody wants any more goes on: %+v", f.tab.Settings)
	}
}

// Who differs is told of, and so are voters that are not the same everywhere.
func TestDiffer(t *testing.T) {
	f := agreeing(t)
	a, b := later, now
	a.Voters, b.Voters = []string{"a", "b", "c"}, []string{"c", "b", "d"}
	f.says(second, map[string]member.Config{"a": a, "b": b})
	got := f.l.Differ()
	if fmt.Sprint(got["a"]) != "[fleet.kick_delay is 3s, the fleet's is 2s]" || fmt.Sprint(got["b"]) != "[fleet.voters are b c d, elsewhere a b c]" {
		t.Errorf("%q", got)
	}
	f.apply(table.Join{Node: "c", Dir: "c.0"}, table.Enter{Node: "c", Dir: "c.0", Life: 1})
	f.says(second, map[string]member.Config{"a": a, "b": b, "c": b}) // two of one mind
	if got := f.l.Differ(); len(got) != 1 || fmt.Sprint(got["a"][1:]) != "[fleet.voters are a b c, elsewhere b c d]" {
		t.Errorf("%q", got)
	}
}

// A flush is asked for once, after the kick delay, and the move waits for it; the
// next leader asks again.
func TestFlush(t *testing.T) {
	f := newFleet(t)
	o := lead.Options{KickDelay: 2 * second, Flush: true}
	f.l = lead.New(o, f.tab, 1, f.now)
	f.apply(table.Start{Pool: "p", Key: 7, User: "joe", Target: "b1", Pin: table.PinSet, By: "ann"},
		table.Clear{Node: "a", Life: 1, Number: 1, Had: true}, table.Clear{Node: "b", Life: 1, Number: 1})
	f.run(second, "a", "b")
	if got := f.l.Flushes(); len(got) != 0 {
		t.Errorf("before the kick delay: %+v", got)
	}
	for range 2 {
		f.run(5*second, "a", "b")
		from, _ := f.tab.Way(f.tab.Moves[1])
		if got := f.l.Flushes(); len(got) != 1 || got[0] != (lead.Flush{Move: 1, Pool: "p", User: "joe", From: from, To: "b1", By: "ann"}) {
			t.Errorf("%+v", got)
		}
		f.run(5*second, "a", "b")
		if got := f.l.Flushes(); len(got) != 0 || f.tab.Moves[1] == nil {
			t.Errorf("asked again: %+v, or not waited for", got)
		}
		f.l = lead.New(o, f.tab, 1, f.now)
	}
	f.run(5*second, "a", "b")
	f.l.Flushed(1)
	f.run(second, "a", "b")
	if f.tab.Moves[1] != nil {
		t.Error("the move goes on for ever")
	}
}
