package handshake

import (
	"io"
	"slices"
)

// SmallBuffer is for tests of what a Conn keeps.
const SmallBuffer = smallBuffer

// Spoil has f break what the handshake on a connection has left, before the keys
// are taken from it.
func (c *Config) Spoil(f func(*wire)) { c.spoil = f }

// Ways to break things.
var (
	OtherSecrets = func(w *wire) {
		for l := range w.secrets.secret {
			w.secrets.secret[l][0] ^= 1
		}
	}
	NoSecrets   = func(w *wire) { w.secrets.wipe() }
	OddLine     = func(w *wire) { _, _ = w.secrets.Write([]byte("CLIENT_RANDOM 00 00\n")) }
	OtherRandom = func(w *wire) { w.in.hello[helloLen-1] ^= 1 }
	OtherFlight = func(w *wire) { w.out.kept[len(w.out.kept)-1] ^= 1 }
	NoFlight    = func(w *wire) { w.out.kept = nil }
	CutFlight   = func(w *wire) { w.out.kept = w.out.kept[:len(w.out.kept)-1] }
	LongFlight  = func(w *wire) { w.out.lost = true }
	MoreFlight  = func(w *wire) {
		w.out.kept = append(w.out.kept, append([]byte{23, 3, 3, 0, 20}, make([]byte, 20)...)...)
	}
)

// Held is how many bytes of records a Conn holds, and for how many it has room.
func (c *Conn) Held() (bytes, room int) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	return len(c.in), cap(c.in)
}

// SetUpdateDue makes new keys due before the next data.
func (c *Conn) SetUpdateDue() {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	c.writer.Owe()
}

// Sequences returns the sequence numbers of what comes next.
func (c *Conn) Sequences() (read, write uint64) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	return c.reader.Seq(), c.writer.Seq()
}

// Updates is how often the peer and we have got new keys.
func (c *Conn) Updates() (theirs, ours uint32) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	return c.reader.Updates(), c.writer.Updates()
}

// Collecting says whether crypto/tls still gets tickets.
func (c *Conn) Collecting() bool {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	return c.feed != nil
}

// A Wire is what stands between crypto/tls and the raw connection.
type Wire = wire

// NewSink returns the writer of a key log, and what it has understood.
func NewSink() (w io.Writer, secrets func() (n int, odd bool)) {
	s := new(sink)
	return s, func() (n int, odd bool) {
		for _, size := range s.size {
			if size > 0 {
				n++
			}
		}
		return n, s.odd
	}
}

// Follow has a tape follow bytes that come in pieces of n, and returns what it
// has kept, whether that is all, and how the first message begins.
func Follow(stream []byte, n, limit int) (kept []byte, lost bool, hello []byte) {
	t := tape{limit: limit}
	for p := range slices.Chunk(stream, n) {
		t.follow(p)
	}
	return t.kept, t.lost, t.hello[:t.said]
}

// FollowWhole does so by pieces as crypto/tls reads them.
func FollowWhole(stream []byte, limit int) (kept []byte, lost bool, hello []byte) {
	t := tape{limit: limit}
	for len(stream) > 0 {
		n := min(len(stream), t.room())
		t.follow(stream[:n])
		stream = stream[n:]
	}
	return t.kept, t.lost, t.hello[:t.said]
}
