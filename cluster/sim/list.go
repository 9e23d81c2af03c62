package sim

import (
	"fmt"
	"slices"

	"usher.example/cluster/table"
)

// Files with pins are the same on all hosts here: what happens while they are not is
// their owners' matter, who then bring less. The leader brings what the newest has.

// fileMark names the list of the n-th file.
func fileMark(n int) string { return fmt.Sprintf("file%d", n) }

// listing is what the n-th file changes in a pool, whatever is pinned now.
func (w *world) listing(n int, pool string, s table.Settings) []table.Listed {
	r := stream(w.plan.Seed, 4000+uint64(n))
	var list []table.Listed
	seen := make(map[string]bool)
	for _, u := range w.users {
		for i := range spellings {
			backend := ""
			if b := r.IntN(w.plan.Backends + 1); b < w.plan.Backends {
				backend = fmt.Sprintf("b%d", b)
			}
			skip := r.IntN(3) == 0
			name := s.Names.Normal(u.spelled(i))
			if u.pool != pool || skip || seen[name] {
				continue
			}
			seen[name] = true
			list = append(list, table.Listed{Key: w.key(s, pool, name), User: name, Backend: backend})
		}
	}
	return list
}

// unlisted says whether a pool's pins are still those of another file.
// One without back ends has nobody to pin.
func (w *world) unlisted(p *table.Pool) bool {
	return w.file > 0 && p.Mark != fileMark(w.file) && len(p.Backends) > 0
}

// bring is what the owner of a leader says of the file: two halves, the second of
// which may be lost or come first.
func (h *host) bring(p *table.Pool) {
	mark := fileMark(h.w.file)
	switch {
	case !h.w.unlisted(p), h.t.Settling != nil:
		return
	case p.List != nil && p.List.Whole && p.List.Mark == mark, p.Next != nil && p.Next.List != nil && p.Next.List.Mark == mark:
		return // on its way
	}
	s := h.t.Settings
	list := h.w.listing(h.w.file, p.Name, s)
	half := len(list) / 2
	c := table.Stage{Term: h.l.Term(), Pool: p.Name, Keys: s.Keys, Mark: mark, First: true, Pins: list[:half]}
	if p.List == nil || p.List.Mark != mark {
		h.propose(c)
	}
	c.First, c.Last, c.Pins = false, true, list[half:]
	h.propose(c)
}

// A filed pin is one of a list on its way, as the simulation itself has it: it does not
// ask the table what that made of the list.
type filed struct {
	pin
	backend  string
	prepared bool // with a view; before that it is only staged
}

// staged notes a part of a list.
func (w *world) staged(c table.Stage) {
	if c.First {
		w.forget(func(f filed) bool { return f.pool == c.Pool && !f.prepared })
	}
	for _, l := range c.Pins {
		at := pin{c.Pool, l.User}
		twice := slices.ContainsFunc(w.coming, func(f filed) bool { return f.pin == at && !f.prepared })
		if !w.admins[at] && !twice {
			w.coming = append(w.coming, filed{pin: at, backend: l.Backend})
		}
	}
}

func (w *world) forget(which func(f filed) bool) { w.coming = slices.DeleteFunc(w.coming, which) }

// prepared notes that a list comes with a view.
func (w *world) prepared(c table.Prepare) {
	if c.List == "" {
		return
	}
	w.Lists++
	for i := range w.coming {
		if w.coming[i].pool == c.Pool {
			w.coming[i].prepared = true
		}
	}
}

// activated notes that a list holds.
func (w *world) activated(pool string) {
	w.forget(func(f filed) bool {
		switch {
		case f.pool != pool || !f.prepared:
			return false
		case f.backend == "":
			delete(w.pins, f.pin)
		default:
			w.pins[f.pin] = f.backend
		}
		delete(w.admins, f.pin)
		return true
	})
}

// ordered notes that an administrator's word about a user is newer.
func (w *world) ordered(m *table.Move) {
	at := pin{m.Pool, m.User}
	switch m.Pin {
	case table.PinSet:
		w.pins[at], w.admins[at] = m.Target, true
	case table.PinClear:
		delete(w.pins, at)
		delete(w.admins, at)
	case table.PinKeep:
		return
	}
	w.forget(func(f filed) bool { return f.pin == at })
}

// regrouped notes that users have other names: of two pins that are one now the table
// says whose it is, and lists begin anew.
func (w *world) regrouped() {
	w.coming = nil
	clear(w.admins)
	for _, p := range w.ref.Pins.All() {
		if !p.File {
			w.admins[pin{p.Pool, p.User}] = true
		}
	}
}
