package table

import (
	"fmt"

	"usher.example/cluster/place"
	"usher.example/cluster/rule"
)

// A List is pins that come from a file. There may be a million of them, and to move
// each user by himself would take hours; nor is anybody in a hurry: who is live stays
// where he is. So they are brought bit by bit, to no effect, and come into force as a
// whole with a change of their pool's view, which holds who would have another place.
type List struct {
	// Mark names the list: two that are the same have the same.
	Mark string
	// Whole: nothing more will come.
	Whole bool
	// Pins are the changes. Without a back end it is that a pin is taken away.
	Pins Pins
}

// Bounds of a List.
const (
	// MaxListed is how many pins go into one command, and MaxListedOctets of users'
	// names and back ends: in JSON it stays below MaxCommand.
	MaxListed       = 4096
	MaxListedOctets = 256 << 10
	// maxMark bounds the name of a list.
	maxMark = 64
)

type (
	// Stage brings a part of a List. The first begins it anew, the last makes it whole.
	Stage struct {
		Term  uint64   `json:"term"`
		Pool  string   `json:"pool"`
		Keys  int      `json:"keys"` // Settings.Keys that they are made with
		Mark  string   `json:"mark"`
		First bool     `json:"first,omitempty"`
		Last  bool     `json:"last,omitempty"`
		Pins  []Listed `json:"pins,omitempty"`
	}
	// Listed is a pin of a List.
	Listed struct {
		Key     place.Key `json:"key"`
		User    string    `json:"user"` // normalised
		Backend string    `json:"backend,omitempty"`
	}
)

func (Stage) kind() string { return "stage" }

func (c Stage) apply(t *Table, term uint64) error {
	p := t.Pools[c.Pool]
	switch {
	case c.Term != term:
		return ErrTerm
	case p == nil:
		return ErrNoPool
	case c.Keys != t.Settings.Keys:
		return ErrKeys
	case t.Settling != nil:
		return ErrSettling
	case c.Mark == "" || len(c.Mark) > maxMark:
		return fmt.Errorf("a list of pins that is called %q", c.Mark)
	case !c.First && (p.List == nil || p.List.Mark != c.Mark || p.List.Whole):
		return ErrLate
	case len(c.Pins) > MaxListed:
		return fmt.Errorf("%d pins, at most %d are possible", len(c.Pins), MaxListed)
	}
	for _, l := range c.Pins {
		if l.User == "" || len(l.User) > maxUser || len(l.Backend) > maxUser {
			return fmt.Errorf("a pin of a user %q to %q", l.User, l.Backend)
		}
	}
	if c.First {
		p.List = &List{Mark: c.Mark}
	}
	for _, l := range c.Pins {
		p.List.add(t, c.Pool, l)
	}
	p.List.Whole = c.Last
	return nil
}

// add takes a pin that the list may set. What an administrator has set holds, and of
// two users with one key, which is once in ten million fleets, the first is pinned.
func (l *List) add(t *Table, pool string, n Listed) {
	for _, pins := range []*Pins{&t.Pins, &l.Pins} {
		if is, ok := pins.Find(n.Key); ok && (is.User != n.User || pins == &t.Pins && !is.File) {
			return
		}
	}
	l.Pins.Set(n.Key, Pin{Pool: pool, User: n.User, Backend: n.Backend, File: true})
}

// pinned is where a user will be pinned by the view in preparation.
func (t *Table) pinned(p *Pool, k place.Key) string {
	if p.Next != nil && p.Next.List != nil && t.broken.Kept(rule.HoldListed) {
		if pin, ok := p.Next.List.Pins.Find(k); ok {
			return pin.Backend
		}
	}
	return t.Pins.Backend(k)
}

// overrule has lists leave a user alone whom an administrator has just moved. He was
// held and everywhere closed up to now, so no node has acted on what they say of him.
func (p *Pool) overrule(k place.Key) {
	if p.List != nil {
		p.List.Pins.Delete(k)
	}
	if p.Next != nil && p.Next.List != nil {
		p.Next.List.Pins.Delete(k)
	}
}

// listed says whether pins are on their way into any pool.
func (t *Table) listed() bool {
	for _, p := range t.Pools {
		if p.Next != nil && p.Next.List != nil {
			return true
		}
	}
	return false
}

// take puts a list in force.
func (t *Table) take(p *Pool, l *List) {
	if l == nil {
		return
	}
	for k, pin := range l.Pins.Any() {
		if pin.Backend == "" {
			t.Pins.Delete(k)
		} else {
			t.Pins.Set(k, pin)
		}
	}
	p.Mark = l.Mark
}

// Clone returns a copy that shares nothing that changes.
func (l *List) Clone() *List {
	if l == nil {
		return nil
	}
	return &List{l.Mark, l.Whole, l.Pins.Clone()}
}

// A savedList is a List in a snapshot.
type savedList struct {
	Mark  string   `json:"mark"`
	Whole bool     `json:"whole,omitempty"`
	Pins  []Listed `json:"pins"`
}

func (l *List) save() *savedList {
	if l == nil {
		return nil
	}
	s := &savedList{Mark: l.Mark, Whole: l.Whole}
	for k, pin := range l.Pins.All() {
		s.Pins = append(s.Pins, Listed{k, pin.User, pin.Backend})
	}
	return s
}

func (s *savedList) list(pool string) *List {
	if s == nil {
		return nil
	}
	l := &List{Mark: s.Mark, Whole: s.Whole}
	for _, n := range s.Pins {
		l.Pins.Set(n.Key, Pin{Pool: pool, User: n.User, Backend: n.Backend, File: true})
	}
	return l
}
