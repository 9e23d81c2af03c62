package member

import "usher.example/cluster/place"

// chunkHolds is the number of holds that the table grows by: a page of them.
const chunkHolds = 256

// A hold keeps a user on his back end. There is one for each session, for hours,
// so it has no pointer and lies among its like.
type hold struct {
	key       place.Key
	gen       uint32 // 0 while free
	next      uint32 // while free: the next free one of its chunk
	backend   uint16
	sent      bool // credentials, and the back end has not refused them
	confirmed bool
}

// holds are all holds, each named by its generation and where it lies.
type holds struct {
	chunks []holdChunk
	gen    uint32
}

type holdChunk struct {
	holds *[chunkHolds]hold // nil: none is taken
	free  uint32
	used  uint32
}

// take makes a hold for a user.
func (h *holds) take(key place.Key, backend uint16) uint64 {
	c := h.room()
	ch := &h.chunks[c]
	i := ch.free
	if h.gen++; h.gen == 0 {
		h.gen = 1 // 0 is no hold
	}
	ch.free = ch.holds[i].next
	ch.holds[i] = hold{key: key, gen: h.gen, backend: backend}
	ch.used++
	return uint64(h.gen)<<32 | uint64(c*chunkHolds) + uint64(i)
}

// room finds a chunk with a free hold, or makes one.
func (h *holds) room() int {
	empty := -1
	for c := range h.chunks {
		switch ch := &h.chunks[c]; {
		case ch.holds == nil:
			empty = c
		case ch.used < chunkHolds:
			return c
		}
	}
	if empty < 0 {
		empty = len(h.chunks)
		h.chunks = append(h.chunks, holdChunk{})
	}
	ch := holdChunk{holds: new([chunkHolds]hold)}
	for i := range ch.holds {
		ch.holds[i].next = uint32(i) + 1
	}
	h.chunks[empty] = ch
	return empty
}

// find returns a hold, nil if it is over.
func (h *holds) find(name uint64) *hold {
	i := uint32(name)
	if c := int(i / chunkHolds); c < len(h.chunks) && h.chunks[c].holds != nil {
		if at := &h.chunks[c].holds[i%chunkHolds]; at.gen != 0 && at.gen == uint32(name>>32) {
			return at
		}
	}
	return nil
}

// give frees a hold and says what it was.
func (h *holds) give(name uint64) (was hold, ok bool) {
	at := h.find(name)
	if at == nil {
		return hold{}, false
	}
	was = *at
	i := uint32(name)
	ch := &h.chunks[i/chunkHolds]
	*at = hold{next: ch.free}
	ch.free = i % chunkHolds
	if ch.used--; ch.used == 0 && int(i/chunkHolds) > 0 { // the first is kept: a quiet node places, too
		*ch = holdChunk{}
	}
	return was, true
}

// of fills in the holds of users. It looks at all holds, once for all of them: half a
// millisecond for a hundred thousand.
func (h *holds) of(users map[place.Key][]uint64) {
	for c := range h.chunks {
		if h.chunks[c].holds == nil {
			continue
		}
		for i := range h.chunks[c].holds {
			at := &h.chunks[c].holds[i]
			if at.gen == 0 {
				continue
			}
			if list, asked := users[at.key]; asked {
				users[at.key] = append(list, uint64(at.gen)<<32|uint64(c*chunkHolds)+uint64(i))
			}
		}
	}
}
