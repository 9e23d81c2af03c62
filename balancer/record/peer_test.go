package record_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"usher.example/balancer/record"
)

// sizes are lengths of data that have been somebody's edge.
var sizes = []int{
	1, 2, 15, 16, 17, 63, 64, 255, 256, 1023, 1024, 1200, 4095, 4096, 8192,
	16383, 16384, 16385, 16384*2 - 1, 16384 * 2, 16384*3 + 7, 70_000,
}

// pattern makes n bytes that differ from place to place.
func pattern(n int) []byte {
	b := make([]byte, n)
	r := rand.NewPCG(1, uint64(n))
	for i := range b {
		b[i] = byte(r.Uint64())
	}
	return b
}

// roles are ours; crypto/tls plays the other.
var roles = map[string]record.Role{"server": record.Server, "client": record.Client}

func TestTalksToCryptoTLS(t *testing.T) {
	for _, c := range combos() {
		for name, role := range roles {
			t.Run(c.String()+"/"+name, func(t *testing.T) {
				s := establish(t, c, false)
				tx, rx, out, in, peer := s.as(role)
				w, f := record.NewWriter(tx), feed{r: record.NewReader(rx, role)}
				a := aead(t, &w.Keys)
				for _, n := range sizes {
					want := pattern(n)
					b, err := w.Append(nil, a, want)
					if err != nil {
						t.Fatal(err)
					}
					_, _ = out.Write(b)
					if got, err := readAll(peer); err != nil || !bytes.Equal(got, want) {
						t.Fatalf("peer got %d of %d bytes: %v", len(got), n, err)
					}
					if _, err := peer.Write(want); err != nil {
						t.Fatal(err)
					}
					for p := range slices.Chunk(in.drain(), 1+n%997) {
						if err := f.push(t, p); err != nil {
							t.Fatalf("open %d bytes: %v", n, err)
						}
					}
					if !bytes.Equal(f.got, want) || len(f.rest) > 0 {
						t.Fatalf("got %d of %d bytes, %d left over", len(f.got), n, len(f.rest))
					}
					f.got = f.got[:0]
				}
				b, err := w.AppendAlert(nil, a, record.CloseNotify)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = out.Write(b)
				if n, err := peer.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
					t.Errorf("after close_notify: peer read %d, %v, want EOF", n, err)
				}
				if err := peer.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if err := f.push(t, in.drain()); err != nil || len(f.seen) != 1 || f.seen[0].Kind != record.Closed {
					t.Errorf("peer's close: %v, %v, want Closed", f.seen, err)
				}
			})
		}
	}
}

// TestKeyUpdateWithCryptoTLS has us update many times, with data between, and
// crypto/tls answer each that asks it to.
func TestKeyUpdateWithCryptoTLS(t *testing.T) {
	for _, suite := range record.Suites(record.TLS13) {
		for name, role := range roles {
			c := combo{record.TLS13, suite}
			t.Run(c.String()+"/"+name, func(t *testing.T) {
				s := establish(t, c, false)
				tx, rx, out, in, peer := s.as(role)
				w, f := record.NewWriter(tx), feed{r: record.NewReader(rx, role)}
				answers := 0
				for i := range 20 {
					ask := i%3 != 0
					b, err := w.AppendKeyUpdate(nil, aead(t, &w.Keys), ask)
					if err != nil {
						t.Fatal(err)
					}
					want := pattern(100 + i)
					if b, err = w.Append(b, aead(t, &w.Keys), want); err != nil {
						t.Fatal(err)
					}
					_, _ = out.Write(b)
					if got, err := readAll(peer); err != nil || !bytes.Equal(got, want) {
						t.Fatalf("update %d: peer got %q, %v", i, got, err)
					}
					_, _ = peer.Write(want)
					if ask {
						answers++
					}
					if err := f.push(t, in.drain()); err != nil || !bytes.Equal(f.got, want) {
						t.Fatalf("update %d: got %q, %v", i, f.got, err)
					}
					f.got = f.got[:0]
					if len(f.seen) != answers || int(f.r.Updates()) != answers {
						t.Fatalf("update %d: %d answers seen, %d updates, want %d", i, len(f.seen), f.r.Updates(), answers)
					}
				}
				if w.Updates() != 20 {
					t.Errorf("we updated %d times, want 20", w.Updates())
				}
			})
		}
	}
}

