package cluster

import (
	"fmt"
	"slices"
	"strings"

	"usher.example/cluster/table"
)

// owes says in words what others wait for a node to do, or ended its life for. It is
// called with mu held.
func (f *Fleet) owes(m *table.Member) []string {
	debts := m.Owes
	if m.Counted {
		debts = f.table.Debts(m)
	}
	var list []string
	moves := 0
	for _, d := range debts {
		if d.Move != 0 {
			moves++
		} else {
			list = append(list, "its part of the change of pool "+d.Pool)
		}
	}
	switch {
	case moves == 1:
		list = append(list, "its part of a move")
	case moves > 1:
		list = append(list, fmt.Sprintf("its part of %d moves", moves))
	}
	return list
}

// warnOwing names the nodes that have owed something for so long that they get no
// grants any more, when there are others than before. It is the manager's own.
func (f *Fleet) warnOwing() {
	f.mu.Lock()
	var late, what []string
	if f.leader != nil {
		late = f.leader.Owing(bootTime())
	}
	for _, name := range late {
		if m := f.table.Members[name]; m != nil {
			what = append(what, name+": "+strings.Join(f.owes(m), ", "))
		}
	}
	f.mu.Unlock()
	if !slices.Equal(late, f.late) && len(what) > 0 {
		f.log.Warn("the fleet waits for nodes that do not do their part; it goes on without them when their leases are over", "owing", strings.Join(what, "; "))
	}
	f.late = late
}
