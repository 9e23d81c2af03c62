package member

import (
	"usher.example/cluster/place"
	"usher.example/cluster/rule"
	"usher.example/cluster/table"
)

// A Verdict says what becomes of a login.
type Verdict uint8

// Verdicts.
const (
	Placed   Verdict = iota // with a hold
	Held                    // ask again when something has changed
	NoPlace                 // nobody may serve the user now
	NoPool                  // the pool is not configured
	Isolated                // the node may place nobody: strict, and without a lease
)

// A Decision is the answer to a login.
type Decision struct {
	Verdict Verdict
	Backend uint16
	Why     string
	Hold    uint64     // 0 unless placed
	Cause   table.Hold // of Held, Free if old connections are still closing
}

// Place places a login and registers it, in one step.
func (n *Node) Place(now int64, pool string, k place.Key) Decision {
	d, closing := n.decide(now, pool, k, nil)
	if closing != nil { // old connections go first
		n.kick(now, k, closing)
	}
	if d.Verdict == Placed {
		d.Hold = n.register(pool, k, d.Backend)
	}
	return d
}

// Explain says what Place would, and notes in tr what each rule said. It registers
// nothing and asks for nothing to be closed.
func (n *Node) Explain(now int64, pool string, k place.Key, tr *place.Trace) Decision {
	d, _ := n.decide(now, pool, k, tr)
	return d
}

// Rules that are the member's own, in a Trace.
const (
	ByPool     = "pool"     // there is one of the name
	ByLease    = "lease"    // the node's word counts
	BySessions = "sessions" // what the user has open on this node
)

// decide says what becomes of a login, and what of the user's has to be closed before.
func (n *Node) decide(now int64, pool string, k place.Key, tr *place.Trace) (d Decision, closing *record) {
	n.turn()
	p := n.t.Pools[pool]
	if p == nil || len(p.Active.List()) == 0 && p.Next == nil && len(p.Backends) == 0 {
		tr.Note(ByPool, place.Refuses, 0, "", "the fleet has no such pool")
		return Decision{Verdict: NoPool}, nil
	}
	var w table.Place
	switch leased := n.Leased(now); {
	case !leased && n.o.Strict:
		tr.Note(ByLease, place.Refuses, 0, "", "the node is isolated from its fleet, and refuses logins then (when_isolated)")
		return Decision{Verdict: Isolated}, nil
	case !leased: // on the last view, and nothing is held
		tr.Note(ByLease, place.Passed, 0, "", "the node is isolated from its fleet: it places by the last view that it has, and nothing is waited for (when_isolated)")
		if n.me() == nil { // once it is counted, what does not fit the table keeps it alone
			w = n.t.PresentButTraced(p, k, n.down, tr)
		} else {
			w = n.t.PresentTraced(p, k, tr)
		}
	case n.o.Strict && n.cut(now):
		tr.Note(ByLease, place.Refuses, 0, "", "the node's lease is about to end, and it refuses logins then (when_isolated)")
		return Decision{Verdict: Isolated}, nil
	default:
		tr.Note(ByLease, place.Passed, 0, "", "the node's word counts")
		w = n.t.WhereTraced(p, k, tr)
	}
	switch {
	case w.Hold != table.Free:
		return Decision{Verdict: Held, Backend: w.Backend, Why: w.Why, Cause: w.Hold}, nil
	case !w.OK:
		return Decision{Verdict: NoPlace, Backend: w.Backend, Why: w.Why}, nil
	}
	d = Decision{Verdict: Placed, Backend: w.Backend, Why: w.Why}
	if old := n.old[k]; old != nil {
		d.Verdict, closing = Held, old
		tr.Note(BySessions, place.Waits, old.backend, "", "his connections of before users' keys changed are closed first")
	} else if r := n.records[k]; r != nil && r.backend != w.Backend && r.holds > 0 {
		d.Verdict, closing = Held, r
		tr.Note(BySessions, place.Waits, r.backend, "", "his connections to where he is no more to be are closed first")
	} else {
		tr.Note(BySessions, place.Passed, 0, "", "nothing of his is open elsewhere on this node")
	}
	return d, closing
}

// See tells what back ends this node sees as down, by id. It counts while the node
// is alone; else the fleet's verdict does. The map is the Node's from then on.
func (n *Node) See(down map[uint16]bool) { n.down = down }

// register makes or extends the record of a user who may be on a back end, and returns
// his hold.
func (n *Node) register(pool string, k place.Key, backend uint16) (hold uint64) {
	r := n.records[k]
	if r == nil || r.backend != backend {
		r = n.fresh()
		r.pool, r.backend = n.poolNumber(pool), backend
		n.note(pool, k)
	}
	if n.o.Broken.Kept(rule.LoginIsRecord) {
		r.holds++
		n.records[k] = r
	}
	return n.holds.take(k, backend)
}

