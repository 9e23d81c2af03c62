package forward_test

import (
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"usher.example/balancer/record"
)

// evil is the data of records that are then forged.
const evil = "evil, and then some more of it"

// A forgery is a record that nobody with the keys has made.
type forgery struct {
	name   string
	forge  func(w *wire) []byte
	alerts []record.Alert
	// spared is a path that in TLS 1.3 does not mind, and what it passes on.
	spared, passed string
}

// flip turns a bit of a record of data around; from its end if at is negative.
func flip(at int, bit byte) func(*wire) []byte {
	return func(w *wire) []byte {
		rec := w.sealAll([]byte(evil))
		rec[(at+len(rec))%len(rec)] ^= bit
		return rec
	}
}

// longer changes the length that a record says it has.
func longer(by int) func(*wire) []byte {
	return func(w *wire) []byte {
		rec := w.sealAll([]byte(evil))
		binary.BigEndian.PutUint16(rec[3:], uint16(int(binary.BigEndian.Uint16(rec[3:]))+by))
		return rec
	}
}

// header makes the beginning of a record that is not sealed.
func header(typ byte, n int, body ...byte) func(*wire) []byte {
	return func(*wire) []byte {
		return append(binary.BigEndian.AppendUint16([]byte{typ, 3, 3}, uint16(n)), body...)
	}
}

func forgeries() []forgery {
	mac := []record.Alert{record.BadRecordMAC}
	form := []record.Alert{
		record.BadRecordMAC, record.UnexpectedMessage, record.ProtocolVersion, record.RecordOverflow, record.DecodeError,
	}
	return []forgery{
		// The kernel does not look at the type outside, which says nothing in TLS
		// 1.3; what is inside is authentic all the same.
		{"type", flip(0, 1), form, "ktls", evil},
		{"version", flip(1, 1), form, "", ""},
		{"length, less", longer(-1), mac, "", ""},
		{"length, more", longer(1), mac, "", ""},
		{"length, too much", longer(1 << 15), form, "", ""},
		{"first of the body", flip(5, 1), mac, "", ""},
		{"amid the body", flip(20, 0x10), mac, "", ""},
		{"tag", flip(-1, 0x80), mac, "", ""},
		{"first of the tag", flip(-16, 1), mac, "", ""},
		{"a record again", func(w *wire) []byte { return w.last }, mac, "", ""},
		{"a record left out", func(w *wire) []byte { w.sealAll([]byte(evil)); return nil }, mac, "", ""},
		{"oversized", header(record.TypeData, 1<<14+2049), form, "", ""},
		{"as large as can be", header(record.TypeData, 1<<16-1), form, "", ""},
		{"shorter than a tag", header(record.TypeData, 3, 1, 2, 3), form, "", ""},
		{"an alert in plaintext", header(record.TypeAlert, 2, 1, 0), form, "", ""},
		// crypto/tls ignores it at any time (RFC 8446 §5 would end the session).
		{"change_cipher_spec", header(record.TypeChangeCipherSpec, 1, 1), form, "copy", ""},
	}
}

// A record that is not authentic ends the session with bad_record_mac, or what
// fits if its header is wrong already, or with a reset. Nothing of it and
// nothing behind it reaches the other side.
func TestPathForged(t *testing.T) {
	for _, f := range forgeries() {
		t.Run(f.name, func(t *testing.T) {
			eachSide(t, func(t *testing.T, s *session, w *wire, side int) {
				w.send(append(f.forge(w), w.sealAll([]byte("behind"+strings.Repeat(".", 3000)))...))
				if s.path == f.spared && w.w.Version() == record.TLS13 {
					peer, other := s.ends(side)
					other.hear(t, f.passed+"behind"+strings.Repeat(".", 3000))
					other.say(t, "answer", peer)
					s.finish()
					return
				}
				if err := w.refused(f.alerts...); err != nil {
					t.Error(err)
				}
				s.lost(side)
			})
		})
	}
}

// Records without data are harmless one by one, and a flood of them ends the
// session (RFC 8446 §5.4 allows them against traffic analysis).
func TestPathEmptyRecords(t *testing.T) {
	eachSide(t, func(t *testing.T, s *session, w *wire, side int) {
		peer, other := s.ends(side)
		for range 20 {
			w.send(w.seal(record.TypeData, nil))
			peer.say(t, "data", other)
		}
		w.send(append(w.seal(record.TypeData, nil), w.sealAll([]byte("same segment"))...))
		got := make([]byte, len("same segment"))
		if _, err := io.ReadFull(other, got); err != nil || string(got) != "same segment" {
			t.Fatalf("got %q, %v", got, err)
		}
		other.say(t, "answer", peer)
		var flood []byte
		for range 1000 {
			flood = append(flood, w.seal(record.TypeData, nil)...)
		}
		w.send(append(flood, w.sealAll([]byte("behind"))...))
		if err := w.refused(record.UnexpectedMessage); err != nil {
			t.Error(err)
		}
		s.lost(side)
	})
}

// Authentic records that nobody may send end the session, too.
func TestPathUnexpected(t *testing.T) {
	for _, tt := range []struct {
		name string
		typ  byte
		body [2][]byte // of client and back end
		// spared is a path that ignores it in TLS 1.3
		spared string
	}{
		{"a new handshake", record.TypeHandshake, [2][]byte{{1, 0, 0, 1, 0}, {0, 0, 0, 0}}, ""},
		{"half a message and then data", record.TypeHandshake, [2][]byte{{24, 0, 0}, {24, 0, 0}}, ""},
		{"a message of no type", record.TypeHandshake, [2][]byte{{77, 0, 0, 0}, {77, 0, 0, 0}}, ""},
		{"an empty handshake record", record.TypeHandshake, [2][]byte{}, ""},
		{"an empty alert", record.TypeAlert, [2][]byte{}, ""},
		{"half an alert", record.TypeAlert, [2][]byte{{1}, {1}}, ""},
		{"a record of no type", 77, [2][]byte{{1}, {1}}, ""},
		{"a sealed change_cipher_spec", record.TypeChangeCipherSpec, [2][]byte{{1}, {1}}, "copy"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachSide(t, func(t *testing.T, s *session, w *wire, side int) {
				w.send(append(w.seal(tt.typ, tt.body[side]), w.sealAll([]byte("behind"))...))
				if s.path == tt.spared && w.w.Version() == record.TLS13 {
					peer, other := s.ends(side)
					other.hear(t, "behind")
					other.say(t, "answer", peer)
					s.finish()
					return
				}
				if err := w.refused(); err != nil {
					t.Error(err)
				}
				s.lost(side)
			})
		})
	}
}
