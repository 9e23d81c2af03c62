package record_test

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"usher.example/balancer/record"
)

// TestLimits walks the sequence number up to every limit.
func TestLimits(t *testing.T) {
	for _, c := range combos() {
		t.Run(c.String(), func(t *testing.T) {
			gcm := c.suite != record.ChaCha20 && c.suite != record.ECDHEECDSAChaCha20 && c.suite != record.ECDHERSAChaCha20
			last := record.MaxSeq
			if gcm {
				last = record.MaxGCM
			}
			w, r := pair(t, c, record.Server)
			a := aead(t, &w.Keys)
			w.SetSeq(last - record.Reserved - 1)
			r.SetSeq(w.Seq())
			stream, err := w.Append(nil, a, []byte("last"))
			if err != nil {
				t.Fatal(err)
			}
			if out, err := w.Append(nil, a, []byte("x")); !errors.Is(err, record.ErrExhausted) || len(out) > 0 {
				t.Errorf("data at the limit: %d bytes, %v", len(out), err)
			}
			if _, err := w.SealSlot(make([]byte, 100), a, 1); !errors.Is(err, record.ErrExhausted) {
				t.Errorf("slot at the limit: %v", err)
			}
			// An alert can be said still.
			if stream, err = w.AppendAlert(stream, a, record.CloseNotify); err != nil {
				t.Fatal(err)
			}
			f := feed{r: r}
			if err := f.push(t, stream); err != nil || string(f.got) != "last" || len(f.seen) != 1 {
				t.Errorf("got %q, %v, %v", f.got, f.seen, err)
			}
			// And nothing whatever goes past it.
			k := fresh(t, c)
			k.SetSeq(last)
			if _, err := record.Seal(nil, &k, a, record.TypeAlert, []byte{1, 0}); !errors.Is(err, record.ErrExhausted) || k.Seq() != last {
				t.Errorf("beyond the limit: %v, next is %d", err, k.Seq())
			}
			k.SetSeq(record.MaxSeq)
			rec := newScript(t, k).data("x").stream
			rd := record.NewReader(k, record.Server)
			if _, _, err := rd.Next(a, rec); refusal(t, err).Class != record.Exhausted {
				t.Errorf("record 2^64-1: %v, want Exhausted", err)
			}
		})
	}
}

func TestDue(t *testing.T) {
	const up = record.UpdateAfter
	if record.MaxGCM != uint64(math.Exp2(24.5)) {
		t.Errorf("AES-GCM seals %d records, RFC 8446 §5.5 says 2^24.5", record.MaxGCM)
	}
	for _, tt := range []struct {
		suite record.Suite
		seq   uint64
		n     int
		limit uint64
		want  bool
	}{
		{record.AES128GCM, 0, 16, 0, false},
		{record.AES128GCM, up - 16, 16, 0, false},
		{record.AES128GCM, up - 15, 16, 0, true},
		{record.AES256GCM, up, 0, 0, true},
		{record.AES256GCM, up + 5, 0, 0, true},
		{record.AES128GCM, 99, 1, 100, false},
		{record.AES128GCM, 100, 1, 100, true},
		{record.AES128GCM, up, 1, up * 2, true}, // a limit cannot be raised
		{record.ChaCha20, up * 1000, 16, 0, false},
		{record.ChaCha20, 100, 1, 100, true},
		{record.ECDHERSAAES128GCM, up, 1, 0, false},
		{record.ECDHERSAAES128GCM, 100, 1, 100, false},
	} {
		c := combo{record.TLS13, tt.suite}
		if tt.suite>>8 != 0x13 {
			c.version = record.TLS12
		}
		w, _ := pair(t, c, record.Server)
		w.SetSeq(tt.seq)
		if got := w.Due(tt.n, tt.limit); got != tt.want {
			t.Errorf("%v: %d more after %d, limit %d: due %v", c, tt.n, tt.seq, tt.limit, got)
		}
	}
}

// TestUpdateAtLimit has a sender obey a low limit, so that keys change every few
// records, and a Reader follow.
func TestUpdateAtLimit(t *testing.T) {
	for _, suite := range record.Suites(record.TLS13) {
		w, r := pair(t, combo{record.TLS13, suite}, record.Client)
		a := aead(t, &w.Keys)
		var stream, want []byte
		for i := range 100 {
			var err error
			if w.Due(1, 4) {
				if stream, err = w.AppendKeyUpdate(stream, a, false); err != nil {
					t.Fatal(err)
				}
				a = aead(t, &w.Keys)
			}
			if stream, err = w.Append(stream, a, pattern(i+1)); err != nil {
				t.Fatal(err)
			}
			want = append(want, pattern(i+1)...)
		}
		f := feed{r: r}
		if err := f.push(t, stream); err != nil || !bytes.Equal(f.got, want) || f.r.Updates() != 24 {
			t.Errorf("%#x: got %d bytes of %d, %d updates, %v", suite, len(f.got), len(want), f.r.Updates(), err)
		}
	}
}

