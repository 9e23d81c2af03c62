package record_test

import (
	"bytes"
	"errors"
	"testing"

	"usher.example/balancer/record"
)

// refusal returns what err wants sent, or ends the test.
func refusal(tb testing.TB, err error) *record.AlertError {
	tb.Helper()
	var e *record.AlertError
	if !errors.As(err, &e) {
		tb.Fatalf("got %v, want an AlertError", err)
	}
	return e
}

// TestEveryBit flips every bit of a record: header, nonce, ciphertext, tag. No
// flip is borne, none shows a byte, and behind the header all look alike.
func TestEveryBit(t *testing.T) {
	for _, c := range combos() {
		t.Run(c.String(), func(t *testing.T) {
			w, r := pair(t, c, record.Server)
			a := aead(t, &w.Keys)
			secret := bytes.Repeat([]byte("secret!!"), 4)
			good, err := w.Append(nil, a, secret)
			if err != nil {
				t.Fatal(err)
			}
			more, err := w.Append(nil, a, secret)
			if err != nil {
				t.Fatal(err)
			}
			for bit := range len(good) * 8 {
				bad := append(bytes.Clone(good), more...)
				bad[bit/8] ^= 1 << (bit % 8)
				r := r
				n, ev, err := r.Next(a, bad)
				if n == 0 && err == nil && bit/8 >= 3 && bit/8 < record.HeaderLen {
					continue // longer than what is there: it waits
				}
				e := refusal(t, err)
				if n != 0 || ev.Data != nil {
					t.Fatalf("bit %d: %d bytes taken, data %q", bit, n, ev.Data)
				}
				if bit/8 >= record.HeaderLen && (e.Alert != record.BadRecordMAC || e.Class != record.Forged ||
					e.Error() != "record: forged: bad_record_mac") {
					t.Fatalf("bit %d: %v, want bad_record_mac", bit, e)
				}
				if bytes.Contains(bad, secret) {
					t.Fatalf("bit %d: plaintext left in the buffer", bit)
				}
			}
		})
	}
}

// TestOrder changes the order of authentic records.
func TestOrder(t *testing.T) {
	for _, c := range combos() {
		w, r := pair(t, c, record.Server)
		a := aead(t, &w.Keys)
		var recs [3][]byte
		for i := range recs {
			var err error
			if recs[i], err = w.Append(nil, a, pattern(10+i)); err != nil {
				t.Fatal(err)
			}
		}
		for name, order := range map[string][]int{
			"doubled": {0, 0}, "dropped": {1}, "swapped": {0, 2, 1}, "old": {0, 1, 0},
		} {
			f := feed{r: r}
			var err error
			for i := 0; err == nil && i < len(order); i++ {
				err = f.push(t, recs[order[i]])
			}
			if e := refusal(t, err); e.Alert != record.BadRecordMAC {
				t.Errorf("%v %s: %v, want bad_record_mac", c, name, e)
			}
		}
	}
}

// TestOtherKeys opens a record with the keys of another session.
func TestOtherKeys(t *testing.T) {
	for _, c := range combos() {
		w, _ := pair(t, c, record.Server)
		_, r := pair(t, c, record.Server)
		rec, err := w.Append(nil, aead(t, &w.Keys), []byte("data"))
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = r.Next(aead(t, &r.Keys), rec)
		if e := refusal(t, err); e.Alert != record.BadRecordMAC {
			t.Errorf("%v: %v, want bad_record_mac", c, e)
		}
	}
}

// TestTrialOpen holds what trial decryption relies on: a failure changes nothing
// of the keys.
func TestTrialOpen(t *testing.T) {
	for _, c := range combos() {
		k := fresh(t, c)
		a := aead(t, &k)
		k.SetSeq(7)
		other := k
		other.SetSeq(8)
		rec, err := record.Seal(nil, &k, a, record.TypeAlert, []byte{1, 2})
		if err != nil {
			t.Fatal(err)
		}
		k.SetSeq(5)
		for seq := uint64(5); seq < 7; seq++ {
			k.SetSeq(seq)
			if _, _, err := record.Open(&k, a, bytes.Clone(rec)); err == nil {
				t.Fatalf("%v: opened with sequence number %d, want 7", c, seq)
			}
			if k.Seq() != seq {
				t.Fatalf("%v: failure moved the sequence number to %d", c, k.Seq())
			}
		}
		k.SetSeq(7)
		for _, cut := range [][]byte{rec[:4], rec[:len(rec)-1], append(bytes.Clone(rec), 0)} {
			if _, _, err := record.Open(&k, a, bytes.Clone(cut)); err == nil {
				t.Errorf("%v: opened %d bytes of %d", c, len(cut), len(rec))
			}
		}
		typ, p, err := record.Open(&k, a, bytes.Clone(rec))
		if err != nil || typ != record.TypeAlert || !bytes.Equal(p, []byte{1, 2}) {
			t.Errorf("%v: got type %d, %x, %v", c, typ, p, err)
		}
		if !bytes.Equal(k.AppendKernel(nil), other.AppendKernel(nil)) {
			t.Errorf("%v: keys changed by trials", c)
		}
	}
}
