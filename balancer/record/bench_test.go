package record_test

import (
	"fmt"
	"testing"

	"usher.example/balancer/record"
)

// benched are one suite of each AEAD, and both kinds of nonces.
var benched = []combo{
	{record.TLS13, record.AES128GCM},
	{record.TLS13, record.AES256GCM},
	{record.TLS13, record.ChaCha20},
	{record.TLS12, record.ECDHERSAAES128GCM},
}

func BenchmarkSeal(b *testing.B) {
	for _, c := range benched {
		for _, n := range []int{64, record.MaxPlaintext} {
			b.Run(fmt.Sprintf("%v/%d", c, n), func(b *testing.B) {
				w, _ := pair(b, c, record.Server)
				a := aead(b, &w.Keys)
				slot := make([]byte, record.MaxRecord)
				b.SetBytes(int64(n))
				b.ReportAllocs()
				seq := w.Seq()
				for b.Loop() {
					if _, err := w.SealSlot(slot, a, n); err != nil {
						b.Fatal(err)
					}
					w.SetSeq(seq) // never in earnest
				}
			})
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, c := range benched {
		for _, n := range []int{64, record.MaxPlaintext} {
			b.Run(fmt.Sprintf("%v/%d", c, n), func(b *testing.B) {
				w, r := pair(b, c, record.Server)
				a := aead(b, &w.Keys)
				seq := r.Seq()
				rec, err := w.Append(nil, a, make([]byte, n))
				if err != nil {
					b.Fatal(err)
				}
				buf := make([]byte, len(rec))
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					copy(buf, rec) // opening spoils it; a part of the figure
					if _, _, err := r.Next(a, buf); err != nil {
						b.Fatal(err)
					}
					r.SetSeq(seq)
				}
			})
		}
	}
}

func BenchmarkAEAD(b *testing.B) {
	for _, c := range benched {
		b.Run(c.String(), func(b *testing.B) {
			k := fresh(b, c)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := k.AEAD(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkUpdate(b *testing.B) {
	k := fresh(b, benched[0])
	b.ReportAllocs()
	for b.Loop() {
		if err := k.Update(); err != nil {
			b.Fatal(err)
		}
	}
}

// TestNoAllocations holds what the benchmarks show.
func TestNoAllocations(t *testing.T) {
	for _, c := range combos() {
		w, r := pair(t, c, record.Server)
		a := aead(t, &w.Keys)
		data, out, slot := pattern(2000), make([]byte, 0, record.MaxRecord), make([]byte, record.MaxRecord)
		open := func(rec []byte) {
			if _, ev, err := r.Next(a, rec); err != nil || len(ev.Data) != len(data) {
				t.Fatal(err)
			}
		}
		if n := testing.AllocsPerRun(100, func() {
			rec, err := w.Append(out, a, data)
			if err != nil {
				t.Fatal(err)
			}
			open(rec)
			copy(slot[w.Head():], data)
			if rec, err = w.SealSlot(slot, a, len(data)); err != nil {
				t.Fatal(err)
			}
			open(rec)
		}); n > 0 {
			t.Errorf("%v: %v allocations for two records", c, n)
		}
	}
}