// Still says whether a login with a hold may send its credentials: the node's word
// counts, or it goes on alone as configured. They are taken to be sent then, and
// unless they are refused the back end may be at work for the user.
func (n *Node) Still(now int64, hold uint64) bool {
	h := n.holds.find(hold)
	if h == nil {
		return false
	}
	h.sent = n.still(now, h)
	return h.sent
}

func (n *Node) still(now int64, h *hold) bool {
	if !n.o.Broken.Kept(rule.CheckLease) {
		return true
	}
	if !n.Leased(now) {
		return !n.o.Strict
	}
	r := n.records[h.key]
	return r != nil && r.backend == h.backend || !n.o.Broken.Kept(rule.LoginIsRecord)
}

// Refused notes that the back end did not let the user in.
func (n *Node) Refused(hold uint64) {
	if h := n.holds.find(hold); h != nil {
		h.sent = false
	}
}

// Confirm notes that a login has succeeded: the user counts as seen when his
// session has ended.
func (n *Node) Confirm(hold uint64) {
	h := n.holds.find(hold)
	if h == nil {
		return
	}
	h.confirmed = true
	if !n.o.Broken.Kept(rule.LoginIsRecord) {
		p := n.records[h.key]
		if p == nil {
			p = &record{backend: h.backend}
			n.records[h.key] = p
		}
		p.holds++
	}
}

// Release gives a hold back: the connection to the back end is closed. Again, or
// of 0, it does nothing. Awaited says that the connection was to be closed, so that
// somebody waits for it: a change, a move, or a login of the user. Of others, which
// end by the thousand while a view changes, nothing follows.
func (n *Node) Release(now int64, hold uint64) (awaited bool) {
	h, ok := n.holds.give(hold)
	if !ok {
		return false
	}
	n.turn()
	if n.releaseOld(h) {
		return true
	}
	r := n.records[h.key]
	if r == nil || r.backend != h.backend {
		return false
	}
	if !n.o.Broken.Kept(rule.LoginIsRecord) && !h.confirmed {
		return false
	}
	awaited = r.kicked != 0
	if r.holds > 0 {
		r.holds--
	}
	if n.o.Broken.Kept(rule.SeenIsRecord) {
		r.seen = max(r.seen, now+n.keep(h))
	}
	if r.holds == 0 && r.seen <= now {
		delete(n.records, h.key)
		n.drop(r)
	}
	return awaited
}

const (
	// leastSpare is how many records are kept for the next in any case; beside it as many as
	// there are in use, whenever one is put there. Each keeps its block, which nobody else can
	// use: a kilobyte at worst.
	leastSpare = 256

	// recordBlock is how many records are made at a time. One by one each of them would
	// lie between the garbage of its user's handshake, and keep a part of its page for as
	// long as he is there: where the heap grows to 16 MB between collections, half a
	// kilobyte for each of 2,000 users.
	recordBlock = 32
)

// fresh is an empty record. A login that ends at once, as those of a storm of guesses
// do, is to leave nothing for the collector either.
func (n *Node) fresh() *record {
	if len(n.spare) == 0 {
		block := make([]record, recordBlock)
		for i := range block {
			n.spare = append(n.spare, &block[i])
		}
	}
	last := len(n.spare) - 1
	r := n.spare[last]
	n.spare = n.spare[:last]
	*r = record{}
	return r
}

// drop keeps a record that nobody has any more for the next.
func (n *Node) drop(r *record) {
	if len(n.spare) < leastSpare+len(n.records) {
		n.spare = append(n.spare, r)
	}
}

// Leaves says whether a hold leaves something behind when it is given back: if not,
// Release needs no time and takes 0.
func (n *Node) Leaves(hold uint64) bool {
	h := n.holds.find(hold)
	return h != nil && n.keep(*h) > 0
}

// keep is for how long a user is remembered after a hold. Whoever was not let in
// leaves nothing, so that guesses of passwords do not either.
func (n *Node) keep(h hold) int64 {
	switch {
	case h.confirmed:
		return max(n.retention(), Longer(n.kickDelay()))
	case h.sent: // the connection broke before the answer
		return Longer(n.kickDelay())
	}
	return 0
}

// kick asks for a user's connections to be closed, unless that was done a moment
// ago.
func (n *Node) kick(now int64, k place.Key, r *record) {
	if r.kicked != 0 && now-r.kicked < KickAgain {
		return
	}
	r.kicked = now
	n.kicks = append(n.kicks, Kick{Pool: n.poolOf(r), Backend: r.backend, Key: k})
	if !n.o.Broken.Kept(rule.ClosingIsRecord) {
		delete(n.records, k)
	}
}
