package lead_test

import (
	"errors"
	"testing"

	"usher.example/cluster/lead"
	"usher.example/cluster/member"
	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

const second = member.Second

// A fleet is a table with a leader that is looked at, in term 1.
type fleet struct {
	t   *testing.T
	tab *table.Table
	l   *lead.Leader
	now int64
	// number is that of the last report.
	number uint64
}

// newFleet has the nodes a and b with lives 1, and a pool of two back ends.
func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t: t, tab: table.New(), now: 1000 * second}
	f.apply(
		table.Join{Node: "a", Dir: "a.0"}, table.Join{Node: "b", Dir: "b.0"},
		table.Define{Term: 1, Pools: []table.Defined{{Name: "p", Backends: []table.Server{
			{Name: "b1", Address: "1", Weight: 100}, {Name: "b2", Address: "2", Weight: 100},
		}}}},
		table.Verdict{Term: 1, Pool: "p", Up: map[uint16]bool{1: true, 2: true}},
	)
	f.l = lead.New(lead.Options{KickDelay: 2 * second}, f.tab, 1, f.now)
	f.look()
	f.look()
	f.apply(table.Enter{Node: "a", Dir: "a.0", Life: 1}, table.Enter{Node: "b", Dir: "b.0", Life: 1})
	return f
}

func (f *fleet) apply(list ...table.Command) {
	f.t.Helper()
	for _, c := range list {
		if err := f.tab.Apply(c, 1); err != nil {
			f.t.Fatalf("%T%+v: %v", c, c, err)
		}
	}
}

// look applies what the leader decides, and returns it.
func (f *fleet) look() []table.Command {
	f.t.Helper()
	list := f.l.Look(f.now)
	f.apply(list...)
	return list
}

// report has a life of a node heard.
func (f *fleet) report(node, dir string, life uint64) {
	f.number++
	f.l.Report(f.now, member.Report{Node: node, Dir: dir, Life: life, Number: f.number})
}

// run lets time pass, with the reports of nodes that are well.
func (f *fleet) run(d int64, well ...string) (said []table.Command) {
	f.t.Helper()
	for end := f.now + d; f.now < end; f.now += second / 4 {
		for _, node := range well {
			f.report(node, f.tab.Members[node].Dir, f.tab.Members[node].Life)
		}
		said = append(said, f.look()...)
	}
	return said
}

// of returns the commands of a kind.
func of[C table.Command](list []table.Command) (found []C) {
	for _, c := range list {
		if c, ok := c.(C); ok {
			found = append(found, c)
		}
	}
	return found
}

// A node that lost its directory begins with low lives; what the lost one had
// reported does not count against it.
func TestLostDirectory(t *testing.T) {
	f := newFleet(t)
	f.run(second, "a", "b")
	f.report("b", "b.0", 9) // was isolated often; its last life never entered
	f.run(3*second, "a")
	f.apply(table.Join{Node: "b", Dir: "b.1"}, table.Enter{Node: "b", Dir: "b.1", Life: 2})
	said := f.run(5*second, "a", "b")
	if got := of[table.Expire](said); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if f.tab.Members["b"].Granted == 0 {
		t.Error("the new directory's life is granted nothing")
	}
}

// Seen by the simulation: the last report of a lost directory was granted to the
// new one's life of the same number, and with it all reports up to that, heard or
// not.
func TestGrantIsForTheDirectory(t *testing.T) {
	f := newFleet(t)
	f.run(second, "a", "b")
	f.report("b", "b.0", 2)
	f.run(3*second, "a")
	f.apply(table.Join{Node: "b", Dir: "b.1"}, table.Enter{Node: "b", Dir: "b.1", Life: 2})
	f.run(3*second, "a")
	if got := f.tab.Members["b"].Granted; got != 0 {
		t.Errorf("report %d is granted, and none was sent", got)
	}
}

// A life that has just entered is given time, however long ago the election was.
func TestNewLifeIsWaitedFor(t *testing.T) {
	f := newFleet(t)
	f.run(60*second, "a") // b is silent
	if f.tab.Members["b"].Counted {
		t.Fatal("b is still waited for")
	}
	f.apply(table.Enter{Node: "b", Dir: "b.0", Life: 2})
	f.run(10*second, "a")
	if !f.tab.Members["b"].Counted {
		t.Error("the new life has ended before it could report")
	}
	f.run(3*second, "a")
	if f.tab.Members["b"].Counted {
		t.Error("a silent life does not end")
	}
}

// A node that cannot close what a move asks it to close loses its lease, and the
// move goes on without it before it may enter again.
func TestOwing(t *testing.T) {
	f := newFleet(t)
	f.run(second, "a", "b")
	f.apply(table.Start{Pool: "p", Key: 1, Pin: table.PinKeep}, table.Clear{Node: "a", Life: 1, Number: 1, Had: true})
	from := f.now
	for f.tab.Members["b"].Counted {
		f.run(second, "a", "b")
		if f.now-from > 25*second {
			t.Fatal("b is waited for for ever")
		}
	}
	if got := f.tab.Apply(table.Enter{Node: "b", Dir: "b.0", Life: 2}, 1); !errors.Is(got, table.ErrOwes) {
		t.Errorf("enters before the move is done: %v", got)
	}
	for f.tab.Moves[1] != nil {
		f.run(second/4, "a")
	}
	if d := f.now - from; d > 25*second {
		t.Errorf("the move took %d s", d/second)
	}
	f.apply(table.Enter{Node: "b", Dir: "b.0", Life: 2})
}

// A node that owes something at every moment, but nothing for long, is well.
func TestBusy(t *testing.T) {
	f := newFleet(t)
	for number := uint64(1); number < 30; number++ {
		f.apply(table.Start{Pool: "p", Key: place.Key(number), Pin: table.PinKeep})
		if number > 1 {
			f.apply(table.Clear{Node: "a", Life: 1, Number: number - 1}, table.Clear{Node: "b", Life: 1, Number: number - 1})
		}
		f.run(second, "a", "b")
	}
	if late := f.l.Owing(f.now); len(late) != 0 {
		t.Errorf("owing are %v", late)
	}
}

// A Grant must not overtake the Expire of the same life on its way to the log.
func TestNoGrantAfterExpire(t *testing.T) {
	f := newFleet(t)
	f.run(second, "a", "b")
	var ended []table.Expire
	for range 60 {
		f.now += second / 4
		f.report("a", "a.0", 1)
		said := f.l.Look(f.now)
		for _, g := range of[table.Grant](said) {
			f.apply(g)
		}
		if ended = of[table.Expire](said); len(ended) > 0 {
			break // it is on its way
		}
	}
	if len(ended) == 0 {
		t.Fatal("the silent life does not end")
	}
	f.now += second / 4
	f.report("b", "b.0", 1)
	for range 8 {
		f.now += second / 4
		for _, g := range of[table.Grant](f.l.Look(f.now)) {
			for _, n := range g.Nodes {
				if n.Node == "b" {
					t.Fatalf("%+v after %+v", g, ended)
				}
			}
		}
	}
}