func TestWriterEnds(t *testing.T) {
	for _, c := range combos() {
		w, _ := pair(t, c, record.Server)
		a := aead(t, &w.Keys)
		if _, err := w.AppendAlert(nil, a, record.BadRecordMAC); err != nil {
			t.Fatal(err)
		}
		w.Owe() // too late
		_, err1 := w.Append(nil, a, []byte("x"))
		_, err2 := w.SealSlot(make([]byte, 100), a, 1)
		_, err3 := w.AppendAlert(nil, a, record.CloseNotify)
		_, err4 := w.AppendKeyUpdate(nil, a, false)
		for i, err := range []error{err1, err2, err3, err4} {
			if !errors.Is(err, record.ErrClosed) {
				t.Errorf("%v: call %d after the alert: %v, want ErrClosed", c, i+1, err)
			}
		}
		if w.Due(1, 0) || w.Suite() != 0 {
			t.Errorf("%v: due %v, suite %#x after the end", c, w.Due(1, 0), w.Suite())
		}
	}
}

func TestNoUpdateInTLS12(t *testing.T) {
	for _, suite := range record.Suites(record.TLS12) {
		w, _ := pair(t, combo{record.TLS12, suite}, record.Server)
		out, err := w.AppendKeyUpdate(nil, aead(t, &w.Keys), false)
		if !errors.Is(err, record.ErrNoUpdate) || len(out) > 0 || w.Seq() != 1 {
			t.Errorf("%#x: %d bytes, %v, next is %d", suite, len(out), err, w.Seq())
		}
	}
}

// TestSlots fills slots side by side, as one readv would, and sends them as they
// lie.
func TestSlots(t *testing.T) {
	const slots = 16
	for _, c := range combos() {
		t.Run(c.String(), func(t *testing.T) {
			for _, total := range []int{1, record.MaxPlaintext, record.MaxPlaintext + 1, slots*record.MaxPlaintext - 1, slots * record.MaxPlaintext} {
				w, r := pair(t, c, record.Server)
				a := aead(t, &w.Keys)
				stride := w.Head() + record.MaxPlaintext + w.Tail()
				if stride > record.MaxRecord {
					t.Fatalf("a slot of %d bytes, MaxRecord is %d", stride, record.MaxRecord)
				}
				buf := make([]byte, slots*stride)
				want := pattern(total)
				sent := 0
				for i, rest := 0, want; len(rest) > 0; i++ {
					slot := buf[i*stride : (i+1)*stride : (i+1)*stride]
					n := copy(slot[w.Head():w.Head()+record.MaxPlaintext], rest)
					rec, err := w.SealSlot(slot, a, n)
					if err != nil || &rec[0] != &slot[0] {
						t.Fatalf("slot %d: %v", i, err)
					}
					if sent != i*stride {
						t.Fatalf("slot %d is at %d, records end at %d", i, i*stride, sent)
					}
					sent += len(rec)
					rest = rest[n:]
				}
				f := feed{r: r}
				if err := f.push(t, buf[:sent]); err != nil || !bytes.Equal(f.got, want) {
					t.Fatalf("got %d bytes of %d, %v", len(f.got), total, err)
				}
			}
		})
	}
}

func TestSlotBounds(t *testing.T) {
	for _, c := range combos() {
		w, _ := pair(t, c, record.Server)
		a := aead(t, &w.Keys)
		seq := w.Seq()
		size := w.Head() + 10 + w.Tail()
		for _, tt := range []struct {
			size, n int
			want    error
		}{
			{size - 1, 10, record.ErrSlot},
			{0, 0, record.ErrSlot},
			{size, -1, record.ErrTooLong},
			{2 * record.MaxRecord, record.MaxPlaintext + 1, record.ErrTooLong},
		} {
			if _, err := w.SealSlot(make([]byte, tt.size), a, tt.n); !errors.Is(err, tt.want) {
				t.Errorf("%v: %d bytes in a slot of %d: %v, want %v", c, tt.n, tt.size, err, tt.want)
			}
		}
		if w.Seq() != seq {
			t.Errorf("%v: failures moved the sequence number", c)
		}
		// The record stays within a slot that is just large enough.
		slot := bytes.Repeat([]byte{0xaa}, size+1)
		if _, err := w.SealSlot(slot[:size], a, 10); err != nil || slot[size] != 0xaa {
			t.Errorf("%v: %v, byte behind the slot %#x", c, err, slot[size])
		}
	}
}
