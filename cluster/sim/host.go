package sim

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"usher.example/cluster/member"
	"usher.example/cluster/place"
	"usher.example/cluster/rule"
	"usher.example/cluster/table"
)

// start starts the process: from its state directory, and with nothing else.
func (h *host) start() {
	w := h.w
	h.gen++
	h.up, h.paused, h.leaving = true, false, false
	h.later, h.sessions, h.waiting, h.grabs = nil, nil, nil, nil
	h.leader, h.hint, h.hintTerm = leader{}, -1, 0
	h.reportAt, h.joinAt, h.ruledAt, h.applying = 0, 0, 0, false
	h.t, h.applied = table.New(), h.index0
	h.t.Break(w.o.Broken)
	if h.saved != nil {
		if err := h.t.Load(bytes.NewReader(h.saved)); err != nil {
			w.fail(ErrFatal, "%s: %v", h.name, err)
		}
	}
	h.committed = h.applied
	h.n = member.New(member.Options{
		Name: h.name, Dir: h.dir, Strict: w.plan.Strict, Retention: h.says.Retention, KickDelay: h.says.KickDelay, Config: h.says, Broken: w.o.Broken,
	}, h.t, h.life)
	w.trace("%s starts, life %d", h.name, h.n.Life())
	h.effects()
	h.tick()
}

// stop ends the process. The kernel closes what it had open.
func (h *host) stop() {
	h.touch()
	h.w.trace("%s stops", h.name)
	for _, s := range h.sessions {
		s.open = false
	}
	h.up, h.paused, h.later, h.sessions, h.waiting, h.l = false, false, nil, nil, nil, nil
	if h.w.real == h.index {
		h.w.real = -1 // what leads has to be elected again
	}
}

// pause stops the process where it is.
func (h *host) pause() {
	h.touch()
	h.paused = true
	h.w.trace("%s is stopped", h.name)
}

// resume lets it go on: with what has come meanwhile, in some order.
func (h *host) resume() {
	if !h.up || !h.paused {
		return
	}
	h.w.trace("%s goes on", h.name)
	h.paused = false
	for i, do := range h.later {
		h.w.deliver(h, h.w.now+int64(i)*ms/50+h.rng.Int64N(ms), do)
	}
	h.later = nil
	h.check() // the forwarding loop is the first to run
}

// tick is what a node does some times a second.
func (h *host) tick() {
	w := h.w
	now := h.local(w.now)
	h.look()
	if h.n.Deadline() > far {
		w.Alone++
	}
	if now-h.reportAt >= member.ReportEvery && !h.witness {
		h.report()
	}
	if own := h.t.Members[h.name]; (own == nil || own.Dir != h.dir) && now-h.joinAt >= second {
		h.joinAt = now
		h.tell(table.Join{Node: h.name, Dir: h.dir, Address: h.name, Witness: h.witness})
	}
	h.rule(now)
	h.keepLocks()
	d := 100*ms + h.rng.Int64N(200*ms)
	switch {
	case w.quiet:
		d = second
	case w.now < h.slowTo:
		d *= 5
	}
	h.after(d, h.tick)
}

// look brings node and leader in line with the table and the time.
func (h *host) look() {
	if !h.witness {
		h.n.Look(h.local(h.w.now))
	}
	h.effects()
	h.lead()
	h.retry()
	h.check()
}

// effects does what the node asks for.
func (h *host) effects() {
	e := h.n.Effects()
	if e.Persist != 0 {
		h.life = e.Persist
	}
	slices.SortFunc(e.Kicks, func(a, b member.Kick) int { return cmp.Compare(a.Key, b.Key) })
	for _, k := range e.Kicks {
		h.kick(k)
	}
	for _, c := range e.Commands {
		h.tell(c)
	}
}

// tell sends a command to who leads.
func (h *host) tell(c table.Command) {
	if h.hint < 0 {
		return
	}
	to := h.w.hosts[h.hint]
	h.w.send(h, to, func() { to.propose(c) })
}

// report sends a report to who leads.
func (h *host) report() {
	w := h.w
	if h.hint < 0 || h.witness {
		return
	}
	now := h.local(w.now)
	h.reportAt = now
	r, to := h.n.Report(now, h.leaving), w.hosts[h.hint]
	w.send(h, to, func() {
		if to.l == nil {
			return
		}
		to.l.Report(to.local(w.now), r)
		to.lead()
		if !w.o.Broken.Kept(rule.GrantInLog) {
			w.send(to, h, func() {
				if m := h.t.Members[h.name]; m != nil && m.Counted && m.Life == r.Life {
					m.Granted = max(m.Granted, r.Number)
				}
			})
		}
	})
}

