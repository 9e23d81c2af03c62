package cluster

import (
	"fmt"
	"slices"
	"strings"

	"usher.example/cluster/table"
)

// An operator has to learn which node holds up the others, and with what. The
// leader knows as soon as it gives the node no more grants; when its life has ended
// for it, everybody knows by the table.

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
			f.log.Warn("a node does not do what others wait for: it gets no lease, and they go on when its last one is over; see its log, restart it if need be",
				"node", name, "owes", strings.Join(f.debts(f.table.Debts(m)), ", "))
		}
	}
	f.owing = late
}

// owes says what a node holds up. It is called with mu held.
func (f *Fleet) owes(m *table.Member) []string {
	switch {
	case m == nil:
		return nil
	case !m.Counted:
		return f.debts(m.Owes)
	case f.leader != nil && slices.Contains(f.leader.Owing(bootTime()), m.Node):
		return f.debts(f.table.Debts(m))
	}
	return nil
}

// debts puts into words what is still waited for. It is called with mu held.
func (f *Fleet) debts(list []table.Debt) []string {
	var words []string
	for _, d := range list {
		if m := f.table.Moves[d.Move]; m != nil {
			words = append(words, fmt.Sprintf("the end of sessions in pool %s, for move %d to %q", m.Pool, d.Move, m.Target))
		}
		if p := f.table.Pools[d.Pool]; p != nil && p.Next != nil && p.Epoch+1 == d.Epoch {
			words = append(words, fmt.Sprintf("the change of pool %s to epoch %d", d.Pool, d.Epoch))
		}
	}
	return words
}
