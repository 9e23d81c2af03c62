package table

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"usher.example/cluster/place"
)

// maxUser bounds a user's name: no login line is longer, nor a line of a pins file.
const maxUser = 4096

// ErrIDs: there are no numbers left for back ends.
var ErrIDs = errors.New("no number is left for another back end: let stays end, or give up back ends")

// check reports what no node can have meant, and what there is no room for. Nothing
// has changed then.
func (c Define) check(t *Table) error {
	twice := make(map[string]bool)
	fresh := 0
	for _, d := range c.Pools {
		switch {
		case d.Name == "" || strings.ContainsRune(d.Name, 0):
			return fmt.Errorf("pool %q: that is no name", d.Name)
		case twice[d.Name]:
			return fmt.Errorf("pool %q: it is there twice", d.Name)
		case d.Storage > place.Local:
			return fmt.Errorf("pool %q: unknown %v", d.Name, d.Storage)
		}
		twice[d.Name] = true
		list := make([]place.Backend, 0, len(d.Backends))
		p := t.Pools[d.Name]
		for _, s := range d.Backends {
			list = append(list, place.Backend{Name: s.Name, Weight: s.Weight})
			if p == nil || p.same(s) == nil {
				fresh++
			}
		}
		if _, err := place.NewView(d.Storage, list); err != nil {
			return fmt.Errorf("pool %q: %w", d.Name, err)
		}
	}
	if fresh > 0 && fresh > math.MaxUint16-len(t.used()) {
		return ErrIDs
	}
	if c.Settings != nil {
		return c.Settings.check()
	}
	return nil
}

// used are the numbers of back ends that anything refers to.
func (t *Table) used() map[uint16]bool {
	used := make(map[uint16]bool)
	for _, p := range t.Pools {
		for id := range p.Backends {
			used[id] = true
		}
		for _, b := range p.Active.list {
			used[b.ID] = true
		}
		for _, id := range p.Stays {
			used[id] = true
		}
		if p.Next == nil {
			continue
		}
		for _, b := range p.Next.View.list {
			used[b.ID] = true
		}
		for _, id := range p.Next.Stays {
			used[id] = true
		}
	}
	return used
}

// newID returns a number that nothing refers to: the next one after the last, round
// and round. A node that was away for long may have sessions under an old one, so it
// comes back as late as can be. There is one: see Define.check.
func (t *Table) newID(used map[uint16]bool) uint16 {
	for {
		if t.LastID++; t.LastID != 0 && !used[t.LastID] {
			used[t.LastID] = true
			return t.LastID
		}
	}
}
