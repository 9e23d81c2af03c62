package sim

import (
	"slices"

	"usher.example/cluster/member"
	"usher.example/cluster/place"
)

// A user has sessions, on any host.
type user struct {
	name     string
	pool     string
	sessions []*session // that sent credentials, until nothing of them is left
}

// A login is a client who has said who he is.
type login struct {
	a     *Action
	u     *user
	until int64  // when he gives up, by the host's clock
	name  string // as he writes it
	key   place.Key
	keys  int // that his key is of
}

// A session is a login that has a place.
type session struct {
	*login
	h       *host
	backend uint16
	hold    uint64
	open    bool  // the connection to the back end, or the way to one
	sent    bool  // the credentials
	since   int64 // when
	last    int64 // when bytes that count last went to the back end; 0 for never
}

// never is long before a run begins.
const never = 0

// come is a client who logs in.
func (h *host) come(a *Action) {
	if h.leaving || h.witness {
		return
	}
	l := &login{a: a, u: h.w.users[a.User], until: h.local(h.w.now) + 5*second}
	l.name, l.keys = l.u.spelled(a.N), -1
	h.try(l)
}

// try asks for a place.
func (h *host) try(l *login) {
	w := h.w
	s := h.t.Settings
	if s.Number == 0 { // it has not joined yet
		h.waiting = append(h.waiting, l)
		return
	}
	if l.keys < 0 || !h.n.Keyed(l.keys) {
		l.key, l.keys = w.key(s, l.u.pool, s.Names.Normal(l.name)), s.Keys
	}
	d := h.n.Place(h.local(w.now), l.u.pool, l.key)
	switch d.Verdict {
	case member.Placed:
		s := &session{login: l, h: h, backend: d.Backend, hold: d.Hold, open: true}
		h.sessions = append(h.sessions, s)
		w.trace("%s: %s is placed on %d by %s, hold %x", h.name, l.name, d.Backend, d.Why, d.Hold)
		h.after(l.a.Dial, s.dialled)
	case member.Held:
		h.waiting = append(h.waiting, l)
	default:
	}
	h.effects()
}

// retry asks again for those who are held.
func (h *host) retry() {
	list := h.waiting
	h.waiting = nil
	for _, l := range list {
		if h.local(h.w.now) < l.until && !h.leaving {
			h.try(l)
		}
	}
}

// dialled: the back end has greeted.
func (s *session) dialled() {
	h, w := s.h, s.h.w
	if !s.open {
		return
	}
	if !h.n.Still(h.local(w.now), s.hold) {
		s.close()
		return
	}
	s.sent, s.since = true, w.now
	if w.plan.Strict || h.n.Leased(h.local(w.now)) {
		s.last = w.now
	}
	s.u.sessions = append(s.u.sessions, s)
	w.Logins++
	w.trace("%s: credentials of %s are sent to %d", h.name, s.name, s.backend)
	h.check()
	w.compare(s)
	h.after(s.a.Reply, s.answered)
}

// answered: the back end has let the user in, or not.
func (s *session) answered() {
	switch {
	case !s.open:
	case s.a.Outcome == Refused:
		h := s.h
		h.w.trace("%s: %s is refused", h.name, s.u.name)
		s.last, s.sent = never, false
		h.n.Refused(s.hold)
		h.after(s.a.Close, s.close)
	case s.a.Outcome == Cut:
		s.h.after(s.a.Close, s.close)
	default:
		s.h.n.Confirm(s.hold)
		s.h.after(s.a.Long, func() { s.h.after(s.a.Close, s.close) })
	}
}

// close closes the connection to the back end; the hold is given back after that.
func (s *session) close() {
	if !s.open {
		return
	}
	h := s.h
	h.touch()
	s.open = false
	h.sessions = slices.DeleteFunc(h.sessions, func(o *session) bool { return o == s })
	h.w.trace("%s: a connection of %s to %d is closed", h.name, s.name, s.backend)
	h.after(h.rng.Int64N(10*ms), func() {
		h.n.Release(h.local(h.w.now), s.hold)
		h.look()
	})
}

// kick closes connections by force, which may take its time.
func (h *host) kick(k member.Kick) {
	for _, s := range h.sessions {
		if s.key != k.Key || !slices.Contains(k.Holds, s.hold) {
			continue
		}
		d := ms + h.rng.Int64N(100*ms)
		if !h.w.calm && h.rng.IntN(10) == 0 {
			d = h.rng.Int64N(3 * second)
		}
		h.after(max(d, h.stuckTo-h.w.now), s.close)
	}
}
