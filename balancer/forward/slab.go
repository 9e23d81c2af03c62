package forward

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"usher.example/balancer/record"
)

// The sizes of chunks are the numbers of sessions that a slab grows by: some
// pages, so that a node with few sessions stays small and one with many rarely
// grows. They fill 16 and 32 KiB to the last octets; a power of two would waste a
// tenth.
//
// Chunks lie outside the garbage collector's heap: what they hold would count as
// in use, and so double as room for garbage in a storm of logins. It has no
// pointer, and keys are better off where a core dump does not find them.
const (
	chunkSize    = 186
	keyChunkSize = 130
)

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
	streams                     // what came last was no short message: bulk, and spliced if it is plaintext
	awaits                      // it has been full once: events tell when it takes output again
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
	gen     uint32  // the session's, 0 while free
	next    int32   // free list
	meter   int32   // what others know of it
	last    int64   // when data last moved, in nanoseconds of the loop's clock
	grace   int64   // when to end the session all the same, 0 for never
	half    [2]half // client, server
	queued  bool    // stands in the FIFO
	noted   bool    // why is set
	why     End
	between uint8  // how many more turns of short pieces belong to its bulk, see betweenTurns
	errno   uint32 // of a back end's read that failed, 0 for none
}

// streams tells whether what came last in one of the directions was more than a message.
func (s *slot) streams() bool { return (s.half[0].flags|s.half[1].flags)&streams != 0 }

// A slab keeps sessions in chunks that never move.
type slab struct {
	chunks []*chunk
	ending []*chunk // without sessions, unmapped when nobody can look into them
	spare  *chunk   // one more: who comes and goes alone has none mapped each time
	live   int
}

type chunk struct {
	slots [chunkSize]slot
	free  int32
	used  int16
	// mapped: it lies outside the heap.
	mapped bool
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
			s.chunks[c] = s.fresh()
			return s.pick(c)
		}
		if ch.used < chunkSize {
			return s.pick(c)
		}
	}
	s.chunks = append(s.chunks, s.fresh())
	return s.pick(len(s.chunks) - 1)
}

// fresh returns a chunk without sessions.
func (s *slab) fresh() *chunk {
	if ch := s.spare; ch != nil {
		s.spare = nil
		return ch
	}
	return newChunk()
}

func newChunk() *chunk {
	ch := (*chunk)(mapped(unsafe.Sizeof(chunk{})))
	if ch != nil {
		ch.mapped = true
	} else {
		ch = new(chunk)
	}
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
		s.ending = append(s.ending, ch)
	}
}

// unmap gives the chunks without sessions back, but for a spare one. Whoever looked
// at the last one is through when it is called.
func (s *slab) unmap() {
	for _, ch := range s.ending {
		if s.spare == nil {
			s.spare = ch // its slots are all in the list of free ones
			continue
		}
		ch.unmap()
	}
	clear(s.ending)
	s.ending = s.ending[:0]
}

// tidy gives the spare chunk back, when nobody comes and goes.
func (s *slab) tidy() {
	if s.spare != nil {
		s.spare.unmap()
		s.spare = nil
	}
	s.ending = nil
}

func (ch *chunk) unmap() {
	if ch.mapped {
		_ = unix.MunmapPtr(unsafe.Pointer(ch), unsafe.Sizeof(*ch)) // no error: it is ours
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
	ending []*keyChunk
	spare  *keyChunk
	live   int
}

type keyChunk struct {
	keys [keyChunkSize]secured
	free int32
	used int16
	// mapped: it lies outside the heap.
	mapped bool
}

func (s *keySlab) at(i int32) *secured { return &s.chunks[i/keyChunkSize].keys[i%keyChunkSize] }

func (s *keySlab) take() (int32, *secured) {
	s.live++
	c := 0
	for ; c < len(s.chunks); c++ {
		if s.chunks[c] == nil || s.chunks[c].used < keyChunkSize {
			break
		}
	}
	if c == len(s.chunks) {
		s.chunks = append(s.chunks, nil)
	}
	if s.chunks[c] == nil && s.spare != nil {
		s.chunks[c], s.spare = s.spare, nil
	}
	if s.chunks[c] == nil {
		ch := (*keyChunk)(mapped(unsafe.Sizeof(keyChunk{})))
		if ch != nil {
			ch.mapped = true
		} else {
			ch = new(keyChunk)
		}
		for i := range ch.keys {
			ch.keys[i].next = int32(i) + 1
		}
		s.chunks[c] = ch
	}
	ch := s.chunks[c]
	i := ch.free
	ch.free = ch.keys[i].next
	ch.used++
	return int32(c)*keyChunkSize + i, &ch.keys[i]
}

// give wipes and frees.
func (s *keySlab) give(i int32) {
	c := i / keyChunkSize
	ch := s.chunks[c]
	k := &ch.keys[i%keyChunkSize]
	k.r.Wipe()
	k.w.Wipe()
	*k = secured{next: ch.free}
	ch.free = i % keyChunkSize
	ch.used--
	s.live--
	if ch.used == 0 {
		s.chunks[c] = nil
		s.ending = append(s.ending, ch)
	}
}

// unmap is as a slab's.
func (s *keySlab) unmap() {
	for _, ch := range s.ending {
		if s.spare == nil {
			s.spare = ch // wiped, as each of its keys was
			continue
		}
		ch.unmap()
	}
	clear(s.ending)
	s.ending = s.ending[:0]
}

// tidy is as a slab's.
func (s *keySlab) tidy() {
	if s.spare != nil {
		s.spare.unmap()
		s.spare = nil
	}
	s.ending = nil
}

func (ch *keyChunk) unmap() {
	if ch.mapped {
		_ = unix.MunmapPtr(unsafe.Pointer(ch), unsafe.Sizeof(*ch)) // no error: it is ours
	}
}

// mapped returns zeroed memory outside the heap that is in no core dump, nil if
// there is none: then the heap has to do.
func mapped(size uintptr) unsafe.Pointer {
	p, err := unix.MmapPtr(-1, 0, nil, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil
	}
	if b := unsafe.Slice((*byte)(p), size); unix.Madvise(b, unix.MADV_DONTDUMP) != nil {
		return p // an old kernel; it is only a precaution
	}
	return p
}
