package lead

// Sole tells the leader that its own node is the only voter, or with an empty name
// that it is not any more. While that node is also the only member with users it
// needs no grants (member.Node.Sole), and gets none: a node alone writes nothing
// while nothing happens. Nor does its life end by silence, and if it cannot close a
// session, then a change waits for that rather than all its users: there is nobody
// who could serve them. The law of its owner is the same.
func (l *Leader) Sole(node string) { l.sole = node }

// isAlone says whether a node needs no grants.
func (l *Leader) isAlone(node string) bool {
	return node != "" && node == l.sole && l.t.Only(node)
}

// entering says that the sole node has not entered yet. It may serve by the last view
// already, and nobody would wait for it: what changed now it had to close. The life
// that is counted may be the one before, by what the node has reported: leader and node
// are one process.
func (l *Leader) entering() bool {
	m := l.t.Members[l.sole]
	return l.sole != "" && (m == nil || !m.Counted || l.of(m).report.Life != m.Life)
}

// lookAlone notes until when the node needed no grants: it had a lease up to now, as
// if a grant had been proposed at this look, and that is what will be waited for.
func (l *Leader) lookAlone(now int64) {
	was := l.alone
	if l.alone = ""; l.isAlone(l.sole) {
		l.alone = l.sole
	}
	for _, name := range []string{was, l.alone} {
		if m := l.t.Members[name]; m != nil {
			l.node(name).named[m.Life] = now
		}
	}
}
