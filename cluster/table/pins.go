package table

import (
	"encoding/binary"
	"iter"
	"maps"
	"slices"

	"usher.example/cluster/place"
)

// Pins are users' pins by key. There may be a million of them on every node, so a pin
// is some octets among its like and nothing that the collector would look at: the
// map says where they lie. A login asks for the back end alone, which costs no
// memory; the rest is for administrators.
//
// The zero value has none. Octets once written do not change, so that a copy may be
// read while the original goes on.
type Pins struct {
	at    map[place.Key]pinAt
	slabs [][]byte          // uvarints of pool, back end and length with the bit of a file, and the user's name
	names []string          // of pools and back ends, by number
	index map[string]uint64 // and back
	live  int               // octets of pins that hold
	dead  int               // and of those that do not
}

// pinAt is where a pin lies. It has no pointer.
type pinAt struct{ slab, from uint32 }

// pinSlab is the length of a slab: the first grows up to it. It bounds what a short
// list wastes, and what is thrown away before old pins are cleared up.
const pinSlab = 32 << 10

// Len is their number.
func (p *Pins) Len() int { return len(p.at) }

// Backend is where a user is pinned, empty if he is not.
func (p *Pins) Backend(k place.Key) string {
	at, ok := p.at[k]
	if !ok {
		return ""
	}
	return p.names[p.read(at).backend]
}

// Has says whether a user is pinned.
func (p *Pins) Has(k place.Key) bool { _, ok := p.at[k]; return ok }

// Find returns a user's pin.
func (p *Pins) Find(k place.Key) (pin Pin, ok bool) {
	at, ok := p.at[k]
	if !ok {
		return Pin{}, false
	}
	r := p.read(at)
	return Pin{Pool: p.names[r.pool], User: string(r.user), Backend: p.names[r.backend], File: r.file}, true
}

// All yields them in order of the keys.
func (p *Pins) All() iter.Seq2[place.Key, Pin] {
	return func(yield func(place.Key, Pin) bool) {
		for _, k := range slices.Sorted(maps.Keys(p.at)) {
			if pin, _ := p.Find(k); !yield(k, pin) {
				return
			}
		}
	}
}

// Any yields them in no order, which takes less time.
func (p *Pins) Any() iter.Seq2[place.Key, Pin] {
	return func(yield func(place.Key, Pin) bool) {
		for k := range p.at {
			if pin, _ := p.Find(k); !yield(k, pin) {
				return
			}
		}
	}
}

// Set sets a user's pin.
func (p *Pins) Set(k place.Key, pin Pin) {
	p.forget(k)
	if p.at == nil {
		p.at, p.index = make(map[place.Key]pinAt), make(map[string]uint64)
	}
	need := len(pin.User) + 3*binary.MaxVarintLen64
	last := len(p.slabs) - 1
	switch {
	case last < 0:
		p.slabs, last = append(p.slabs, nil), 0
	case len(p.slabs[last])+need > pinSlab:
		p.slabs, last = append(p.slabs, make([]byte, 0, pinSlab)), last+1
	}
	b := p.slabs[last]
	from := len(b)
	b = binary.AppendUvarint(b, p.number(pin.Pool))
	b = binary.AppendUvarint(b, p.number(pin.Backend))
	length := uint64(len(pin.User)) << 1
	if pin.File {
		length |= 1
	}
	b = binary.AppendUvarint(b, length)
	b = append(b, pin.User...)
	p.slabs[last] = b
	p.at[k] = pinAt{uint32(last), uint32(from)}
	p.live += len(b) - from
	p.clear()
}

// Delete takes a user's pin away.
func (p *Pins) Delete(k place.Key) {
	p.forget(k)
	p.clear()
}

// Clone returns a copy that shares nothing that changes.
func (p *Pins) Clone() Pins {
	c := *p
	c.at, c.index, c.names = maps.Clone(p.at), maps.Clone(p.index), slices.Clone(p.names)
	c.slabs = slices.Clone(p.slabs)
	if last := len(c.slabs) - 1; last >= 0 {
		c.slabs[last] = slices.Clip(c.slabs[last]) // what the copy adds is not written where the original adds
	}
	return c
}

// A pinRead is a pin where it lies.
type pinRead struct {
	pool, backend uint64
	user          []byte
	file          bool
	size          int
}

// read reads a pin.
func (p *Pins) read(at pinAt) pinRead {
	b := p.slabs[at.slab][at.from:]
	pool, n := binary.Uvarint(b)
	backend, m := binary.Uvarint(b[n:])
	length, o := binary.Uvarint(b[n+m:])
	head := n + m + o
	end := head + int(length>>1)
	return pinRead{pool, backend, b[head:end], length&1 == 1, end}
}

// number is a name's, which it gets with its first pin.
func (p *Pins) number(name string) uint64 {
	n, ok := p.index[name]
	if !ok {
		n = uint64(len(p.names))
		p.names = append(p.names, name)
		p.index[name] = n
	}
	return n
}

// forget takes a pin out, whose octets stay.
func (p *Pins) forget(k place.Key) {
	at, ok := p.at[k]
	if !ok {
		return
	}
	size := p.read(at).size
	delete(p.at, k)
	p.live -= size
	p.dead += size
}

// clear writes what holds anew when more does not: a pin that is set again and again
// costs twice its length at most, and a slab.
func (p *Pins) clear() {
	if p.dead <= p.live || p.dead < pinSlab {
		return
	}
	var n Pins
	for k, pin := range p.All() {
		n.Set(k, pin)
	}
	*p = n
}
