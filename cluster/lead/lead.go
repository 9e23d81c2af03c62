// Package lead is the leader's part in the promise of a fleet: whose word counts,
// when a view changes, when a move is done. It follows from the table, from what
// nodes have reported and from the time since the election; what it decides are
// commands that name the term it was elected for.
//
// Laws, each held by a test or by the simulation: no I/O, no goroutine, no clock
// of its own; a leader knows nothing of what the one before has done but what is
// in the table, so that every wait begins anew with its election; commands are
// said again until the table shows their effect.
//
// A [Leader] is not safe for concurrent use; its owner has one lock for it and the
// table, makes it at an election and drops it at the next.
package lead

import (
	"fmt"
	"maps"
	"slices"

	"usher.example/cluster/member"
	"usher.example/cluster/place"
	"usher.example/cluster/rule"
	"usher.example/cluster/table"
)

// Constants of the leader.
const (
	// GrantEvery is the time between two grants.
	GrantEvery = member.Second
	// OweLimit is how long a node may owe Ready or Clear before it loses its
	// lease: somebody waits for it.
	OweLimit = 10 * member.Second
	// SweepEvery is the time between two looks whether stays can end, and
	// DrainSweepEvery the same while a back end drains.
	SweepEvery      = 300 * member.Second
	DrainSweepEvery = 60 * member.Second
	// EvacuateRate is how many users a second leave a back end that is evacuated.
	EvacuateRate = 20
	// MaxMoves is how many moves may be under way for evacuations.
	MaxMoves = 100
)

// Options of a Leader.
type Options struct {
	KickDelay int64 // nanoseconds; until the fleet has settled it
	// Key makes the key of a user by some settings; false if it cannot, for lack of
	// the map key. Nil: users' names are never written otherwise.
	Key func(s table.Settings, pool, user string) (place.Key, bool)
	// Flush: back ends have caches to be flushed in a move; see Flushes.
	Flush  bool
	Broken rule.Broken

	// Ticket makes a key of session tickets, sealed for the table as that of an epoch.
	// Nil: there are none, as while it returns nil.
	Ticket func(epoch uint64) []byte
	// Opens says whether this node can open a key. Nil: it can.
	Opens func(table.Ticket) bool
	// Wall is what the clock on the wall shows, in Unix seconds. It may be wrong, and
	// is believed in nothing but when a key of tickets is due.
	Wall func() int64
	// TicketEvery is for how long a key seals. Zero: the constant.
	TicketEvery int64
}

// A Leader is the leader's part.
type Leader struct {
	o       Options
	t       *table.Table
	term    uint64
	elected int64

	nodes   map[string]*node
	granted int64 // when a Grant was last proposed
	ready   map[string]since
	clear   map[uint64]since // moves: since when all are clear
	said    map[string]int64
	pruned  int64 // when what was said long ago was last forgotten
	swept   map[string]int64
	moved   int64 // when evacuation last moved somebody
	// expected is what Expect told.
	expected map[string]string
	sole     string          // the leader's own node, if it is the only voter
	flushed  map[uint64]bool // moves: the flush that was asked for is over
	flushes  []Flush
	settler  settler
	turned   turning
	alone    string // the node that needed no grants at the last look
	locks    map[string]watched
}

// since is when a wait began, and what it is for.
type since struct {
	epoch  uint64
	enters uint64 // lives that had entered: if there is one more, it begins anew
	at     int64
}

// A node is what the leader knows of a node.
type node struct {
	report member.Report
	heard  int64
	named  map[uint64]int64 // lives: when a Grant that names it was last proposed
	life   uint64           // that is counted
	since  int64            // when this leader first saw that
	over   uint64           // lives up to this one are over by the node's own word
	overAt int64
	ended  uint64               // the life that Expire was said of: no grant may overtake that
	owes   map[table.Debt]int64 // since when
}

// New returns a Leader of a term that it was just elected for.
func New(o Options, t *table.Table, term uint64, now int64) *Leader {
	return &Leader{
		o: o, t: t, term: term, elected: now, nodes: make(map[string]*node), ready: make(map[string]since),
		clear: make(map[uint64]since), said: make(map[string]int64), swept: make(map[string]int64),
		flushed: make(map[uint64]bool), expected: make(map[string]string),
	}
}

// Term returns the term.
func (l *Leader) Term() uint64 { return l.term }

