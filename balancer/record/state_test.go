package record

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

// A session that changes hands between any two records goes on as if nothing had
// been: also amid a message that is cut over records, and with a KeyUpdate owed.
func TestStateChangesHands(t *testing.T) {
	for _, suite := range append(Suites(TLS13), Suites(TLS12)...) {
		var a, b Keys
		if suite.traits().version == TLS12 {
			var err error
			if a, _, err = DeriveTLS12(suite, make([]byte, masterLen), make([]byte, randomLen), make([]byte, randomLen)); err != nil {
				t.Fatal(err)
			}
		} else {
			var err error
			if a, err = DeriveTLS13(suite, make([]byte, suite.traits().hashLen)); err != nil {
				t.Fatal(err)
			}
		}
		b = a
		w, r := NewWriter(a), NewReader(b, Server)
		for i := range 20 {
			w2, r2 := Writer{}, Reader{}
			if err := errors.Join(w2.SetState(w.AppendState(nil)), r2.SetState(r.AppendState(nil))); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(w2.AppendState(nil), w.AppendState(nil)) || !bytes.Equal(r2.AppendState(nil), r.AppendState(nil)) {
				t.Fatalf("%#04x, record %d: the state is another after its way", uint16(suite), i)
			}
			w.Wipe()
			r.Wipe()
			w, r = w2, r2
			sealer, err := w.AEAD()
			if err != nil {
				t.Fatal(err)
			}
			var rec []byte
			if i%5 == 4 && w.Version() == TLS13 {
				w.Owe()
				w3 := Writer{}
				if err := w3.SetState(w.AppendState(nil)); err != nil || !w3.Due(1, 0) {
					t.Fatalf("what is owed was forgotten: %v", err)
				}
				// Half a KeyUpdate now, the other half in the next turn.
				m := KeyUpdateMessage(false)
				rec, err = Seal(nil, &w.Keys, sealer, TypeHandshake, m[:3])
				w.owed = false
				if err == nil {
					rec, err = Seal(rec, &w.Keys, sealer, TypeHandshake, m[3:])
				}
				if err == nil {
					err = w.Rekey()
				}
			} else {
				rec, err = w.Append(nil, sealer, bytes.Repeat([]byte{byte(i)}, i*100+1))
			}
			if err != nil {
				t.Fatal(err)
			}
			for len(rec) > 0 {
				opener, err := r.AEAD()
				if err != nil {
					t.Fatal(err)
				}
				n, _, err := r.Next(opener, rec)
				if err != nil || n == 0 {
					t.Fatalf("%#04x, record %d: %v", uint16(suite), i, err)
				}
				rec = rec[n:]
				var r3 Reader
				if err := r3.SetState(r.AppendState(nil)); err != nil || !bytes.Equal(r3.AppendState(nil), r.AppendState(nil)) {
					t.Fatalf("amid a message: %v", err)
				}
			}
		}
	}
}

// FuzzState: no octets bring a Reader or Writer into a state that it cannot have,
// and what was taken is what comes out again.
func FuzzState(f *testing.F) {
	f.Add(new(Reader).AppendState(nil))
	f.Add(new(Writer).AppendState(nil))
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, WriterStateLen, ReaderStateLen, ReaderStateLen + 1} {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Reader
		if r.SetState(b) == nil && !bytes.Equal(r.AppendState(nil), b) {
			t.Error("a Reader's state came out as another")
		} else if a, err := r.AEAD(); err == nil {
			_, _, _ = r.Next(a, append([]byte{TypeData, 3, 3, 0, 20}, make([]byte, 20)...))
		}
		var w Writer
		if w.SetState(b) == nil && !bytes.Equal(w.AppendState(nil), b) {
			t.Error("a Writer's state came out as another")
		} else if a, err := w.AEAD(); err == nil {
			_, _ = w.Append(nil, a, []byte("x"))
		}
	})
}
