package certs

import (
	"path"
	"strings"
	"sync"
)

// A name may have an order before this node's configuration has the name: whoever was
// reloaded first orders at once, and the CA may come here. So challenges that the fleet
// has told of are answered as well. Strangers cannot make any up, so they cost nothing.

// maxHeard bounds the challenges that are remembered: far more than there are orders at
// one time.
const maxHeard = 1024

// hearsay is the challenges that were stored by anybody in the fleet, or taken away. The
// zero value is ready.
type hearsay struct {
	mu   sync.Mutex
	keys map[string]heardKey // by name
	last uint64
}

// A heardKey is where a challenge is.
type heardKey struct {
	key string
	n   uint64 // of the news, so that later ones are not forgotten with it
}

// hear is told a key of the storage that has changed.
func (h *hearsay) hear(key string) {
	dir, file := path.Split(key)
	name, ok := strings.CutSuffix(file, ".json")
	if !ok || path.Base(dir) != challengeFolder {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.keys == nil || len(h.keys) >= maxHeard { // what the configuration has is not lost by it
		h.keys = make(map[string]heardKey)
	}
	h.last++
	h.keys[name] = heardKey{key, h.last}
}

// of is what was told of a name. Keys have names of hosts as they are; others, of which
// strangers could make up many that are the same in a key, have none.
func (h *hearsay) of(name string) (heardKey, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k, ok := h.keys[name]
	return k, ok
}

// forget is called when a challenge was found to be gone.
func (h *hearsay) forget(name string, k heardKey) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.keys[name] == k {
		delete(h.keys, name)
	}
}
