package sim

import "math/rand/v2"

// A net is the network between hosts.
type net struct {
	cut   [16][16]int // how many faults cut a way
	lossy int         // how many faults make it worse than usual
}

// reach says whether messages go both ways.
func (w *world) reach(a, b int) bool {
	return a == b || w.calm || w.cut[a][b] == 0 && w.cut[b][a] == 0
}

// send brings a message to a host: late, never, or twice. The sender is not told.
func (w *world) send(from, to *host, do func()) {
	if from == to {
		w.deliver(to, w.now+from.rng.Int64N(2*ms), do)
		return
	}
	if w.cut[from.index][to.index] > 0 && !w.calm {
		return
	}
	r := from.rng
	loss, again, late := 0.01, 0.02, 0.02
	switch {
	case w.calm:
		loss, again, late = 0, 0, 0
	case w.lossy > 0:
		loss, again, late = 0.2, 0.3, 0.3
	}
	if r.Float64() < loss {
		return
	}
	delay := w.brief(r)
	if r.Float64() < late {
		delay += r.Int64N(w.plan.Late)
	}
	w.deliver(to, w.now+delay, do)
	if r.Float64() < again {
		w.deliver(to, w.now+delay+r.Int64N(w.plan.Late), do)
	}
}

// brief is how long something takes that usually does not take long.
func (w *world) brief(r *rand.Rand) int64 {
	if w.plan.Quick {
		return r.Int64N(ms / 2)
	}
	return ms + r.Int64N(15*ms)
}

// deliver makes something happen on a host, whatever process is then on it.
func (w *world) deliver(h *host, t int64, do func()) {
	w.at(t, func() {
		switch {
		case !h.up:
		case h.paused:
			h.later = append(h.later, do)
		default:
			h.touch()
			do()
		}
	})
}

// after makes something happen in the process that is now on a host.
func (h *host) after(d int64, do func()) {
	gen := h.gen
	h.w.deliver(h, h.w.now+d, func() {
		if h.gen == gen {
			do()
		}
	})
}
