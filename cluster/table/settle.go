package table

import (
	"fmt"
	"maps"
	"slices"

	"usher.example/cluster/place"
)

// A Settling is a change of what makes keys of users, under way. It takes four
// steps: Settle says what will hold and from then on no user is moved; Rekey says
// what the pins' keys will be, bit by bit; Prepare of all pools with All has
// everybody closed and held; Settled puts the new keys in force, everywhere at once.
// Up to the third step it can be given up.
type Settling struct {
	Settings Settings
	// Keys are the pins' new keys by their present ones.
	Keys map[place.Key]place.Key

	back map[place.Key]place.Key // derived: a present key of each new one
}

// Commands of the leader that change settings.
type (
	// Settle begins a change of settings, replaces it by another or, without
	// settings, gives it up. Settings that leave keys as they are hold at once.
	Settle struct {
		Term     uint64    `json:"term"`
		Number   int       `json:"number"` // of the settings that it was made for
		Settings *Settings `json:"settings,omitempty"`
	}
	// Rekey tells the new keys of some pins. Who has the map key can compute them:
	// the table has it sealed only.
	Rekey struct {
		Term   uint64  `json:"term"`
		Number int     `json:"number"` // of the settings to come
		Pins   Renames `json:"pins"`
	}
	// Settled ends it.
	Settled struct {
		Term   uint64 `json:"term"`
		Number int    `json:"number"` // of the settings to come
		Enters uint64 `json:"enters"` // as in Activate
	}
)

func (Settle) kind() string  { return "settle" }
func (Rekey) kind() string   { return "rekey" }
func (Settled) kind() string { return "settled" }

func (c Settle) apply(t *Table, term uint64) error {
	switch {
	case c.Term != term:
		return ErrTerm
	case c.Number != t.Settings.Number || c.Number == 0 || t.closing():
		return ErrLate
	case c.Settings == nil:
		t.Settling = nil
		return nil
	case c.Settings.Number != c.Number+1:
		return ErrLate
	}
	s := *c.Settings
	if err := s.check(); err != nil {
		return err
	}
	if s.Keys == t.Settings.Keys {
		return t.set(s)
	}
	switch {
	case s.Keys != t.Settings.Keys+1:
		return ErrLate
	case len(t.Moves) > 0 || t.listed():
		return fmt.Errorf("%w: %d moves are under way, or a list of pins", ErrWaits, len(t.Moves))
	}
	if users := t.Collide(s.Names); len(users) > 0 {
		return fmt.Errorf("%w: %q", ErrCollide, users)
	}
	t.Settling = &Settling{Settings: s, Keys: make(map[place.Key]place.Key), back: make(map[place.Key]place.Key)}
	return nil
}

// Collide lists users who are pinned to different back ends of a pool and would be
// one user if names were normalised in a way. Whose pin should be lost is nothing
// that a program can know, so such a change is not begun.
func (t *Table) Collide(names place.Names) []string {
	type user struct{ pool, name string }
	at := make(map[user]Pin, t.Pins.Len())
	var list []string
	for _, p := range t.Pins.Any() {
		u := user{p.Pool, names.Normal(p.User)}
		if other, ok := at[u]; ok && other.Backend != p.Backend {
			list = append(list, other.User, p.User)
		}
		at[u] = p
	}
	slices.Sort(list)
	list = slices.Compact(list)
	return list[:min(len(list), maxCollide)]
}

// maxCollide bounds the list of users in an error: enough to see what is wrong.
const maxCollide = 10

func (c Rekey) apply(t *Table, term uint64) error {
	s := t.Settling
	switch {
	case c.Term != term:
		return ErrTerm
	case s == nil || s.Settings.Number != c.Number:
		return ErrLate
	}
	add := make(map[place.Key]place.Key, len(c.Pins)) // new: old
	for _, r := range c.Pins {
		p, ok := t.Pins.Find(r.Old)
		if !ok {
			return ErrLate
		}
		for _, from := range []map[place.Key]place.Key{s.back, add} {
			other, taken := from[r.New]
			if !taken {
				continue
			}
			o, _ := t.Pins.Find(other)
			if o.Pool != p.Pool || s.Settings.Names.Normal(o.User) != s.Settings.Names.Normal(p.User) {
				return ErrSameKey
			}
		}
		add[r.New] = r.Old
	}
	for _, r := range c.Pins {
		if before, ok := s.Keys[r.Old]; ok && before != r.New {
			return ErrSameKey
		}
	}
	for _, r := range c.Pins {
		s.Keys[r.Old], s.back[r.New] = r.New, r.Old
	}
	return nil
}

// Has finds a pin that gets a new key.
func (s *Settling) Has(key place.Key) (old place.Key, ok bool) {
	old, ok = s.back[key]
	return old, ok
}

// Rekeyed says whether a change of keys waits for nothing but that everybody is
// closed.
func (t *Table) Rekeyed() bool { return t.Settling != nil && len(t.Settling.Keys) == t.Pins.Len() }

// closing says whether everybody is being closed for new keys: it cannot be given up
// any more.
func (t *Table) closing() bool {
	for _, p := range t.Pools {
		if p.Next != nil && p.Next.All {
			return true
		}
	}
	return false
}

func (c Settled) apply(t *Table, term uint64) error {
	switch {
	case c.Term != term:
		return ErrTerm
	case t.Settling == nil || t.Settling.Settings.Number != c.Number, c.Enters != t.Enters:
		return ErrLate
	case !t.AllClosed():
		return ErrWaits
	}
	var pins Pins
	for old, p := range t.Pins.All() {
		p.User = t.Settling.Settings.Names.Normal(p.User)
		pins.Set(t.Settling.Keys[old], p)
	}
	t.Settings, t.Pins, t.Settling = t.Settling.Settings, pins, nil
	for _, name := range slices.Sorted(maps.Keys(t.Pools)) {
		t.Pools[name].List = nil // its keys mean nothing any more
		t.Pools[name].Mark = ""  // and what a file means may be others
		t.turn(t.Pools[name])
	}
	return nil
}

// AllClosed says whether the end of a change of keys waits for nobody.
func (t *Table) AllClosed() bool {
	if !t.Rekeyed() || len(t.Moves) > 0 {
		return false
	}
	for _, p := range t.Pools {
		if p.Next == nil || !p.Next.All || !t.AllReady(p) {
			return false
		}
	}
	return true
}
