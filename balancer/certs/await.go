package certs

import (
	"context"
	"time"
)

// awaitEvery is the time between two looks whether everything was read.
const awaitEvery = 5 * time.Millisecond

// Await waits until everything that the storage has for the plan in force is served,
// or ctx ends: a node that starts should not turn its first clients away. What has to
// be obtained is not waited for. Run has to run.
func (k *Keeper) Await(ctx context.Context) {
	k.reread(ctx)
	tick := time.NewTicker(awaitEvery)
	defer tick.Stop()
	for !k.registrar.allRead() {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// allRead says whether all certificates that are wanted were looked for in the storage.
func (r *registrar) allRead() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.storage == nil {
		return true
	}
	if r.tooled != r.policy() || r.recalled != r.tooled {
		return false
	}
	for _, w := range r.works {
		if !w.read.Load() {
			return false
		}
	}
	return true
}