// TestTicketOfCryptoTLS takes a client's place from the first record after the
// handshake: a Go server has sent its ticket by then.
func TestTicketOfCryptoTLS(t *testing.T) {
	for _, suite := range record.Suites(record.TLS13) {
		s := establish(t, combo{record.TLS13, suite}, true)
		_, rx, _, in, peer := s.as(record.Client)
		_, _ = peer.Write([]byte("hello"))
		f := feed{r: record.NewReader(rx, record.Client)}
		rest := in.log
		for len(rest) > 0 {
			// Where the handshake's records end is what trial decryption tells.
			n := record.HeaderLen + int(rest[3])<<8 + int(rest[4])
			k := rx
			if _, _, err := record.Open(&k, aead(t, &k), bytes.Clone(rest[:n])); err == nil {
				break
			}
			rest = rest[n:]
		}
		if err := f.push(t, rest); err != nil {
			t.Fatal(err)
		}
		if string(f.got) != "hello" || len(f.seen) != 1 || f.seen[0].Kind != record.Ticket {
			t.Errorf("got %q and %v, want hello after a ticket", f.got, f.seen)
		}
	}
}

func TestCutsChangeNothing(t *testing.T) {
	for _, c := range combos() {
		t.Run(c.String(), func(t *testing.T) {
			w, r := pair(t, c, record.Server)
			a := aead(t, &w.Keys)
			var stream, want []byte
			for _, n := range []int{1, 300, 0, 17, 2000} {
				var err error
				if stream, err = w.Append(stream, a, pattern(n)); err != nil {
					t.Fatal(err)
				}
				want = append(want, pattern(n)...)
			}
			if c.version == record.TLS13 {
				var err error
				if stream, err = w.AppendKeyUpdate(stream, a, true); err != nil {
					t.Fatal(err)
				}
				a = aead(t, &w.Keys)
			}
			var err error
			if stream, err = w.Append(stream, a, []byte("last")); err != nil {
				t.Fatal(err)
			}
			want = append(want, "last"...)
			cut := func(next func() int) {
				t.Helper()
				f := feed{r: r}
				for p := stream; len(p) > 0; {
					n := min(next(), len(p))
					if err := f.push(t, p[:n]); err != nil {
						t.Fatal(err)
					}
					p = p[n:]
				}
				if !bytes.Equal(f.got, want) || len(f.rest) > 0 {
					t.Errorf("got %d bytes of %d, %d left over", len(f.got), len(want), len(f.rest))
				}
			}
			cut(func() int { return 1 })
			for seed := range uint64(50) {
				rnd := rand.New(rand.NewPCG(seed, 0))
				cut(func() int { return 1 + rnd.IntN(700) })
			}
		})
	}
}

// TestEverySize seals and opens records of every size there is.
func TestEverySize(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 61
	}
	for _, c := range combos() {
		t.Run(c.String(), func(t *testing.T) {
			w, r := pair(t, c, record.Server)
			a := aead(t, &w.Keys)
			data := pattern(record.MaxPlaintext + 1)
			buf := make([]byte, 0, record.MaxRecord)
			for n := 0; n <= record.MaxPlaintext; n += step {
				rec, err := record.Seal(buf, &w.Keys, a, record.TypeData, data[:n])
				if err != nil || len(rec) != w.Head()+n+w.Tail() {
					t.Fatalf("seal %d bytes: %d bytes, %v", n, len(rec), err)
				}
				used, ev, err := r.Next(a, rec)
				if err != nil || used != len(rec) || !bytes.Equal(ev.Data, data[:n]) {
					t.Fatalf("open %d bytes: used %d of %d, %v", n, used, len(rec), err)
				}
			}
			if _, err := record.Seal(buf, &w.Keys, a, record.TypeData, data); !errors.Is(err, record.ErrTooLong) {
				t.Errorf("seal 2^14+1 bytes: %v, want ErrTooLong", err)
			}
		})
	}
}
