package table_test

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

const many = 100_000

// heap is what is in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// fill makes a table with pins and stays, as it is after a start: loaded.
func fill(t testing.TB, pins, stays int) *table.Table {
	tab := table.New()
	tab.Pools["p"] = &table.Pool{Name: "p", Backends: map[uint16]*table.Backend{}, Stays: map[place.Key]uint16{}}
	for i := range pins {
		tab.Pins.Set(place.Key(i)<<40|place.Key(i), table.Pin{Pool: "p", User: fmt.Sprintf("user%06d@example.org", i), Backend: "store1"})
	}
	for i := range stays {
		tab.Pools["p"].Stays[place.Key(i)<<40|place.Key(i)] = 1
	}
	loaded := table.New()
	if err := loaded.Load(bytes.NewReader(save(t, tab))); err != nil {
		t.Fatal(err)
	}
	return loaded
}

// Memory is bounded, of tables that were loaded. A pin costs its user's name, here
// of 22 octets, three more, and what a map takes for sixteen: 18 to 40, by how full
// it is. The bounds are those of the design.
func TestMemory(t *testing.T) {
	for _, tt := range []struct {
		name        string
		pins, stays int
		most        uint64
	}{
		{"pin", many, 0, 100},
		{"stay", 0, many, 64},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := heap()
			tab := fill(t, tt.pins, tt.stays)
			got := (heap() - before) / many
			runtime.KeepAlive(tab)
			t.Logf("%d octets each", got)
			if got > tt.most {
				t.Errorf("%d octets, at most %d are bearable", got, tt.most)
			}
		})
	}
}

// BenchmarkWhere is the look at the table in a login.
func BenchmarkWhere(b *testing.B) {
	tab := fill(b, many, many)
	p := tab.Pools["p"]
	b.ReportAllocs()
	for i := place.Key(0); b.Loop(); i++ {
		tab.Where(p, i%many<<40|i%many)
	}
}
