// Package member is one node's part in the promise of a fleet: which login gets
// which place, what has to be closed, what the node owes the others, and how long
// its word counts. It follows from the table, the node's own records and the
// time; what it does is asked for by the return values.
//
// Laws, each held by a test or by the simulation: no I/O, no goroutine, no clock
// of its own; a login on a known place sends nothing; whatever is said twice, late
// or to a newer state does no harm; what the node owes is derived from the table
// alone, never from single entries of the log.
//
// A [Node] is not safe for concurrent use: its owner has one lock for it and the
// table, and does not wait under it.
package member

import (
	"slices"

	"usher.example/cluster/place"
	"usher.example/cluster/rule"
	"usher.example/cluster/table"
)

// Units of time: all times here are nanoseconds, of one clock that goes on while
// the machine sleeps (CLOCK_BOOTTIME), or differences of such.
const (
	Millisecond int64 = 1e6
	Second            = 1000 * Millisecond
)

// The constants of the protocol. Drift is what clocks may differ by, so that
// (1-Drift) x Wait >= (1+Drift) x Lease holds between any two nodes.
const (
	// Lease is for how long a node's word counts after it sent a report that was
	// granted. Two seconds for report and grant, 2.3 for an election, some for
	// the first grant, and time to close connections.
	Lease = 8 * Second
	// Cut is when a strict node takes no new logins and begins to close.
	Cut = 6500 * Millisecond
	// Wait is how long a leader waits for a lease that it cannot see to be over.
	Wait = 9 * Second
	// ReportEvery is the time between two reports.
	ReportEvery = Second
	// SayAgain is after how long a command is sent again whose effect is not seen.
	SayAgain = Second
	// ForgetEvery is the time between two looks for records that are over.
	ForgetEvery = Second
	// KickAgain is after how long connections are closed again that should be.
	KickAgain = 250 * Millisecond
)

// Longer is how long a clock has to show for a time to be over by every clock
// that is within the drift of 1 % of the true one.
func Longer(d int64) int64 { return d + d/40 } // 1.01/0.99 is 1.0202

// Options of a Node.
type Options struct {
	Name string
	Dir  string // id of the state directory
	// Strict: while isolated, refuse logins and forward nothing.
	Strict bool
	// Retention is how long a user is remembered where he was after his last
	// session, in nanoseconds; KickDelay, what a back end may need to finish after
	// a connection closed. Retention counts as KickDelay at least.
	// Both hold until the fleet has settled what holds (table.Settings).
	Retention int64
	KickDelay int64
	// Config is what the configuration says, for the leader.
	Config Config
	Broken rule.Broken
}

// A Node is this node's part.
type Node struct {
	o Options
	t *table.Table

	life     uint64
	entered  bool // the life has entered, and what does not fit is closed
	isolated bool // had no lease, or lost it; a new life ends that
	reports  []sent
	report   uint64
	granted  int64 // when the newest granted report was sent; 0 for none

	records map[place.Key]*record
	keys    int                   // table.Settings.Keys that those are of
	old     map[place.Key]*record // live under keys of before
	pools   []string              // names of pools that records number
	surveys map[string]*survey    // by pool
	spare   []*record             // of users who are forgotten, for the next to come
	down    map[uint16]bool       // as seen from here
	leaving bool                  // the node is being stopped: its life is the last one
	sole    bool                  // it leads its log, in which nobody else has a vote
	forgot  int64                 // when records were last forgotten
	shutAt  int64                 // when it was last looked for who is where an administrator wants nobody
	holds   holds
	had     map[uint64]bool // moves: there was a record of the user
	said    map[string]int64
	kicks   []Kick
	out     []table.Command
	persist uint64 // the life that has to be kept
}

// sent is a report that may still be granted.
type sent struct {
	number uint64
	at     int64
}

// A record is a user on a back end: live, on his way in, being closed, or here
// lately. There is one for each user with a session, so it is small and has no
// pointer.
type record struct {
	seen    int64 // until when he counts without a hold
	kicked  int64
	checked uint64 // epoch in preparation for which nothing is owed for him
	holds   int32
	backend uint16
	pool    uint16 // see Node.pools
}

// poolOf is the name of a record's pool.
func (n *Node) poolOf(r *record) string { return n.pools[r.pool] }

// poolNumber is the number of a pool's name, which stays: there are not as many in a
// node's life as would not fit.
func (n *Node) poolNumber(name string) uint16 {
	i := slices.Index(n.pools, name)
	if i < 0 {
		i = len(n.pools)
		n.pools = append(n.pools, name)
	}
	return uint16(i)
}

// A Kick asks for a user's connections to a back end to be closed by force.
type Kick struct {
	Pool    string
	Backend uint16
	Key     place.Key
	Holds   []uint64 // the user's
}

// New returns a Node of a table that is its owner's. Life is the one that was kept
// last, 0 for none: the first is a higher one.
func New(o Options, t *table.Table, life uint64) *Node {
	n := &Node{
		o: o, t: t, life: life, isolated: true, records: make(map[place.Key]*record), old: make(map[place.Key]*record),
		keys: t.Settings.Keys, had: make(map[uint64]bool),
		said: make(map[string]int64), surveys: make(map[string]*survey),
	}
	n.newLife()
	return n
}

