package lead

import (
	"fmt"
	"maps"
	"slices"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// view begins and ends changes of a pool's view.
func (l *Leader) view(now int64, p *table.Pool) []table.Command {
	if p.Next == nil {
		delete(l.ready, p.Name)
		view, all := Wanted(p), l.t.Rekeyed()
		list := ""
		switch {
		case all:
		case p.List != nil && p.List.Whole && l.t.Settling == nil && len(p.Backends) > 0:
			list = p.List.Mark
		case l.lacks(p), same(p, view) && !l.sweep(now, p):
			return nil
		}
		l.swept[p.Name] = now
		return l.say(now, fmt.Sprintf("prepare %s %d", p.Name, p.Epoch), table.Prepare{
			Term: l.term, Pool: p.Name, Epoch: p.Epoch, View: view, All: all, List: list,
		})
	}
	if p.Next.All {
		return nil // all pools end at once: settle
	}
	epoch := p.Epoch + 1
	if !l.t.AllReady(p) {
		delete(l.ready, p.Name)
		return nil
	}
	s, ok := l.ready[p.Name]
	if !ok || s.epoch != epoch || s.enters != l.t.Enters {
		s = since{epoch, l.t.Enters, now}
		l.ready[p.Name] = s
	}
	if l.t.LosesAny(p) && now-s.at < l.kickDelay() {
		return nil
	}
	return l.say(now, fmt.Sprintf("activate %s %d", p.Name, epoch), table.Activate{
		Term: l.term, Pool: p.Name, Epoch: epoch, Enters: s.enters,
	})
}

// Expect tells what list of pins each pool is to begin with, nil if that is not known
// yet. Without a word there are none: nobody is placed before
// by the hash who is pinned by a file. What is in force may also be a part of it, the
// mark with a "+" behind.
func (l *Leader) Expect(marks map[string]string) { l.expected = marks }

// lacks says whether a pool's first view waits for its pins.
func (l *Leader) lacks(p *table.Pool) bool {
	want := l.expected[p.Name]
	return len(p.Active.List()) == 0 && (l.expected == nil || want != "" && p.Mark != want && p.Mark != want+"+")
}

// sweep says whether it is time to let stays end whose users are gone.
func (l *Leader) sweep(now int64, p *table.Pool) bool {
	if len(p.Stays) == 0 {
		return false
	}
	every := SweepEvery
	for _, b := range p.Backends {
		if b.Removed || b.Admin == table.Draining || b.Admin == table.Evacuate {
			every = DrainSweepEvery
		}
	}
	last, ok := l.swept[p.Name]
	if !ok {
		last = l.elected
	}
	return now-last >= every
}

// Wanted is the view that a pool should have: by configuration, administrators and
// health. If health leaves nobody, it is not heard: closing everything would help
// nobody, and the fault may be our own.
func Wanted(p *table.Pool) []table.Standing {
	var view []table.Standing
	healthy, configured := false, 0
	for _, b := range p.Backends {
		if !b.Removed {
			configured++
		}
	}
	for _, id := range slices.Sorted(maps.Keys(p.Backends)) {
		b := p.Backends[id]
		if b.Removed {
			if lingers(p, id) && configured < place.MaxBackends {
				configured++
				view = append(view, table.Standing{ID: id, State: place.Drain})
			}
			continue
		}
		s := table.Standing{ID: id, Weight: b.Weight, State: place.Up}
		if b.Over != nil {
			s.Weight = *b.Over
		}
		switch {
		case b.Admin == table.Down || !b.Up:
			s.State = place.Down
		case b.Admin == table.Draining || b.Admin == table.Evacuate:
			s.State = place.Drain
		}
		healthy = healthy || s.State == place.Up
		view = append(view, s)
	}
	if healthy || p.Storage == place.Local {
		return view
	}
	for i := range view {
		b := p.Backends[view[i].ID]
		if b.Removed {
			continue
		}
		if v, ok := p.Active.Find(view[i].ID); b.Admin == table.Active && (!ok || v.State == place.Up) {
			view[i].State = place.Up
		}
	}
	return view
}

// lingers says whether a back end that the configuration has no more is kept for the
// users who are there: a change of it closes no session. They leave it when they log
// in again. It has no weight, so that it is nobody's home.
func lingers(p *table.Pool, id uint16) bool {
	b, ok := p.Active.Find(id)
	if !ok || b.State == place.Down {
		return false
	}
	if b.State == place.Up || b.Name != p.Backends[id].InView() {
		return true // until it is known who is there
	}
	for _, at := range p.Stays {
		if at == id {
			return true
		}
	}
	return false
}

// Settled says whether a pool has the view that it should have.
func Settled(p *table.Pool) bool { return p.Next == nil && same(p, Wanted(p)) }

// same says whether a pool has the view already.
func same(p *table.Pool, view []table.Standing) bool {
	list := p.Active.List()
	if len(list) != len(view) || p.Active.Storage() != p.Storage {
		return false
	}
	for i, s := range view {
		b, is := list[i], p.Backends[s.ID]
		if b.ID != s.ID || b.Weight != s.Weight || b.State != s.State || is == nil || b.Name != is.InView() {
			return false
		}
	}
	return true
}
