package sim

import (
	"fmt"

	"usher.example/cluster/table"
)

// act lets one thing of the plan happen.
func (w *world) act(a *Action) {
	h := w.hosts[a.Host]
	if a.Kind != Login {
		w.trace("-- %s %s, user or back end %d, %d, for %s", a.Kind, h.name, a.User, a.N, seconds(a.Long))
	}
	switch a.Kind {
	case Login:
		w.deliver(h, w.now, func() { h.come(a) })
	case Move, Unpin:
		w.deliver(h, w.now, func() {
			if h.t.Settings.Number > 0 {
				h.tell(w.start(a, h.t.Settings))
			}
		})
	case Adjust:
		w.deliver(h, w.now, func() { h.tell(w.adjust(a)) })
	case Sicken:
		name := fmt.Sprintf("%s/b%d", w.plan.pool(a.N), a.User%w.plan.Backends)
		w.sick[name] = true
		w.at(w.now+a.Long, func() { delete(w.sick, name) })
	case Configure:
		w.config = w.plan.configuration(a.N % 4)
	case Crash, Lose, Leave:
		w.halt(h, a)
	case Pause:
		if h.up && !h.paused {
			gen := h.gen
			h.pause()
			w.at(w.now+a.Long, func() {
				if h.gen == gen {
					h.resume()
				}
			})
		}
	case Isolate, Split, OneWay:
		w.partition(h, a)
	case Slow:
		h.slowTo = w.now + a.Long
	case Stuck:
		h.stuckTo = w.now + a.Long
	case Lossy:
		w.lossy++
		w.at(w.now+a.Long, func() { w.lossy-- })
	case Elect:
		w.elect(w.real)
	case Rename:
		w.rename(a)
	case File:
		w.file = a.N
	case Store:
		w.deliver(h, w.now, func() { h.store(a) })
	case Grab:
		w.deliver(h, w.now, func() { h.grab(a) })
	case kinds:
	}
}

func (w *world) start(a *Action, s table.Settings) table.Command {
	u := w.users[a.User]
	name := s.Names.Normal(u.spelled(a.N / 100))
	c := table.Start{Pool: u.pool, Key: w.key(s, u.pool, name), Keys: s.Keys, User: name, By: "sim"}
	switch {
	case a.Kind == Unpin:
		c.Pin = table.PinClear
	case a.N%10 == 0:
		c.Pin = table.PinKeep
	default:
		c.Pin, c.Target = table.PinSet, fmt.Sprintf("b%d", a.N%w.plan.Backends)
	}
	return c
}

func (w *world) adjust(a *Action) table.Command {
	c := table.Adjust{Pool: w.plan.pool(a.N), Backend: fmt.Sprintf("b%d", a.User%w.plan.Backends), By: "sim"}
	if a.N%3 == 0 {
		weight := []int{-1, 0, 1, 1000}[a.N/3%4]
		c.Weight = &weight
	} else {
		admin := []table.Admin{table.Active, table.Active, table.Draining, table.Evacuate, table.Down}[a.N/3%5]
		c.Admin = &admin
	}
	return c
}

// halt ends a process, in order or not, and starts it again.
func (w *world) halt(h *host, a *Action) {
	if !h.up || h.leaving {
		return
	}
	again := func() {
		h.stop()
		if a.Kind == Lose && w.spared(h) {
			h.dir, h.life, h.saved, h.index0, h.have = fmt.Sprintf("%s.%d", h.name, w.now), 0, nil, 0, 0
			w.trace("%s has lost its state directory", h.name)
		}
		gen := h.gen
		if a.N%3 == 0 {
			h.clock = newClock(h.rng) // it was the whole machine
		}
		w.at(w.now+a.Long, func() {
			if h.gen == gen && !h.up {
				h.start()
			}
		})
	}
	if a.Kind != Leave {
		again()
		return
	}
	gen := h.gen
	w.deliver(h, w.now, func() {
		if h.gen != gen {
			return
		}
		h.leaving = true
		h.waiting = nil
		for _, s := range h.sessions {
			h.after(h.rng.Int64N(second), s.close)
		}
	})
	w.at(w.now+3*second, func() {
		if h.gen == gen && h.up {
			again()
		}
	})
}

// spared says whether the others of a majority have all of the log.
func (w *world) spared(h *host) bool {
	n := 0
	for _, o := range w.hosts[:w.voters] {
		if o != h && o.have == len(w.log) {
			n++
		}
	}
	return n > w.voters/2
}

// partition cuts ways, and heals them.
func (w *world) partition(h *host, a *Action) {
	one := func(i int) bool { return i == h.index }
	if a.Kind == Split {
		one = func(i int) bool { return (a.N>>i)&1 == 1 }
	}
	change := func(by int) {
		for i := range w.hosts {
			for j := range w.hosts {
				if !one(i) || one(j) {
					continue
				}
				if a.Kind != OneWay || a.N%2 == 0 {
					w.cut[i][j] += by
				}
				if a.Kind != OneWay || a.N%2 == 1 {
					w.cut[j][i] += by
				}
			}
		}
	}
	change(1)
	w.at(w.now+a.Long, func() { change(-1) })
}
