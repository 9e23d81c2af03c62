package handshake

import (
	"encoding/binary"
	"net"
	"os"
	"sync"

	"usher.example/balancer/record"
)

// Bounds on what is kept of a handshake for the proof of the keys.
const (
	// maxFlight is what we send ourselves under protection: in TLS 1.3 our
	// certificates are among it. It is as much as crypto/tls takes of a peer.
	maxFlight = 64 << 10
	// maxFinished is a Finished of TLS 1.2 and nothing else.
	maxFinished = record.MaxOverhead + finishedLen
)

// A mode is what a wire does with bytes.
type mode uint8

const (
	following mode = iota // during the handshake
	passing               // after it: none of our business
	feeding               // from a record in memory, see feed
)

// A wire is a raw connection as crypto/tls sees it. During the handshake it gives
// no byte beyond the record that is being read, and keeps what the proof of the
// keys needs.
type wire struct {
	net.Conn
	mode    mode
	in, out tape
	secrets sink
	fed     []byte
	room    *flight // of out.kept, unless that has outgrown it
}

func newWire(raw net.Conn) *wire {
	w := &wire{Conn: raw, in: tape{limit: maxFinished}, out: tape{limit: maxFlight}}
	w.room, _ = flights.Get().(*flight)
	w.out.kept = w.room[:0]
	return w
}

// A flight has room for what most servers send under protection in a handshake.
type flight [2 << 10]byte

// flights are those that nobody uses. What they hold has been on the wire.
var flights = sync.Pool{New: func() any { return new(flight) }}

// giveBack ends the keeping.
func (w *wire) giveBack() {
	w.out.kept = nil
	clear(w.room[:])
	flights.Put(w.room)
	w.room = nil
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	switch w.mode {
	case passing:
		return w.Conn.Read(p)
	case feeding:
		if len(w.fed) == 0 {
			return 0, os.ErrDeadlineExceeded // which crypto/tls does not hold to be final
		}
		n := copy(p, w.fed)
		w.fed = w.fed[n:]
		return n, nil
	default:
		n, err := w.Conn.Read(p[:min(len(p), w.in.room())])
		w.in.follow(p[:n])
		return n, err
	}
}

// Write implements net.Conn.
func (w *wire) Write(p []byte) (int, error) {
	switch w.mode {
	case passing:
		return w.Conn.Write(p)
	case feeding:
		return 0, net.ErrClosed // crypto/tls has no say any more
	default:
		n, err := w.Conn.Write(p)
		w.out.follow(p[:n])
		return n, err
	}
}

// pass ends the following: crypto/tls goes on with the connection.
func (w *wire) pass() {
	w.mode = passing
	w.in, w.out = tape{}, tape{}
}

// helloLen is how much of a ClientHello or ServerHello is of interest: type,
// length, version, random (RFC 5246 §7.4.1).
const helloLen = 1 + 3 + 2 + randomLen

// A tape follows the records of one direction.
type tape struct {
	head    [record.HeaderLen]byte
	got     int  // bytes of head
	left    int  // bytes of the body to come
	changed bool // a change_cipher_spec went by
	keeping bool // the record is kept; else, if greeting, its body is looked at
	opening bool

	hello [helloLen]byte // how the first message begins
	said  int            // bytes of hello

	limit int
	kept  []byte // protected records: headers and bodies, one after the other
	lost  bool   // there was more than limit
}

// room is how many bytes end the header or the body that has begun.
func (t *tape) room() int {
	if t.left > 0 {
		return t.left
	}
	return len(t.head) - t.got
}

// follow looks at bytes that went by.
func (t *tape) follow(p []byte) {
	for len(p) > 0 {
		n := min(len(p), t.room())
		if t.left > 0 {
			t.body(p[:n])
		} else {
			t.got += copy(t.head[t.got:], p[:n])
			if t.got == len(t.head) {
				t.record()
			}
		}
		p = p[n:]
	}
}

// record begins with a record whose header is complete.
func (t *tape) record() {
	typ := t.head[0]
	t.got, t.left = 0, int(binary.BigEndian.Uint16(t.head[3:]))
	t.opening = typ == record.TypeHandshake && !t.changed
	t.keeping = typ == record.TypeData || t.changed && typ != record.TypeChangeCipherSpec
	if t.keeping && len(t.kept)+len(t.head)+t.left > t.limit {
		t.keeping, t.lost = false, true
	}
	if t.keeping {
		t.kept = append(t.kept, t.head[:]...)
	}
	if typ == record.TypeChangeCipherSpec {
		t.changed = true
	}
}

func (t *tape) body(p []byte) {
	t.left -= len(p)
	switch {
	case t.keeping:
		t.kept = append(t.kept, p...)
	case t.opening:
		t.said += copy(t.hello[t.said:], p)
	}
}

// random returns the random of the hello that the direction began with, nil if it
// did not begin with a message of that type.
func (t *tape) random(typ byte) []byte {
	if t.said < helloLen || t.hello[0] != typ {
		return nil
	}
	return t.hello[helloLen-randomLen:]
}
