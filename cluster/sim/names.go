package sim

import (
	"fmt"

	"usher.example/cluster/member"
	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// What a name is written like by clients, and what configurations make of it. By
// the first all are one user, by the second none.
var (
	spellings = []func(string) string{
		func(name string) string { return "u" + name },
		func(name string) string { return "U" + name },
		func(name string) string { return "u" + name + "@d" },
	}
	manners = []place.Names{
		{LowerCase: true, StripDomain: place.AnyDomain}, {}, {LowerCase: true}, {DefaultDomain: "d"},
	}
)

// spelled is a user's name as a client writes it.
func (u *user) spelled(n int) string { return spellings[n%len(spellings)](u.name) }

// key is a user's key by some settings: another map key each time, so that all
// places change.
func (w *world) key(s table.Settings, pool, name string) place.Key {
	for len(w.keyers) <= s.Keys {
		w.keyers = append(w.keyers, place.NewKeyer(fmt.Appendf(nil, "sim%d", len(w.keyers))))
	}
	return w.keyers[s.Keys].Key(pool, name)
}

// mayKey is key for a leader.
func (w *world) mayKey(s table.Settings, pool, name string) (place.Key, bool) {
	return w.key(s, pool, name), true
}

// says is what the n-th configuration says: times are never less than what back
// ends need.
func (w *world) says(n int) member.Config {
	kick := w.plan.KickDelay * []int64{1, 1, 2}[n/4%3]
	return member.Config{
		Names: manners[n%len(manners)], KickDelay: kick, Retention: max(w.plan.Retention*[]int64{1, 2}[n/12%2], kick),
	}
}

// rename gives the hosts another configuration, one after the other. Sometimes one is
// forgotten until the end.
func (w *world) rename(a *Action) {
	w.wants = w.says(a.N / 2)
	for _, h := range w.hosts {
		if h.index == a.Host && a.N%2 == 0 && len(w.hosts) > 1 {
			continue
		}
		c := w.wants
		w.at(w.now+h.rng.Int64N(a.Long+1), func() {
			if !w.calm { // in the end all have the last one
				h.configure(c)
			}
		})
	}
}

func (h *host) configure(c member.Config) {
	h.says = c
	if h.up {
		h.n.Configure(c)
	}
}

// one says whether two sessions are of one user, by the settings of the newer one.
func (w *world) one(a, b *session) bool {
	names := w.manners[max(a.keys, b.keys)]
	return names.Normal(a.name) == names.Normal(b.name)
}

// A pin is a user of a pool.
type pin struct{ pool, name string }

// renamed notes that users have new keys: their pins are the same.
func (w *world) renamed() {
	s := w.ref.Settings
	w.Renames++
	for len(w.manners) <= s.Keys {
		w.manners = append(w.manners, s.Names)
	}
	pins := make(map[pin]string, len(w.pins))
	for p, target := range w.pins {
		p.name = s.Names.Normal(p.name)
		if was, ok := pins[p]; ok && was != target {
			w.fail(ErrPin, "%s is pinned to %s and to %s", p.name, was, target)
		}
		pins[p] = target
	}
	w.pins = pins
	w.regrouped()
}

// settledOn says whether the fleet does what all nodes say, or why not.
func (w *world) settledOn() string {
	s := w.ref.Settings
	switch {
	case w.ref.Settling != nil:
		return fmt.Sprintf("settings %d are not settled", w.ref.Settling.Settings.Number)
	case s.Names != w.wants.Names && len(w.ref.Collide(w.wants.Names)) > 0:
		return "" // two pins of one user are in the way
	case len(w.wants.Differs(s)) > 0:
		return fmt.Sprint(w.wants.Differs(s))
	}
	return ""
}

// checkPins holds the pins against those that were acknowledged.
func (w *world) checkPins() {
	if len(w.pins) != w.ref.Pins.Len() {
		w.fail(ErrPin, "%d pins, not %d", w.ref.Pins.Len(), len(w.pins))
	}
	for p, target := range w.pins {
		got, _ := w.ref.Pins.Find(w.key(w.ref.Settings, p.pool, p.name))
		if got != (table.Pin{Pool: p.pool, User: p.name, Backend: target, File: !w.admins[p]}) {
			w.fail(ErrPin, "%s has the pin %+v, not to %q", p.name, got, target)
		}
	}
}
