package forward

import (
	"sync"
	"sync/atomic"
	"time"
)

// A way is how the bytes of a session in a loop go.
type way uint32

const (
	wayUser   way = iota // through our own record layer
	waySplice            // inside the kernel
	wayKernel            // likewise, and the kernel does the TLS
	wayCopy              // by two goroutines
)

func (w way) String() string { return pathNames[w] }

// meterChunkSize is as chunkSize, for a class of 8 KiB.
const meterChunkSize = 146

// A meter is what others may know of a session in a loop: what a Flow refers
// to. The atomics are for everybody, the rest is the loop's while the session
// lives, and guarded by meters.mu while the meter is free.
type meter struct {
	in, out atomic.Uint64
	last    atomic.Int64  // when data last moved, on the loop's clock
	gen     atomic.Uint32 // of the last session that it served, 0 for none
	way     atomic.Uint32
	over    atomic.Bool // the session has ended; what is here stays until the next one
	at      int32       // the session's slot, or none before it has one; while free: the next free meter
	tag     uint64
	done    func(Result) // one function for all sessions of a node
}

// meters are those of a loop. They are handed out before the loop has heard of
// the session, hence the lock; to look at one takes none.
type meters struct {
	// dir is replaced when it grows, and its elements change, under mu only.
	dir atomic.Pointer[[]atomic.Pointer[meterChunk]]

	mu  sync.Mutex // guards what follows
	gen uint32
}

type meterChunk struct {
	meters [meterChunkSize]meter
	free   int32 // guarded by meters.mu, as is what follows
	used   int16
	unused bool // was so when last looked at
}

// at returns meter i, which must be taken.
func (m *meters) at(i int32) *meter {
	return &(*m.dir.Load())[i/meterChunkSize].Load().meters[i%meterChunkSize]
}

// find returns the meter of a session, nil if it serves another one by now.
func (m *meters) find(r ref) *meter {
	dir := m.dir.Load()
	if dir == nil || r.gen == 0 || int(r.id/meterChunkSize) >= len(*dir) {
		return nil
	}
	c := (*dir)[r.id/meterChunkSize].Load()
	if c == nil || c.meters[r.id%meterChunkSize].gen.Load() != r.gen {
		return nil
	}
	return &c.meters[r.id%meterChunkSize]
}

// seat notes the slot of a session.
func (m *meters) seat(i, slot int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at(i).at = slot
}

// slotOf returns the slot of a session, none if it is over or has no slot yet. A free
// meter may be taken for another session at any time, so it is asked for under mu.
func (m *meters) slotOf(r ref) int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.find(r)
	if t == nil || t.over.Load() {
		return none
	}
	return t.at
}

// take makes a meter for a session that begins.
func (m *meters) take(p *Pair, w way) ref {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, chunk := m.room()
	i := chunk.free
	t := &chunk.meters[i]
	chunk.free = t.at
	chunk.used++
	chunk.unused = false
	if m.gen++; m.gen == 0 {
		m.gen = 1 // 0 is nobody
	}
	t.in.Store(0)
	t.out.Store(0)
	t.last.Store(now())
	t.over.Store(false)
	t.way.Store(uint32(w))
	t.at, t.tag, t.done = none, p.Tag, p.Done
	t.gen.Store(m.gen) // last: from here on it can be found
	return ref{int32(c)*meterChunkSize + i, m.gen}
}

// room finds a chunk with a free meter, or makes one. It is called with mu held.
func (m *meters) room() (int, *meterChunk) {
	var dir []atomic.Pointer[meterChunk]
	if d := m.dir.Load(); d != nil {
		dir = *d
	}
	empty := len(dir)
	for c := range dir {
		chunk := dir[c].Load()
		if chunk == nil {
			empty = min(empty, c)
		} else if chunk.used < meterChunkSize {
			return c, chunk
		}
	}
	if empty == len(dir) {
		more := make([]atomic.Pointer[meterChunk], max(2*len(dir), 8))
		for c := range dir {
			more[c].Store(dir[c].Load())
		}
		dir = more
		m.dir.Store(&dir)
	}
	chunk := new(meterChunk)
	for i := range chunk.meters {
		chunk.meters[i].at = int32(i) + 1
	}
	dir[empty].Store(chunk)
	return empty, chunk
}

// give frees a meter and returns the account of its session.
func (m *meters) give(i int32, res Result) ended {
	m.mu.Lock()
	defer m.mu.Unlock()
	chunk := (*m.dir.Load())[i/meterChunkSize].Load()
	t := &chunk.meters[i%meterChunkSize]
	res.Tag, res.Path, res.In, res.Out = t.tag, way(t.way.Load()).String(), t.in.Load(), t.out.Load()
	e := ended{t.done, res}
	t.over.Store(true)
	t.done, t.at, chunk.free = nil, chunk.free, i%meterChunkSize
	chunk.used--
	return e
}

// tidy gives chunks back that had no session at the last look either: the account
// of a session can still be read for a while after its end.
func (m *meters) tidy() {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir := m.dir.Load()
	if dir == nil {
		return
	}
	for c := range *dir {
		chunk := (*dir)[c].Load()
		if chunk == nil || chunk.used > 0 {
			continue
		}
		if chunk.unused {
			(*dir)[c].Store(nil)
		}
		chunk.unused = true
	}
}

// kill implements keeper, as do the methods below it.
func (l *loop) kill(r ref) {
	if t := l.meters.find(r); t != nil && !t.over.Load() {
		l.tell(order{kill: r})
	}
}

func (l *loop) bytes(r ref) (in, out uint64) {
	if t := l.meters.find(r); t != nil {
		in, out = t.in.Load(), t.out.Load()
	}
	if l.meters.find(r) == nil {
		return 0, 0 // they may be another's
	}
	return in, out
}

func (l *loop) idleFor(r ref) time.Duration {
	if t := l.meters.find(r); t != nil && !t.over.Load() {
		return time.Duration(now() - t.last.Load())
	}
	return 0
}

func (l *loop) path(r ref) string {
	if t := l.meters.find(r); t != nil {
		return way(t.way.Load()).String()
	}
	return ""
}