func (l *Leader) node(name string) *node {
	n := l.nodes[name]
	if n == nil {
		n = &node{named: make(map[uint64]int64)}
		l.nodes[name] = n
	}
	return n
}

// of returns what is known of a member. What a directory that was lost has said is
// nothing to the one that replaced it: even its lives may be numbered alike.
func (l *Leader) of(m *table.Member) *node {
	n := l.node(m.Node)
	if n.report.Dir != m.Dir {
		n.report, n.over = member.Report{}, 0
	}
	return n
}

// Report takes a node's report. Late ones are dropped.
func (l *Leader) Report(now int64, r member.Report) {
	m := l.t.Members[r.Node]
	if m == nil || m.Dir != r.Dir {
		return
	}
	n := l.of(m)
	if r.Life < n.report.Life || r.Life == n.report.Life && r.Number <= n.report.Number {
		return
	}
	over := r.Life - 1 // by a newer one
	if r.Leaving {
		over = r.Life
	}
	if r.Life > 0 && over > n.over {
		n.over, n.overAt = over, now
	}
	n.report, n.heard = r, now
}

// Heard returns when a node last reported, 0 for never in this term.
func (l *Leader) Heard(name string) int64 {
	if n := l.nodes[name]; n != nil {
		return n.heard
	}
	return 0
}

// Look returns what the leader has to say now. Its owner calls it after every
// batch of the log, after reports, and some times a second; every two seconds if it is alone.
func (l *Leader) Look(now int64) []table.Command {
	var out []table.Command
	l.lookAlone(now)
	if now-l.pruned > member.SayAgain {
		l.pruned = now
		maps.DeleteFunc(l.said, func(_ string, at int64) bool { return now-at > 10*member.SayAgain })
	}
	l.owing(now)
	out = append(out, l.grant(now)...)
	out = append(out, l.expire(now)...)
	out = append(out, l.breakLocks(now)...)
	if l.entering() {
		return out
	}
	out = append(out, l.tickets(now)...)
	out = append(out, l.settle(now)...)
	for _, name := range slices.Sorted(maps.Keys(l.t.Pools)) {
		out = append(out, l.view(now, l.t.Pools[name])...)
	}
	out = append(out, l.moves(now)...)
	out = append(out, l.evacuate(now)...)
	return out
}

// say returns a command, unless it was said a moment ago.
func (l *Leader) say(now int64, about string, c table.Command) []table.Command {
	if at, ok := l.said[about]; ok && now-at < member.SayAgain {
		return nil
	}
	l.said[about] = now
	return []table.Command{c}
}

// owing notes since when nodes owe what others wait for: each thing by itself, as
// a busy node always owes something.
func (l *Leader) owing(now int64) {
	for _, m := range l.t.Members {
		n := l.of(m)
		before := n.owes
		n.owes = nil
		if !m.Counted {
			continue
		}
		for _, d := range l.t.Debts(m) {
			at, ok := before[d]
			if !ok {
				at = now
			}
			if n.owes == nil {
				n.owes = make(map[table.Debt]int64)
			}
			n.owes[d] = at
		}
	}
}

// late says whether a node has owed something for too long.
func (n *node) late(now int64) bool {
	for _, at := range n.owes {
		if now-at >= OweLimit {
			return true
		}
	}
	return false
}