// newLife begins a life. It counts when it has entered.
func (n *Node) newLife() {
	n.life++
	if m := n.t.Members[n.o.Name]; m != nil && m.Life >= n.life {
		n.life = m.Life + 1
	}
	n.entered, n.granted, n.reports = false, 0, nil
	n.persist = n.life
	clear(n.said)
	for _, r := range n.records {
		r.checked = 0 // a move may have come and gone without us
	}
}

// Configure tells what the node's configuration says from now on.
func (n *Node) Configure(c Config) { n.o.Config = c }

// Life returns the present life.
func (n *Node) Life() uint64 { return n.life }

// me is this node's row, nil unless its present life is counted.
func (n *Node) me() *table.Member {
	m := n.t.Members[n.o.Name]
	if m == nil || !m.Counted || m.Life != n.life || m.Dir != n.o.Dir {
		return nil
	}
	return m
}

// Effects are what a Node wants done. Order: Persist first, and wait for it.
type Effects struct {
	// Persist is a life that must be on disk before any command is sent; 0: none.
	Persist uint64
	Kicks   []Kick
	// Commands are for the leader. They are said again until their effect shows.
	Commands []table.Command
}

// Effects returns and forgets what is to be done.
func (n *Node) Effects() Effects {
	if len(n.kicks) > 0 {
		users := make(map[place.Key][]uint64, len(n.kicks))
		for _, k := range n.kicks {
			users[k.Key] = nil
		}
		n.holds.of(users)
		for i := range n.kicks {
			n.kicks[i].Holds = users[n.kicks[i].Key]
		}
	}
	e := Effects{n.persist, n.kicks, n.out}
	n.persist, n.kicks, n.out = 0, nil, nil
	return e
}

// say sends a command, unless it was sent a moment ago.
func (n *Node) say(now int64, about string, c table.Command) {
	if at, ok := n.said[about]; ok && now-at < SayAgain {
		return
	}
	n.said[about] = now
	n.out = append(n.out, c)
}

// SayAll has the next Look say again what is owed, as there is somebody new to hear
// it.
func (n *Node) SayAll() { clear(n.said) }

// Leased says whether the node's word counts: changes and moves wait for it.
func (n *Node) Leased(now int64) bool {
	return !n.isolated && now < n.deadline()
}

// deadline is when the lease ends.
func (n *Node) deadline() int64 {
	switch {
	case n.alone() && n.me() != nil:
		return forever
	case n.granted == 0:
		return 0
	}
	return n.granted + Lease
}

// cut says whether it is time for a strict node to close: it has no lease, or not
// for long.
func (n *Node) cut(now int64) bool {
	return n.isolated || now >= n.deadline()-(Lease-Cut)
}

// Deadline is until when a strict node may forward, by the clock of now; 0 is not
// at all.
func (n *Node) Deadline() int64 {
	if n.isolated {
		return 0
	}
	return n.deadline()
}

// Entered says whether the present life has entered, and what does not fit is
// closed.
func (n *Node) Entered() bool { return n.entered }

// A Report is a node's word to the leader. It is not logged.
type Report struct {
	Node    string `json:"node"`
	Dir     string `json:"dir"`
	Life    uint64 `json:"life"`
	Number  uint64 `json:"number"`
	Leaving bool   `json:"leaving,omitempty"` // all connections are closed, and none will be opened
	Config  Config `json:"config"`
}

// Report makes the next report.
func (n *Node) Report(now int64, leaving bool) Report {
	n.leaving = leaving
	n.report++
	n.reports = append(n.reports, sent{n.report, now})
	if most := 64; len(n.reports) > most { // a minute's: older ones give no lease any more
		n.reports = n.reports[len(n.reports)-most:]
	}
	return Report{n.o.Name, n.o.Dir, n.life, n.report, leaving && len(n.records) == n.quiet() && len(n.old) == 0, n.o.Config}
}

// At says where a user is on this node and how many connections he has.
func (n *Node) At(k place.Key) (backend uint16, holds int, ok bool) {
	r := n.records[k]
	if r == nil || r.holds == 0 {
		return 0, 0, false
	}
	return r.backend, int(r.holds), true
}

// Load counts the users that are live here, and their connections, by back end.
func (n *Node) Load() (users, holds map[uint16]int) {
	users, holds = make(map[uint16]int), make(map[uint16]int)
	for _, r := range n.records {
		if r.holds > 0 {
			users[r.backend]++
			holds[r.backend] += int(r.holds)
		}
	}
	for _, r := range n.old {
		users[r.backend]++
		holds[r.backend] += int(r.holds)
	}
	return users, holds
}

// quiet counts the records without a connection.
func (n *Node) quiet() int {
	q := 0
	for _, r := range n.records {
		if r.holds == 0 {
			q++
		}
	}
	return q
}

// Counts returns how many users are on record and how many holds are out.
func (n *Node) Counts() (records, holds int) {
	for _, c := range n.holds.chunks {
		holds += int(c.used)
	}
	return len(n.records) + len(n.old), holds
}
