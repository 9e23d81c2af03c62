package record_test

import (
	"crypto/cipher"
	"encoding/binary"
	"slices"
	"testing"

	"usher.example/balancer/record"
)

// A script is an adversarial peer: it has the keys and obeys no rule.
type script struct {
	tb     testing.TB
	k      record.Keys
	a      cipher.AEAD
	stream []byte
}

func newScript(tb testing.TB, k record.Keys) *script {
	tb.Helper()
	return &script{tb: tb, k: k, a: aead(tb, &k)}
}

// forge adds an authentic record.
func (s *script) forge(f record.Forgery) *script {
	s.stream = record.Forge(s.stream, &s.k, s.a, f)
	return s
}

// raw adds bytes that nobody sealed.
func (s *script) raw(b ...byte) *script {
	s.stream = append(s.stream, b...)
	return s
}

// header adds a record's header alone.
func (s *script) header(typ byte, n int) *script {
	return s.raw(typ, 3, 3, byte(n>>8), byte(n))
}

func (s *script) data(b string) *script {
	return s.forge(record.Forgery{Type: record.TypeData, Body: []byte(b)})
}

func (s *script) alert(b ...byte) *script {
	return s.forge(record.Forgery{Type: record.TypeAlert, Body: b})
}

func (s *script) handshake(b ...byte) *script {
	return s.forge(record.Forgery{Type: record.TypeHandshake, Body: b})
}

// rekey changes the keys without a word.
func (s *script) rekey() *script {
	if err := s.k.Update(); err != nil {
		s.tb.Fatal(err)
	}
	s.a = aead(s.tb, &s.k)
	return s
}

// update adds a proper KeyUpdate.
func (s *script) update(request bool) *script {
	m := record.KeyUpdateMessage(request)
	return s.handshake(m[:]...).rekey()
}

// times does something often.
func (s *script) times(n int, what func()) *script {
	for range n {
		what()
	}
	return s
}

// skip leaves a sequence number out.
func (s *script) skip() *script {
	s.k.SetSeq(s.k.Seq() + 1)
	return s
}

// message makes a handshake message of n zeros.
func message(typ byte, n int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(typ)<<24|uint32(n))
	return append(b, make([]byte, n)...)
}

// ticket makes a NewSessionTicket message with a ticket of n bytes, n > 0.
func ticket(n int) []byte {
	body := slices.Concat([]byte{0, 0, 0, 60}, []byte{1, 2, 3, 4}, []byte{0},
		[]byte{byte(n >> 8), byte(n)}, make([]byte, n), []byte{0, 0})
	b := binary.BigEndian.AppendUint32(nil, 4<<24|uint32(len(body)))
	return append(b, body...)
}
