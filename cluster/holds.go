package cluster

import "usher.example/cluster/place"

// chunkHolds is the number of holds that the table grows by: a page of them.
const chunkHolds = 256

// A hold keeps a user on his back end. There is one for each session, for hours,
// so it has no pointer and lies among its like.
type hold struct {
	key  place.Key
	gen  uint32 // 0 while free
	next uint32 // while free: the next free one of its chunk
}

// holds are all holds, each named by a number that is never given twice in four
// thousand million times: its generation and where it lies.
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
func (h *holds) take(key place.Key) uint64 {
	c := h.room()
	ch := &h.chunks[c]
	i := ch.free
	if h.gen++; h.gen == 0 {
		h.gen = 1 // 0 is no hold
	}
	ch.free = ch.holds[i].next
	ch.holds[i] = hold{key: key, gen: h.gen}
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

// give frees a hold and says whose it was; false if it was free already.
func (h *holds) give(id uint64) (place.Key, bool) {
	at, gen := uint32(id), uint32(id>>32)
	c, i := int(at/chunkHolds), at%chunkHolds
	if gen == 0 || c >= len(h.chunks) || h.chunks[c].holds == nil || h.chunks[c].holds[i].gen != gen {
		return 0, false
	}
	ch := &h.chunks[c]
	key := ch.holds[i].key
	ch.holds[i] = hold{next: ch.free}
	ch.free = i
	if ch.used--; ch.used == 0 {
		*ch = holdChunk{}
	}
	return key, true
}
