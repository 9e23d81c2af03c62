package sim

import (
	"bytes"
	"fmt"

	"usher.example/cluster/lead"
	"usher.example/cluster/member"
)

// settle ends all faults and holds the fleet to what it promises then.
func (w *world) settle() {
	w.heal()
	w.loop(w.now + 20*second) // the last clients are gone
	var wrong string
	for range 16 {
		w.loop(w.now + 5*second)
		if wrong = w.unsettled(); wrong == "" {
			break
		}
	}
	if w.err == nil && wrong != "" {
		w.fail(ErrSettle, "%s", wrong)
	}
	w.quiet = true
	w.probe()
	retention := w.ref.Settings.Retention
	w.loop(w.now + retention + retention/10 + 5*second)
	w.leftovers()
	if w.plan.Sweeps {
		w.sweeps()
	}
}

// heal ends all faults.
func (w *world) heal() {
	w.trace("-- all faults are over")
	w.calm = true
	clear(w.sick)
	for _, h := range w.hosts {
		h.slowTo, h.stuckTo = 0, 0
		h.configure(w.wants)
		switch {
		case !h.up:
			h.start()
		case h.paused:
			h.resume()
		}
	}
}

// unsettled says what is not yet as it should be.
func (w *world) unsettled() string {
	if w.err != nil {
		return ""
	}
	for _, p := range w.ref.Pools {
		if p.Next != nil {
			return fmt.Sprintf("%s prepares epoch %d, ready are %v", p.Name, p.Epoch+1, p.Next.Ready)
		}
		if p.Active.Storage() != p.Storage {
			return fmt.Sprintf("%s has a view of %v storage, not %v", p.Name, p.Active.Storage(), p.Storage)
		}
		want := lead.Wanted(p)
		for i, b := range p.Active.List() {
			if len(want) != len(p.Active.List()) || want[i].ID != b.ID || want[i].State != b.State || want[i].Weight != b.Weight {
				return fmt.Sprintf("%s has the view %v, not %v", p.Name, p.Active.List(), want)
			}
		}
	}
	for _, m := range w.ref.Moves {
		return fmt.Sprintf("move %d is not done: %v", m.Number, m.Clear)
	}
	if wrong := w.settledOn(); wrong != "" {
		return wrong
	}
	for _, p := range w.ref.Pools {
		if w.unlisted(p) {
			return fmt.Sprintf("%s has the pins of %q", p.Name, p.Mark)
		}
	}
	for _, l := range w.ref.Locks {
		return fmt.Sprintf("%s has %s still", l.Node, l.Name)
	}
	if !w.defined(w.ref) {
		return "the configuration is not in the table"
	}
	for _, h := range w.hosts {
		switch {
		case h.leaving:
			return h.name + " is leaving"
		case !h.witness && !h.n.Leased(h.local(w.now)):
			return h.name + " has no lease"
		case h.applied < len(w.log)-3:
			return h.name + " is late"
		case len(h.waiting) > 0:
			return h.name + " holds logins"
		case len(h.sessions) > 0:
			return h.name + " has sessions"
		}
	}
	return ""
}

// probe logs everybody in everywhere: nobody is held, and all are told the same.
func (w *world) probe() {
	for _, u := range w.users {
		for n := range spellings {
			w.probeAs(u.pool, w.ref.Settings.Names.Normal(u.spelled(n)))
		}
	}
}

func (w *world) probeAs(pool, name string) {
	var first *member.Decision
	for _, h := range w.hosts {
		if w.err != nil {
			return
		}
		if h.witness {
			continue
		}
		h.touch()
		now := h.local(w.now)
		d := h.n.Place(now, pool, w.key(h.t.Settings, pool, name))
		if d.Verdict == member.Placed && !h.n.Still(now, d.Hold) {
			w.fail(ErrSettle, "%s: %s may not send credentials", h.name, name)
		}
		h.n.Release(now, d.Hold)
		if first == nil {
			first = &d
		}
		if d.Verdict == member.Held || d.Verdict == member.Isolated || d.Verdict != first.Verdict || d.Backend != first.Backend {
			w.fail(ErrSettle, "%s: %s: %+v, elsewhere %+v", h.name, name, d, *first)
		}
	}
}

// leftovers looks for what should have gone, and at the tables.
func (w *world) leftovers() {
	for _, h := range w.hosts {
		if w.err != nil {
			return
		}
		if records, holds := h.n.Counts(); records != 0 || holds != 0 || len(h.sessions) != 0 || len(h.waiting) != 0 {
			w.fail(ErrLeak, "%s has %d records, %d holds, %d sessions, %d waiting", h.name, records, holds, len(h.sessions), len(h.waiting))
		}
		for h.applied < len(w.log) {
			_ = h.t.Apply(w.log[h.applied].c, w.log[h.applied].term)
			h.applied++
		}
		if mine, ref := save(h.t), save(w.ref); !bytes.Equal(mine, ref) {
			w.fail(ErrReplica, "%s has\n%s, not\n%s", h.name, mine, ref)
		}
	}
	w.checkPins()
}

// sweeps waits for stays to end.
func (w *world) sweeps() {
	w.loop(w.now + 2*lead.SweepEvery/10*12)
	for _, p := range w.ref.Pools {
		if len(p.Stays) > 0 && w.err == nil {
			w.fail(ErrSettle, "%s still has %d stays", p.Name, len(p.Stays))
		}
	}
}
