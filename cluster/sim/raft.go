package sim

import (
	"errors"

	"usher.example/cluster/lead"
	"usher.example/cluster/table"
)

const raftEvery = 200 * ms

// A raft is what the engine of the log does: one log, of which a majority has
// every entry; at most one leader in a term, and others that have not heard of it.
type raft struct {
	log    []entry
	ref    *table.Table // with the whole log applied
	term   uint64
	real   int // who leads, -1 for nobody
	goodAt int64
	// electedAt is when the one was elected who leads.
	electedAt int64
	timeout   int64
	flight    []flight
	voters    int
}

type entry struct {
	term uint64
	c    table.Command
}

// A flight is a proposal on its way into the log.
type flight struct {
	c table.Command
	t int64 // from when on it may be in it
}

// A leader is what a host has that believes that it leads.
type leader struct {
	l        *lead.Leader
	lostAt   int64 // since when it is wrong
	patience int64 // for how long it goes on believing
}

func (r *raft) init(w *world) {
	r.ref, r.real, r.voters = table.New(), -1, w.plan.Voters
	r.ref.Break(w.o.Broken)
	r.goodAt, r.timeout = w.now, second
}

// majority says whether a host can reach one.
func (w *world) majority(i int) bool {
	n := 0
	for j := range w.voters {
		if h := w.hosts[j]; h.up && !h.paused && w.reach(i, j) {
			n++
		}
	}
	return n > w.voters/2
}

// raftTick elects, and tells everybody who leads and how far the log is.
func (w *world) raftTick() {
	if w.real >= 0 {
		if h := w.hosts[w.real]; h.up && !h.paused && w.majority(w.real) {
			w.goodAt = w.now
			for _, to := range w.hosts {
				w.append(h, to)
			}
		}
	}
	if w.now-w.goodAt > w.timeout {
		w.elect(-1)
	}
	for _, h := range w.hosts {
		h.believe()
	}
}

// append tells a host how far the log is.
func (w *world) append(from, to *host) {
	term, n, who := w.term, len(w.log), from.index
	w.send(from, to, func() {
		if term < to.hintTerm {
			return
		}
		news := to.hintTerm < term
		to.hint, to.hintTerm = who, term
		to.have, to.committed = max(to.have, n), max(to.committed, n)
		if to.l != nil && to.l.Term() < term {
			w.trace("%s sees that it leads no more", to.name)
			to.sole(false)
			to.l = nil
		}
		if news {
			to.report()
		}
		to.catchUp()
	})
}

// elect makes a host the leader, any but not for -1.
func (w *world) elect(not int) {
	var fit []*host
	for _, h := range w.hosts[:w.voters] {
		if h.index != not && h.up && !h.paused && h.have == len(w.log) && w.majority(h.index) {
			fit = append(fit, h)
		}
	}
	if len(fit) == 0 {
		return
	}
	h := fit[w.rng.IntN(len(fit))]
	// What the old leader had sent out may have come to this one.
	for _, f := range w.flight[:w.rng.IntN(len(w.flight)+1)] {
		w.commit(f.c)
	}
	w.flight = nil
	w.term++
	w.electedAt = w.now
	w.real, w.goodAt, w.timeout = h.index, w.now, 1500*ms+w.rng.Int64N(1500*ms)
	h.have = len(w.log)
	term := w.term
	w.trace("%s is elected in term %d", h.name, term)
	h.after(w.rng.Int64N(50*ms), func() {
		if w.term != term {
			return
		}
		h.hint, h.hintTerm, h.committed = h.index, term, max(h.committed, h.have)
		h.leader = leader{l: lead.New(h.tickets(lead.Options{
			KickDelay: w.plan.KickDelay, Key: w.mayKey, Flush: w.plan.Flush, Broken: w.o.Broken,
		}), h.t, term, h.local(w.now))}
		h.sole(w.voters == 1)
		h.report()
		h.catchUp()
	})
}

// sole says that a host leads and is the only voter, or that it does not any more.
func (h *host) sole(on bool) {
	h.n.Sole(on)
	if on {
		h.l.Sole(h.name)
	} else {
		h.l.Sole("")
	}
}

// believe ends the belief of a leader that leads no more, sooner or later.
func (h *host) believe() {
	w := h.w
	switch {
	case h.l == nil || !h.up || h.paused:
	case w.real == h.index && h.l.Term() == w.term && w.majority(h.index):
		h.lostAt = 0
	case h.lostAt == 0:
		h.lostAt, h.patience = w.now, 500*ms+h.rng.Int64N(4*second)
		if h.rng.IntN(3) == 0 {
			h.patience = h.rng.Int64N(20 * second)
		}
	case w.now-h.lostAt > h.patience:
		w.trace("%s believes no more that it leads", h.name)
		h.sole(false)
		h.l = nil
		if w.real == h.index {
			w.real = -1
		}
	}
}

// propose takes a command to the log if the host leads; it does not say whether it
// has come there.
func (h *host) propose(c table.Command) {
	w := h.w
	if h.l == nil || w.real != h.index || h.l.Term() != w.term {
		return
	}
	term := w.term
	w.flight = append(w.flight, flight{c, w.now + w.brief(h.rng)})
	w.at(w.flight[len(w.flight)-1].t, func() { w.land(term) })
}

// land puts into the log what has come to a majority.
func (w *world) land(term uint64) {
	if w.term != term || w.real < 0 || len(w.flight) == 0 {
		return
	}
	h := w.hosts[w.real]
	if !h.up || h.paused || !w.majority(h.index) {
		w.at(w.now+50*ms, func() { w.land(term) })
		return
	}
	n := 0
	for n < len(w.flight) && w.flight[n].t <= w.now {
		w.commit(w.flight[n].c)
		n++
	}
	if n == 0 {
		return
	}
	w.flight = w.flight[n:]
	h.have, h.committed = len(w.log), len(w.log)
	h.touch()
	for _, to := range w.hosts {
		if to != h && to.up && !to.paused && w.reach(h.index, to.index) {
			to.have = len(w.log)
			w.append(h, to)
		}
	}
	h.catchUp()
}

// commit makes a command an entry, through its form on the wire.
func (w *world) commit(c table.Command) {
	c, err := table.Decode(table.Encode(c))
	if err != nil {
		w.fail(ErrFatal, "a command is not read: %v", err)
		return
	}
	w.log = append(w.log, entry{w.term, c})
	w.Entries++
	w.watch(c, func() error {
		err = w.ref.Apply(c, w.term)
		if errors.Is(err, table.ErrUnknown) {
			w.fail(ErrFatal, "%v", err)
		}
		return err
	})
	if _, grant := c.(table.Grant); !grant && w.o.Trace != nil {
		w.trace("%d: %T %s: %v", len(w.log), c, table.Encode(c), err)
	}
}
