package cluster

import (
	"testing"

	"usher.example/cluster/place"
)

// A hold is given back once, however often it is released, also when its room
// serves another one by then.
func TestHoldsComeAndGo(t *testing.T) {
	var h holds
	ids := make(map[uint64]place.Key)
	const many = 3*chunkHolds + 1
	for i := range place.Key(many) {
		id := h.take(i)
		if _, twice := ids[id]; twice || id == 0 {
			t.Fatalf("hold %#x is given twice or is none", id)
		}
		ids[id] = i
	}
	for id, want := range ids {
		if key, ok := h.give(id); !ok || key != want {
			t.Errorf("hold %#x is of %v, %v, want %v", id, key, ok, want)
		}
		if key, ok := h.give(id); ok {
			t.Errorf("hold %#x of %v is given back twice", id, key)
		}
		if again := h.take(want); again == id {
			t.Errorf("hold %#x is given again", id)
		} else if _, ok := h.give(id); ok {
			t.Errorf("hold %#x frees the one that lies there now", id)
		} else {
			h.give(again)
		}
	}
	for _, c := range h.chunks {
		if c.holds != nil {
			t.Error("a chunk without holds is kept")
		}
	}
	if _, ok := h.give(0); ok {
		t.Error("no hold is given back")
	}
}
