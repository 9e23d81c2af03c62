package sim

import (
	"slices"

	"usher.example/cluster/table"
)

// touch notes that the connections of a host have been in use up to now: whatever
// a client can send, he sends. Where the node has no lease nothing is sent, or it
// does not count.
func (h *host) touch() {
	if !h.up || h.paused || len(h.sessions) == 0 {
		return
	}
	until := min(h.w.now, h.leaseEnd())
	for _, s := range h.sessions {
		if s.sent && until > max(s.last, s.since) {
			s.last = until
		}
	}
}

// leaseEnd is when the lease of a host ends, in true time.
func (h *host) leaseEnd() int64 {
	if until := h.n.Deadline(); until < far {
		return h.trueAt(until)
	}
	return far
}

// far is beyond every run.
const far = 1 << 60

// check looks at every session that is live on a host.
func (h *host) check() {
	h.touch()
	for _, s := range h.sessions {
		if s.sent && s.last == h.w.now {
			h.w.compare(s)
		}
	}
}

// compare holds a live session against the others of its user: none may be live on
// another back end.
func (w *world) compare(s *session) {
	if s.last != w.now {
		return
	}
	w.Live++
	u := s.u
	u.sessions = slices.DeleteFunc(u.sessions, func(o *session) bool { return !o.open && w.now >= o.last+w.plan.KickDelay })
	for _, o := range u.sessions {
		if o.backend == s.backend || !o.sent || !w.one(s, o) {
			continue
		}
		o.h.touch()
		if w.now < o.last+w.plan.KickDelay || o.open && o.last == w.now {
			w.fail(ErrTwice, "%s is live on %d at %s, and on %d at %s until %s", s.name, s.backend, s.h.name, o.backend, o.h.name, seconds(o.last-begin))
		}
	}
}

// watch sees a command being applied.
func (w *world) watch(c table.Command, apply func() error) {
	var done *table.Move
	var stays int
	before := w.ref.Tickets
	switch c := c.(type) {
	case table.Placed:
		done = w.ref.Moves[c.Number]
	case table.AddStay:
		stays = len(c.Users)
	default:
	}
	if apply() != nil {
		return
	}
	w.Stays += stays
	w.watchLocks(c)
	w.watchValues(c)
	switch c := c.(type) {
	case table.Expire:
		w.Expired++
		if c.Owes {
			w.Owed++
		}
		w.ended(c)
	case table.Stage:
		w.staged(c)
	case table.Prepare:
		w.prepared(c)
	case table.Activate:
		w.Changes++
		w.activated(c.Pool)
	case table.Turn:
		w.turns(c, before)
	case table.Settled:
		w.renamed()
	case table.Placed:
		w.Moves++
		if w.plan.Flush && done.User != "" && !w.flushed[c.Number] {
			w.fail(ErrFlush, "%s, move %d", done.User, c.Number)
		}
		w.ordered(done)
	default:
	}
}

// ended holds the end of a life against what its node believes: it has no lease,
// and has had none for as long as a back end may be busy.
func (w *world) ended(c table.Expire) {
	for _, h := range w.hosts {
		if w.o.Twice || h.name != c.Node || !h.up || h.leaving || h.n.Life() != c.Life {
			continue
		}
		if until := h.leaseEnd(); w.now < until+w.plan.KickDelay {
			w.fail(ErrLease, "life %d of %s ends, its lease at %s", c.Life, c.Node, seconds(until-begin))
		}
	}
}
