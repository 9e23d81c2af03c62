package cluster

import (
	"context"
	"fmt"

	"usher.example/cluster/lead"
	"usher.example/cluster/table"
)

// Here returns the values in a directory that this node's table has, by key, and what of
// them cannot be opened. Unlike Value it asks nobody and never waits: a node that starts
// without a majority goes by what it has.
func (f *Fleet) Here(dir string) (values map[string][]byte, unopened map[string]error) {
	f.mu.Lock()
	found := make(map[string]table.Value)
	for key, v := range f.table.Values.Any() {
		if inDir(key, dir) {
			found[key] = v
		}
	}
	f.mu.Unlock()
	values, unopened = make(map[string][]byte), make(map[string]error)
	for key, v := range found {
		plain, err := f.openValue(key, v)
		if err != nil {
			unopened[key] = err
			continue
		}
		values[key] = plain
	}
	return values, unopened
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
