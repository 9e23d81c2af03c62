package table

import (
	"fmt"

	"usher.example/cluster/place"
	"usher.example/cluster/rule"
)

func (c Start) apply(t *Table, _ uint64) error {
	p := t.Pools[c.Pool]
	if p == nil {
		return ErrNoPool
	}
	if len(c.User) > maxUser {
		return fmt.Errorf("a user's name of %d octets, at most %d are possible", len(c.User), maxUser)
	}
	if c.Keys != t.Settings.Keys {
		return ErrKeys
	}
	if t.Settling != nil {
		return ErrSettling
	}
	if m := t.Moving(c.Key); m != nil {
		return fmt.Errorf("%w, to %q by %s", ErrMoving, m.Target, m.By)
	}
	if pin, ok := t.Pins.Find(c.Key); ok && c.User != "" && pin.User != c.User {
		return ErrSameKey
	}
	switch c.Pin {
	case PinSet:
		b := p.named(c.Target)
		if b == nil {
			return ErrNoBackend
		}
		if v, ok := p.Active.Find(b.ID); (!ok || v.State != place.Up) && p.Active.Storage() == place.Shared {
			return fmt.Errorf("%w: %s", ErrTarget, c.Target)
		}
		if c.User == "" {
			return ErrSameKey // a pin has a name
		}
	case PinClear, PinKeep:
		if c.Target != "" {
			return ErrNoBackend
		}
	default:
		return fmt.Errorf("unknown change of a pin %q", c.Pin)
	}
	t.LastMove++
	t.Moves[t.LastMove] = &Move{
		Number: t.LastMove, Pool: c.Pool, Key: c.Key, User: c.User, Target: c.Target, Pin: c.Pin, By: c.By,
		Clear: make(map[string]Cleared),
	}
	t.moving[c.Key] = t.LastMove
	return nil
}

func (c Clear) apply(t *Table, _ uint64) error {
	m := t.Moves[c.Number]
	if !t.broken.Kept(rule.NumberInMoves) && m == nil {
		for _, other := range t.Moves {
			if m == nil || other.Number < m.Number {
				m = other
			}
		}
	}
	switch {
	case m == nil:
		return ErrLate
	case t.counted(c.Node, c.Life) == nil:
		return ErrNotCounted
	}
	life := c.Life
	if !t.broken.Kept(rule.LifeInCommands) {
		life = t.Members[c.Node].Life
	}
	m.Clear[c.Node] = Cleared{Life: life, Had: c.Had || m.Clear[c.Node].Had}
	return nil
}

// Had says whether any node had a record of the user who is moved.
func (m *Move) Had() bool {
	for _, c := range m.Clear {
		if c.Had {
			return true
		}
	}
	return false
}

// Way names the back ends that a user who is moved comes from and goes to, by the
// active view; empty where none is known.
func (t *Table) Way(m *Move) (from, to string) {
	p := t.Pools[m.Pool]
	if p == nil {
		return "", m.Target
	}
	name := func(id uint16) string {
		if b := p.Backends[id]; b != nil {
			return b.Name // in the view a removed one has another
		}
		b, _ := p.Active.Find(id)
		return b.Name
	}
	from = name(t.Present(p, m.Key).Backend)
	pin := t.Pins.Backend(m.Key)
	switch m.Pin {
	case PinSet:
		pin = m.Target
	case PinClear:
		pin = ""
	case PinKeep:
	}
	b, _, _ := place.Base(p.Active.place, pin, m.Key)
	return from, b.Name
}

func (c Placed) apply(t *Table, term uint64) error {
	m := t.Moves[c.Number]
	switch {
	case c.Term != term:
		return ErrTerm
	case m == nil, c.Enters != t.Enters:
		return ErrLate
	case !t.AllClear(m):
		return ErrWaits
	}
	switch m.Pin {
	case PinSet:
		t.Pins.Set(m.Key, Pin{Pool: m.Pool, User: m.User, Backend: m.Target})
	case PinClear:
		t.Pins.Delete(m.Key)
	case PinKeep:
	}
	if p := t.Pools[m.Pool]; p != nil {
		if m.Pin != PinKeep {
			p.overrule(m.Key)
		}
		delete(p.Stays, m.Key)
		if p.Next != nil {
			delete(p.Next.Stays, m.Key)
		}
	}
	delete(t.Moves, m.Number)
	delete(t.moving, m.Key)
	return nil
}
