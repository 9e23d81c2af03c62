package cluster

import (
	"fmt"
	"slices"
	"strings"

	"usher.example/cluster/table"
)

// An operator has to learn which node holds up the others, and with what: at once
// when he asks, and by the leader's log when it takes so long that the node gets no
// more grants.

// manyMoves is how many moves are still told one by one.
const manyMoves = 3

// nameOwing logs once of each node that owes something for too long. It is called
// with mu held.
func (f *Fleet) nameOwing(now int64) {
	if f.leader == nil {
		f.owing = nil
		return
	}
	late := f.leader.Owing(now)
	for _, name := range late {
		if m := f.table.Members[name]; m != nil && !slices.Contains(f.owing, name) {
			f.log.Warn("a node does not do what others wait for: it gets no lease, and they go on when its last one is over; see its log, restart it if need be", "event", "node_owes",
				"peer", name, "owes", strings.Join(f.owes(m), ", "))
		}
	}
	f.owing = late
}

// owes says what others wait for a node to do, or ended its life for. It is called
// with mu held.
func (f *Fleet) owes(m *table.Member) []string {
	if m == nil {
		return nil
	}
	list := m.Owes
	if m.Counted {
		list = f.table.Debts(m)
	}
	var words []string
	moves := 0
	for _, d := range list {
		if m := f.table.Moves[d.Move]; m != nil {
			if moves++; moves <= manyMoves {
				words = append(words, fmt.Sprintf("the end of sessions in pool %s, for move %d to %q", m.Pool, d.Move, m.Target))
			}
		}
		if p := f.table.Pools[d.Pool]; p != nil && p.Next != nil && p.Epoch+1 == d.Epoch {
			words = append(words, fmt.Sprintf("the change of pool %s to epoch %d", d.Pool, d.Epoch))
		}
	}
	if moves > manyMoves {
		words = append(words, fmt.Sprintf("and %d moves more", moves-manyMoves))
	}
	return words
}
