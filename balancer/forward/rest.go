package forward

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// restTime is how long a loop must have moved nothing before it gives back what
// it keeps ready. Mail clients that wait in IDLE say something every few
// minutes; after a rush of logins the three seconds are soon there, and what is
// given back costs some page faults when it is used again.
const restTime = int64(3 * time.Second)

// newArena returns n octets that lie outside the garbage collector's heap, so
// that their pages can be given back without giving up the room.
func newArena(n int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("map %d octets: %w", n, err)
	}
	return b, nil
}

// rest gives back what a quiet loop keeps ready for busy ones: the pages of
// its two big buffers, spare buffers and chunks, empty pipes and the room of its lists.
// Once is enough until something moves again.
func (l *loop) rest() {
	if l.rested || len(l.fifo) > 0 || len(l.aeads) > 0 || l.clock-l.moved < restTime {
		return
	}
	l.rested = true
	_ = unix.Madvise(l.seal, unix.MADV_DONTNEED) // no error: the mapping is ours
	_ = unix.Madvise(l.open, unix.MADV_DONTNEED)
	l.bufs.tidy()
	l.pipes.close()
	l.meters.tidy()
	l.sessions.tidy()
	l.keys.tidy()
	l.fifo, l.spare, l.iov = nil, nil, nil
	l.aeads = make(map[aeadKey]*aead) // a map keeps the room it once had
}

// tidy forgets spare buffers, and the list of those in use if there are none.
func (p *pool) tidy() {
	clear(p.spare[:])
	if len(p.free) == len(p.items) {
		p.items, p.free = nil, nil
	}
}
