package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"usher.example/cluster/lead"
	"usher.example/cluster/table"
)

// A Reading is what a node's table had in a directory at one time.
type Reading struct {
	Values   map[string][]byte // by key
	Unopened map[string]error  // what of them cannot be opened, by key

	dir     string
	numbers map[string]uint64 // of the values, by key
}

// Same says whether two readings are of the same values: each was stored once.
func (r Reading) Same(o Reading) bool { return r.dir == o.dir && maps.Equal(r.numbers, o.numbers) }

// Here reads the values in a directory that this node's table has. Unlike Value it asks
// nobody and never waits: a node that starts without a majority goes by what it has.
func (f *Fleet) Here(dir string) Reading {
	r := Reading{Values: make(map[string][]byte), Unopened: make(map[string]error), dir: dir, numbers: make(map[string]uint64)}
	f.mu.Lock()
	found := make(map[string]table.Value)
	for key, v := range f.table.Values.Any() {
		if inDir(key, dir) {
			found[key] = v
			r.numbers[key] = v.Number
		}
	}
	f.mu.Unlock()
	for key, v := range found {
		plain, err := f.openValue(key, v)
		if err != nil {
			r.Unopened[key] = err
			continue
		}
		r.Values[key] = plain
	}
	return r
}

// UpdateOver is Update by pools that were made with what a directory had. As long as the
// table has something else there, this node does not tell its fleet of pools while it
// leads: what the pools lack would be removed, with what was set for it by command. That
// is so after a crash, when they were made before the log was read, and whenever a node
// is elected before it has taken up what came last. Who made them makes them anew as soon
// as a Watch tells him.
func (f *Fleet) UpdateOver(pools []Pool, r Reading) error {
	return f.update(pools, &r)
}

// outdated says whether the pools were made with something else than the table has. It is
// called with mu held.
func (f *Fleet) outdated() bool {
	if f.laid == nil {
		return false
	}
	there := 0
	for key, v := range f.table.Values.Any() {
		if !inDir(key, f.laid.dir) {
			continue
		}
		if there++; f.laid.numbers[key] != v.Number {
			return true
		}
	}
	return there != len(f.laid.numbers)
}

// kept are the back ends of a pool of which this node's configuration cannot say more
// than that they stay what they are. It is called with mu held.
func (f *Fleet) kept(c Pool) (list []table.Server) {
	p := f.table.Pools[c.Name]
	if p == nil || len(c.Keep) == 0 {
		return nil
	}
	for _, id := range sortedIDs(p.Backends) {
		b := p.Backends[id]
		if b.Removed || !slices.Contains(c.Keep, b.Name) || slices.ContainsFunc(c.Backends, func(o Backend) bool { return o.Name == b.Name }) {
			continue
		}
		list = append(list, table.Server{Name: b.Name, Address: b.Address, Weight: b.Weight})
	}
	return list
}

// Defined waits until the fleet places users by a back end, or by no such back end any
// more: the leader has said so, and every node goes by it.
func (f *Fleet) Defined(ctx context.Context, pool, backend string, there bool) error {
	what := fmt.Sprintf("the addition of %s", backend)
	if !there {
		what = fmt.Sprintf("the removal of %s", backend)
	}
	return f.wait(ctx, what, func() bool {
		p := f.table.Pools[pool]
		if p == nil {
			return !there
		}
		has := false
		for _, b := range p.Backends {
			has = has || b.Name == backend && !b.Removed
		}
		return has == there && lead.Settled(p)
	})
}
