package forward

import "usher.example/balancer/record"

// chunkSize is the number of sessions that a slab grows by: 16 pages or so, so
// that a node with few sessions stays small and one with many rarely grows.
const chunkSize = 256

// none is the index of nothing.
const none = -1

// Flags of a half.
const (
	canRead  uint16 = 1 << iota // the socket may have input; edge-triggered, so until EAGAIN
	canWrite                    // the socket may take output; until EAGAIN
	hungUp                      // RDHUP was seen: read until the end, however short the reads
	atEOF                       // the peer sends nothing more
	shut                        // we send nothing more
	stale                       // in may hold whole records though the socket is empty
	gone                        // it was reset: what it sent before may still be there
	opening                     // the kernel opens the records that come
	sealing                     // the kernel seals what we send
)

// A half is a session's connection on one side.
type half struct {
	fd     int32
	tls    int32 // in the loop's slab of keys, none for plaintext
	in     int32 // pending buffer with a part of a record that came, or none
	out    int32 // pending buffer with what the socket did not take, or none
	pipe   int32 // pipe with what the socket did not take, or none
	window uint8 // records to be read in one go: grows with bulk, shrinks when the other side blocks
	flags  uint16
}

// opens tells whether our record layer opens what comes from this side, seals
// whether it seals what goes there. Else the side is plaintext, to us.
func (h *half) opens() bool { return h.tls != none && h.flags&opening == 0 }
func (h *half) seals() bool { return h.tls != none && h.flags&sealing == 0 }

// A slot is an established session. It has no pointer: the garbage collector
// does not look into the slab, however many sessions it has.
type slot struct {
	gen    uint32  // the session's, 0 while free
	next   int32   // free list
	meter  int32   // what others know of it
	last   int64   // when data last moved, in nanoseconds of the loop's clock
	grace  int64   // when to end the session all the same, 0 for never
	half   [2]half // client, server
	queued bool    // stands in the FIFO
	noted  bool    // why is set
	why    End
	errno  uint32 // of a back end's read that failed, 0 for none
}

// A slab keeps sessions in chunks that never move.
type slab struct {
	chunks []*chunk
	live   int
}

type chunk struct {
	slots [chunkSize]slot
	free  int32
	used  int
}

func (s *slab) at(i int32) *slot { return &s.chunks[i/chunkSize].slots[i%chunkSize] }

// find returns the session of that index and generation, nil if it is over.
func (s *slab) find(i int32, gen uint32) *slot {
	if c := int(i / chunkSize); i < 0 || c >= len(s.chunks) || s.chunks[c] == nil {
		return nil
	}
	if sl := s.at(i); sl.gen == gen && gen != 0 {
		return sl
	}
	return nil
}

// take returns a free slot, zeroed.
func (s *slab) take() (int32, *slot) {
	s.live++
	for c, ch := range s.chunks {
		if ch == nil {
			ch = newChunk()
			s.chunks[c] = ch
		}
		if ch.used < chunkSize {
			return s.pick(c)
		}
	}
	s.chunks = append(s.chunks, newChunk())
	return s.pick(len(s.chunks) - 1)
}

func newChunk() *chunk {
	ch := new(chunk)
	for i := range ch.slots {
		ch.slots[i].next = int32(i) + 1
	}
	return ch
}

func (s *slab) pick(c int) (int32, *slot) {
	ch := s.chunks[c]
	i := ch.free
	ch.free = ch.slots[i].next
	ch.used++
	sl := &ch.slots[i]
	*sl = slot{}
	return int32(c)*chunkSize + i, sl
}

// give frees a slot. A chunk without sessions is given back.
func (s *slab) give(i int32) {
	c := i / chunkSize
	ch := s.chunks[c]
	sl := &ch.slots[i%chunkSize]
	sl.gen, sl.next, ch.free = 0, ch.free, i%chunkSize
	ch.used--
	s.live--
	if ch.used == 0 {
		s.chunks[c] = nil
	}
}

// secured is the record layer of one side.
type secured struct {
	r    record.Reader
	w    record.Writer
	next int32
}

// A keySlab keeps the record layers. It works like a slab.
type keySlab struct {
	chunks []*keyChunk
	live   int
}

type keyChunk struct {
	keys [chunkSize]secured
	free int32
	used int
}

func (s *keySlab) at(i int32) *secured { return &s.chunks[i/chunkSize].keys[i%chunkSize] }

func (s *keySlab) take() (int32, *secured) {
	s.live++
	c := 0
	for ; c < len(s.chunks); c++ {
		if s.chunks[c] == nil || s.chunks[c].used < chunkSize {
			break
		}
	}
	if c == len(s.chunks) {
		s.chunks = append(s.chunks, nil)
	}
	if s.chunks[c] == nil {
		ch := new(keyChunk)
		for i := range ch.keys {
			ch.keys[i].next = int32(i) + 1
		}
		s.chunks[c] = ch
	}
	ch := s.chunks[c]
	i := ch.free
	ch.free = ch.keys[i].next
	ch.used++
	return int32(c)*chunkSize + i, &ch.keys[i]
}

// give wipes and frees.
func (s *keySlab) give(i int32) {
	c := i / chunkSize
	ch := s.chunks[c]
	k := &ch.keys[i%chunkSize]
	k.r.Wipe()
	k.w.Wipe()
	*k = secured{next: ch.free}
	ch.free = i % chunkSize
	ch.used--
	s.live--
	if ch.used == 0 {
		s.chunks[c] = nil
	}
}
