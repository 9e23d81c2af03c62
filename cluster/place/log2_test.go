package place

import (
	"math"
	"math/big"
	"testing"
)

// TestLog2Table computes every entry with big integers: squaring a number
// between 1 and 2 doubles its logarithm, so the overflows past 2 are the binary
// places, one a step.
func TestLog2Table(t *testing.T) {
	const precision = 256 // binary places of the numbers squared
	two := new(big.Int).Lsh(big.NewInt(2), precision)
	for i, got := range log2Table {
		x := new(big.Int).Lsh(big.NewInt(int64(256+i)), precision-8) // 1 + i/256
		var want uint64
		if x.Cmp(two) >= 0 { // the last entry: log2(2)
			want = one
		} else {
			const steps = fracBits + 1 // one more, to round by
			for range steps {
				x.Mul(x, x).Rsh(x, precision)
				want <<= 1
				if x.Cmp(two) >= 0 {
					x.Rsh(x, 1)
					want |= 1
				}
			}
			want = (want + 1) >> 1
		}
		if got != want {
			t.Errorf("log2Table[%d] = %#x, want %#x", i, got, want)
		}
	}
}

func TestNegLog2IsCloseAndFalls(t *testing.T) {
	const bound = 3e-6
	last := uint64(math.MaxUint64)
	for step := range uint64(1 << 16) {
		h := step * 0x0001000100010001 // rising, over all of 64 bits
		got := negLog2(h)
		if got > last {
			t.Fatalf("negLog2(%#x) = %d rises from %d", h, got, last)
		}
		last = got
		want := 64 - math.Log2(float64(h|1))
		if diff := math.Abs(float64(got)/float64(one) - want); diff > bound {
			t.Fatalf("negLog2(%#x) = %v, want %v within %v", h, float64(got)/float64(one), want, bound)
		}
	}
	for _, h := range []uint64{0, 1, math.MaxUint64, math.MaxUint64 - 1, 1 << 63} {
		if got := negLog2(h); got < 1 || got > 64*one {
			t.Errorf("negLog2(%#x) = %d, want within 1 and %d", h, got, 64*one)
		}
	}
}