// lead does what a leader decides.
func (h *host) lead() {
	if h.l == nil {
		return
	}
	for _, c := range h.l.Look(h.local(h.w.now)) {
		d := h.w.brief(h.rng) / 8
		if !h.w.calm && (h.rng.IntN(100) == 0 || h.w.lossy > 0 && h.rng.IntN(8) == 0) {
			d = h.rng.Int64N(h.w.plan.Late) // on its way to raft
		}
		h.after(d, func() { h.propose(c) })
	}
	l := h.l
	for _, f := range l.Flushes() {
		h.w.Flushes++
		h.after(h.rng.Int64N(3*second), func() {
			h.w.flushed[f.Move] = true
			l.Flushed(f.Move)
		})
	}
}

// rule is what the owner of a leader adds: configuration and health.
func (h *host) rule(now int64) {
	if h.l == nil || now-h.ruledAt < second {
		return
	}
	h.ruledAt = now
	switch {
	case h.witness: // it knows no configuration, and hands the lead on
		h.w.elect(h.index)
		return
	case !h.w.defined(h.t):
		d := table.Define{Term: h.l.Term(), Pools: h.w.config}
		if h.t.Settings.Number == 0 {
			d.Settings = &table.Settings{
				Number: 1, Place: place.Version, Names: manners[0], KickDelay: h.says.KickDelay, Retention: h.says.Retention,
			}
		}
		h.propose(d)
	}
	for _, name := range slices.Sorted(maps.Keys(h.t.Pools)) {
		p := h.t.Pools[name]
		h.bring(p)
		up := make(map[uint16]bool)
		for id, b := range p.Backends {
			if good := !h.w.sick[name+"/"+b.Name]; good != b.Up {
				up[id] = good
			}
		}
		if len(up) > 0 {
			h.propose(table.Verdict{Term: h.l.Term(), Pool: name, Up: up})
		}
	}
}

// defined says whether a table has the configuration.
func (w *world) defined(t *table.Table) bool {
	if t.Settings.Number == 0 {
		return false
	}
	pools := 0
	for _, d := range w.config {
		p := t.Pools[d.Name]
		if p == nil {
			return false
		}
		pools++
		n := 0
		for _, b := range p.Backends {
			if b.Removed {
				continue
			}
			if n++; !slices.Contains(d.Backends, table.Server{Name: b.Name, Address: b.Address, Weight: b.Weight}) {
				return false
			}
		}
		if n != len(d.Backends) {
			return false
		}
	}
	for _, p := range t.Pools {
		if slices.ContainsFunc(w.config, func(d table.Defined) bool { return d.Name == p.Name }) {
			continue
		}
		for _, b := range p.Backends {
			if !b.Removed {
				return false
			}
		}
	}
	return true
}

// catchUp applies what is known to be committed, in a while.
func (h *host) catchUp() {
	w := h.w
	if h.applying || h.applied >= h.committed {
		return
	}
	h.applying = true
	d := w.brief(h.rng)
	if w.now < h.slowTo {
		d = h.rng.Int64N(6 * second)
	}
	h.after(d, func() {
		h.applying = false
		h.apply()
		h.catchUp()
	})
}

// apply takes a batch of the log, or a snapshot instead.
func (h *host) apply() {
	w := h.w
	to := h.committed
	if to <= h.applied {
		return
	}
	if h.rng.IntN(5) == 0 {
		to = h.applied + 1 + h.rng.IntN(to-h.applied)
	}
	if to-h.applied > 2 && h.rng.IntN(5) == 0 {
		h.install()
	}
	for h.applied < to {
		e := w.log[h.applied]
		_ = h.t.Apply(e.c, e.term) // what it does is the same everywhere
		h.applied++
	}
	if h.rng.IntN(50) == 0 {
		h.saved, h.index0 = save(h.t), h.applied
	}
	h.look()
}

// install replaces the table by a snapshot from the leader.
func (h *host) install() {
	w := h.w
	w.Loads++
	b := save(w.ref)
	if err := h.t.Load(bytes.NewReader(b)); err != nil {
		w.fail(ErrFatal, "%s: %v", h.name, err)
	}
	if again := save(h.t); !bytes.Equal(again, b) {
		w.fail(ErrReplica, "a snapshot is loaded and saved:\n%s\n%s", b, again)
	}
	h.applied = len(w.log)
	h.have, h.committed = max(h.have, h.applied), max(h.committed, h.applied)
	h.saved, h.index0 = b, h.applied
	w.trace("%s installs a snapshot of %d", h.name, h.applied)
}
