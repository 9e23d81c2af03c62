package cluster

import (
	"context"
	"slices"
)

// A Watch tells which values in a directory have changed. It compares the table with
// what it has seen, so it misses nothing that a snapshot brings, and who asks seldom is
// told of each key once. It costs nothing while nobody asks. One goroutine may use it.
type Watch struct {
	f    *Fleet
	dir  string
	at   uint64            // Table.LastValue that was looked at
	seen map[string]uint64 // numbers of values by key
}

// Watch begins to watch a directory, at any depth; the empty one is everything. What is
// there already is known: list it afterwards, and nothing is missed.
func (f *Fleet) Watch(dir string) *Watch {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := &Watch{f: f, dir: dir, seen: make(map[string]uint64)}
	w.look()
	return w
}

// Next waits until something has changed since the last call, or Watch, and returns the
// keys, sorted: of values that were stored, and that were removed. A value that was
// only sealed anew has not changed. The error is ctx's, or the end of the fleet.
func (w *Watch) Next(ctx context.Context) ([]string, error) {
	for {
		w.f.mu.Lock()
		changed := w.f.changed
		keys := w.look()
		w.f.mu.Unlock()
		if len(keys) > 0 {
			slices.Sort(keys)
			return keys, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-w.f.ctx.Done():
			return nil, context.Cause(w.f.ctx)
		}
	}
}

// look notes what there is, and returns what is new. It is called with mu held, at most
// once for each change of a value: for tens of thousands it takes a millisecond.
func (w *Watch) look() []string {
	t := w.f.table
	if w.at == t.LastValue {
		return nil
	}
	w.at = t.LastValue
	var keys []string
	there := 0
	for key, v := range t.Values.Any() {
		if !inDir(key, w.dir) {
			continue
		}
		there++
		if w.seen[key] != v.Number {
			w.seen[key] = v.Number
			keys = append(keys, key)
		}
	}
	if there == len(w.seen) {
		return keys
	}
	for key := range w.seen {
		if _, ok := t.Values.Find(key); !ok {
			delete(w.seen, key)
			keys = append(keys, key)
		}
	}
	return keys
}
