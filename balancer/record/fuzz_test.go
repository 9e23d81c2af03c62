package record_test

import (
	"bytes"
	"testing"

	"usher.example/balancer/record"
)

// fuzzed are all suites but those that differ only in the certificate.
func fuzzed() []combo {
	var all []combo
	for _, c := range combos() {
		switch c.suite {
		case record.ECDHERSAAES128GCM, record.ECDHERSAAES256GCM, record.ECDHERSAChaCha20:
		default:
			all = append(all, c)
		}
	}
	return all
}

// FuzzOpen edits a stream of authentic records, or puts another in its place. It
// holds that a Reader never panics, hands out nothing but what was sealed, in
// order, and nothing at all after an error.
func FuzzOpen(f *testing.F) {
	f.Add(byte(0), byte(0), []byte{}, []byte("raw"), byte(1))
	f.Add(byte(1), byte(1), []byte{0, 10, 1}, []byte{}, byte(200))
	f.Add(byte(3), byte(0), []byte{0, 3, 0x40, 0, 60, 1}, []byte{23, 3, 3, 0, 1, 0}, byte(7))
	f.Fuzz(func(t *testing.T, which, role byte, edits, more []byte, cut byte) {
		c := fuzzed()[int(which)%len(fuzzed())]
		w, r := pair(t, c, record.Role(role%2))
		var stream, sealed []byte
		var ends []int // of records, while the stream is as sealed
		for _, n := range []int{40, 1, 300, 0} {
			var err error
			p := pattern(n)
			if stream, err = record.Seal(stream, &w.Keys, aead(t, &w.Keys), record.TypeData, p); err != nil {
				t.Fatal(err)
			}
			sealed = append(sealed, p...)
			ends = append(ends, len(stream))
		}
		whole := len(sealed)
		for ; len(edits) >= 3; edits = edits[3:] {
			at := (int(edits[0])<<8 | int(edits[1])) % len(stream)
			stream[at] ^= edits[2]
			if edits[2] != 0 && at < ends[2] {
				whole = 0 // not all can come through any more, or by chance of two edits
			}
		}
		stream = append(stream, more...)
		fd := feed{r: r}
		var err error
		for len(stream) > 0 && err == nil {
			n := min(int(cut)+1, len(stream))
			err = fd.push(t, stream[:n])
			stream = stream[n:]
		}
		if !bytes.HasPrefix(sealed, fd.got) || len(fd.got) < whole {
			t.Fatalf("handed out %x, sealed was %x", fd.got, sealed)
		}
		if err == nil {
			return
		}
		e := refusal(t, err)
		n, ev, err := fd.r.Next(fd.a, fd.rest)
		if again := refusal(t, err); n != 0 || ev.Data != nil || *again != *e {
			t.Fatalf("after %v: %d taken, %v, %v", e, n, ev, err)
		}
		if next := sealed[len(fd.got):]; len(next) >= 40 && bytes.Contains(fd.rest, next[:40]) {
			t.Fatal("plaintext left in the buffer")
		}
	})
}

// FuzzHandle gives a Reader records of all content types. Each is a type, a
// length and that many bytes. It holds that a Reader never panics, that its
// bounds hold, and that how handshake bytes are cut changes neither the number of
// tickets nor whether they are borne.
func FuzzHandle(f *testing.F) {
	f.Add(byte(0), []byte{22, 5, 24, 0, 0, 1, 1, 23, 1, 'x', 21, 2, 1, 0})
	f.Add(byte(1), append([]byte{22, 18}, ticket(1)...))
	f.Add(byte(3), []byte{22, 4, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, which byte, in []byte) {
		role, c := record.Role(which&1), combo{record.TLS13, record.AES128GCM}
		if which&2 != 0 {
			c = combo{record.TLS12, record.ECDHEECDSAAES128GCM}
		}
		_, r := pair(t, c, role)
		idle := 0
		var fail, closed bool
		for len(in) >= 2 {
			typ, n := in[0], min(int(in[1]), len(in)-2)
			p := in[2 : 2+n]
			in = in[2+n:]
			ev, err := r.Handle(typ, p)
			switch {
			case fail && err == nil:
				t.Fatal("alive again")
			case closed && (err != nil || ev.Kind != record.Closed):
				t.Fatalf("open again: %v, %v", ev, err)
			case err != nil:
				refusal(t, err)
				fail = true
			case ev.Kind == record.Data:
				if typ != record.TypeData || !bytes.Equal(ev.Data, p) {
					t.Fatalf("type %d %x became data %x", typ, p, ev.Data)
				}
				idle = 0
			case ev.Kind == record.Closed:
				closed = true
			case ev.Kind == record.Updated || ev.Kind == record.Ticket || n == 0:
				if idle++; idle > record.MaxMessages+record.MaxEmpty {
					t.Fatal("more without data than any bound")
				}
			}
			if ev.Kind == record.Ticket && role != record.Client {
				t.Fatal("a ticket from a client")
			}
		}
	})
}
