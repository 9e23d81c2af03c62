package lead_test

import (
	"testing"

	"usher.example/cluster/lead"
	"usher.example/cluster/member"
	"usher.example/cluster/table"
)

// sole is a leader whose node is alone, with a life that is counted.
func sole(t *testing.T) *fleet {
	t.Helper()
	f := newFleet(t)
	f.report("b", "b.0", 2) // it takes its leave
	f.apply(table.Expire{Term: 1, Node: "b", Life: 1}, table.Forget{Node: "b"}, table.Join{Node: "w", Dir: "w.0", Witness: true})
	f.l = lead.New(lead.Options{KickDelay: 2 * second}, f.tab, 1, f.now)
	f.l.Sole("a")
	return f
}

// Who is alone gets no grants, and its life does not end, whether it reports or not.
func TestSole(t *testing.T) {
	f := sole(t)
	said := f.run(60*second, "a")
	said = append(said, f.run(60*second)...)
	for _, c := range said {
		switch c.(type) {
		case table.Grant, table.Expire:
			t.Errorf("%T%+v", c, c)
		default:
		}
	}
	if !f.tab.Members["a"].Counted {
		t.Error("its life is over")
	}
}

// A life before the present one is over by the node's own word, and the kick delay.
func TestSoleRestarts(t *testing.T) {
	f := sole(t)
	f.run(second)
	f.report("a", "a.0", 2)
	f.run(2 * second)
	if !f.tab.Members["a"].Counted {
		t.Error("the kick delay was not waited for")
	}
	f.run(second)
	if f.tab.Members["a"].Counted {
		t.Error("a life is counted whose process is gone")
	}
}

// When another member joins, or the node is not the only voter any more, it is
// granted what it reports; and if it does not, its lease is waited for in full.
func TestSoleEnds(t *testing.T) {
	for name, end := range map[string]func(f *fleet){
		"another joins": func(f *fleet) { f.apply(table.Join{Node: "c", Dir: "c.0"}) },
		"a vote":        func(f *fleet) { f.l.Sole("") },
	} {
		t.Run(name, func(t *testing.T) {
			f := sole(t)
			f.run(60 * second)
			end(f)
			f.run(2*second, "a")
			if f.tab.Members["a"].Granted == 0 {
				t.Error("no grant")
			}

			f = sole(t)
			f.run(60 * second)
			end(f)
			f.run(member.Wait + 2*second)
			if !f.tab.Members["a"].Counted {
				t.Error("its lease was not waited for")
			}
			f.run(2 * second)
			if f.tab.Members["a"].Counted {
				t.Error("it is waited for though it is silent")
			}
		})
	}
}
