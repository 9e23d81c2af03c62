package table_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// Pins are what a map of them would be, however they came about, and a copy is not
// changed with the original.
func TestPins(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var pins, other table.Pins
	want, kept := make(map[place.Key]table.Pin), make(map[place.Key]table.Pin)
	same := func(what string, p *table.Pins, want map[place.Key]table.Pin) {
		t.Helper()
		last, seen := place.Key(0), 0
		for k, pin := range p.All() {
			if seen > 0 && k <= last {
				t.Fatalf("%s: key %d after %d", what, k, last)
			}
			if found, ok := p.Find(k); !ok || found != pin || pin != want[k] || p.Backend(k) != pin.Backend {
				t.Fatalf("%s: %d is %+v and %+v, want %+v", what, k, pin, found, want[k])
			}
			last, seen = k, seen+1
		}
		if seen != len(want) || p.Len() != len(want) {
			t.Fatalf("%s: %d pins, Len %d, want %d", what, seen, p.Len(), len(want))
		}
	}
	for i := range 30_000 {
		k := place.Key(r.IntN(700))
		switch r.IntN(8) {
		case 0:
			pins.Delete(k)
			delete(want, k)
		default:
			pin := table.Pin{Pool: fmt.Sprint("p", r.IntN(3)), Backend: fmt.Sprint("store", r.IntN(300)), User: fmt.Sprintf("%*d", r.IntN(80), k)}
			if i%5000 == 0 {
				pin.User = fmt.Sprintf("%*d", 100_000, k) // longer than a slab
			}
			pins.Set(k, pin)
			want[k] = pin
		}
		if i%997 == 0 {
			same("original", &pins, want)
			same("copy", &other, kept)
			other, kept = pins.Clone(), maps.Clone(want)
			if i%2 == 0 { // both add where they were one
				other.Set(9999, table.Pin{Pool: "q", User: "joe", Backend: "store1"})
				kept[9999] = table.Pin{Pool: "q", User: "joe", Backend: "store1"}
			}
		}
	}
	same("original", &pins, want)
	if _, ok := pins.Find(5000); ok || pins.Backend(5000) != "" {
		t.Error("a pin that nobody set")
	}
}

// Whoever looks for a back end in a login leaves nothing for the collector.
func TestPinsAllocateNothing(t *testing.T) {
	var pins table.Pins
	pins.Set(1, table.Pin{Pool: "p", User: "joe", Backend: "store1"})
	if n := testing.AllocsPerRun(1000, func() { pins.Backend(1); pins.Backend(2) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
