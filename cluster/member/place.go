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
	n.turn()
	p := n.t.Pools[pool]
	if p == nil || len(p.Active.List()) == 0 && p.Next == nil && len(p.Backends) == 0 {
		return Decision{Verdict: NoPool}
	}
	if !n.Leased(now) {
		return n.onLast(now, p, k)
	}
	if n.o.Strict && n.cut(now) {
		return Decision{Verdict: Isolated}
	}
	w := n.t.Where(p, k)
	switch {
	case w.Hold != table.Free:
		return Decision{Verdict: Held, Backend: w.Backend, Why: w.Why, Cause: w.Hold}
	case !w.OK:
		return Decision{Verdict: NoPlace, Backend: w.Backend, Why: w.Why}
	}
	return n.register(now, pool, k, w)
}

// onLast places a login without a lease: on the last view, and nothing is held.
func (n *Node) onLast(now int64, p *table.Pool, k place.Key) Decision {
	if n.o.Strict {
		return Decision{Verdict: Isolated}
	}
	w := n.t.Present(p, k)
	if n.me() == nil { // once it is counted, what does not fit the table keeps it alone
		w = n.t.PresentBut(p, k, n.down)
	}
	if !w.OK {
		return Decision{Verdict: NoPlace, Backend: w.Backend, Why: w.Why}
	}
	return n.register(now, p.Name, k, w)
}

// See tells what back ends this node sees as down, by id. It counts while the node
// is alone; else the fleet's verdict does. The map is the Node's from then on.
func (n *Node) See(down map[uint16]bool) { n.down = down }

// register makes or extends the record of a user.
func (n *Node) register(now int64, pool string, k place.Key, w table.Place) Decision {
	if old := n.old[k]; old != nil {
		n.kick(now, k, old)
		return Decision{Verdict: Held, Backend: w.Backend, Why: w.Why}
	}
	r := n.records[k]
	if r != nil && r.backend != w.Backend {
		if r.holds > 0 { // old connections go first
			n.kick(now, k, r)
			return Decision{Verdict: Held, Backend: w.Backend, Why: w.Why}
		}
		r = nil
	}
	if r == nil {
		r = n.fresh()
		r.pool, r.backend = n.poolNumber(pool), w.Backend
		n.note(pool, k)
	}
	if n.o.Broken.Kept(rule.LoginIsRecord) {
		r.holds++
		n.records[k] = r
	}
	return Decision{Verdict: Placed, Backend: w.Backend, Why: w.Why, Hold: n.holds.take(k, w.Backend)}
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
		if len(n.spare) < maxSpare {
			n.spare = append(n.spare, r)
		}
	}
	return awaited
}

// maxSpare bounds the records that are kept for the next: 16 KiB of them.
const maxSpare = 256

// fresh is an empty record. A login that ends at once, as those of a storm of guesses
// do, is to leave nothing for the collector either.
func (n *Node) fresh() *record {
	last := len(n.spare) - 1
	if last < 0 {
		return new(record)
	}
	r := n.spare[last]
	n.spare = n.spare[:last]
	*r = record{}
	return r
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