// Owing lists the nodes that have owed something for too long, by name.
func (l *Leader) Owing(now int64) []string {
	var list []string
	for name, n := range l.nodes {
		if n.late(now) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// grant tells nodes that their reports have come.
func (l *Leader) grant(now int64) []table.Command {
	if l.granted != 0 && now-l.granted < GrantEvery && !l.fresh(now) {
		return nil
	}
	g := table.Grant{Term: l.term}
	for _, name := range slices.Sorted(maps.Keys(l.t.Members)) {
		m := l.t.Members[name]
		n := l.of(m)
		if l.isAlone(name) || !m.Counted || n.report.Life != m.Life || n.report.Number <= m.Granted || max(n.over, n.ended) >= m.Life {
			continue
		}
		if n.late(now) {
			continue
		}
		g.Nodes = append(g.Nodes, table.Granted{Node: name, Life: m.Life, Report: n.report.Number})
		n.named[m.Life] = now
	}
	if len(g.Nodes) == 0 {
		return nil
	}
	l.granted = now
	return []table.Command{g}
}

// fresh says whether a life waits for its first grant: that is not kept waiting.
func (l *Leader) fresh(now int64) bool {
	for _, m := range l.t.Members {
		n := l.of(m)
		if !l.isAlone(m.Node) && m.Counted && m.Granted == 0 && n.ended < m.Life && n.report.Life == m.Life && n.named[m.Life] == 0 {
			return true
		}
	}
	return false
}

// wait is how long a lease is waited for that the leader cannot see to be over.
func (l *Leader) wait() int64 {
	w := member.Wait
	if !l.o.Broken.Kept(rule.LongWait) {
		w = member.Lease * 7 / 10
	}
	if !l.o.Broken.Kept(rule.WaitOutLease) {
		w = member.Lease / 8
	}
	return w + l.kickDelay()
}

func (l *Leader) kickDelay() int64 {
	if !l.o.Broken.Kept(rule.KickDelay) {
		return 0
	}
	if s := &l.t.Settings; s.Number > 0 {
		return member.Longer(s.KickDelay)
	}
	return member.Longer(l.o.KickDelay)
}

// expire ends lives that cannot have a lease any more.
func (l *Leader) expire(now int64) []table.Command {
	var out []table.Command
	for _, name := range slices.Sorted(maps.Keys(l.t.Members)) {
		m := l.t.Members[name]
		n := l.of(m)
		if !m.Counted {
			continue
		}
		if n.life != m.Life {
			n.life, n.since = m.Life, now // not before the election
		}
		last := n.named[m.Life]
		if l.o.Broken.Kept(rule.WaitAtElection) {
			last = max(last, n.since)
		}
		silent := now-last >= l.wait()
		over := n.over >= m.Life && now-n.overAt >= l.kickDelay()
		if silent || over {
			n.ended = m.Life
			out = append(out, l.say(now, fmt.Sprintf("expire %s %d", name, m.Life), table.Expire{
				Term: l.term, Node: name, Life: m.Life, Owes: n.late(now),
			})...)
		}
		for life := range n.named {
			if life < m.Life {
				delete(n.named, life)
			}
		}
	}
	return out
}

// moves ends moves that wait for nobody.
func (l *Leader) moves(now int64) []table.Command {
	var out []table.Command
	l.forgetFlushes()
	for number := range l.clear {
		if l.t.Moves[number] == nil {
			delete(l.clear, number)
		}
	}
	for _, number := range slices.Sorted(maps.Keys(l.t.Moves)) {
		m := l.t.Moves[number]
		if !l.t.AllClear(m) {
			delete(l.clear, number)
			continue
		}
		s, ok := l.clear[number]
		if !ok || s.enters != l.t.Enters {
			s = since{enters: l.t.Enters, at: now}
			l.clear[number] = s
		}
		if m.Had() && now-s.at < l.kickDelay() || !l.flush(m) {
			continue
		}
		out = append(out, l.say(now, fmt.Sprintf("placed %d", number), table.Placed{
			Term: l.term, Number: number, Enters: s.enters,
		})...)
	}
	return out
}

// evacuate moves users off back ends that are to be emptied, bit by bit.
func (l *Leader) evacuate(now int64) []table.Command {
	if l.t.Settling != nil || l.settler.wants || now-l.moved < member.Second || len(l.t.Moves) >= MaxMoves {
		return nil
	}
	l.moved = now
	var out []table.Command
	for _, name := range slices.Sorted(maps.Keys(l.t.Pools)) {
		p := l.t.Pools[name]
		leaving := make(map[uint16]bool)
		for id, b := range p.Backends {
			leaving[id] = b.Admin == table.Evacuate
		}
		left := min(EvacuateRate, MaxMoves-len(l.t.Moves))
		for _, k := range slices.Sorted(keysOn(p, leaving, left, l.t)) {
			pin, _ := l.t.Pins.Find(k)
			out = append(out, table.Start{Pool: name, Key: k, Keys: l.t.Settings.Keys, User: pin.User, Pin: table.PinKeep, By: "evacuation"})
		}
	}
	return out
}

// keysOn yields users who stay on some back ends, at most so many.
func keysOn(p *table.Pool, on map[uint16]bool, most int, t *table.Table) func(func(place.Key) bool) {
	return func(yield func(place.Key) bool) {
		for k, id := range p.Stays {
			if most <= 0 {
				return
			}
			if on[id] && t.Moving(k) == nil {
				most--
				if !yield(k) {
					return
				}
			}
		}
	}
}
