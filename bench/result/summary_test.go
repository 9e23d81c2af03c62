package result

import (
	"math"
	"testing"
)

func TestSummarize(t *testing.T) {
	for _, tt := range []struct {
		name              string
		values            []float64
		median, low, high float64
		ci                *Interval
	}{
		{"one", []float64{3}, 3, 3, 3, nil},
		{"even", []float64{4, 1, 3, 2}, 2.5, 1, 4, nil},
		{"five: their range covers the median with 93.75 % only", []float64{5, 1, 4, 2, 3}, 3, 1, 5, nil},
		// 1 - 2/2^6 = 96.9 %: the whole range.
		{"six", []float64{6, 1, 5, 2, 4, 3}, 3.5, 1, 6, &Interval{1, 6}},
		// The second and the ninth of ten: 1 - 2 (1 + 10)/2^10 = 97.9 %.
		{"ten", []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 5.5, 1, 10, &Interval{2, 9}},
		{"large", []float64{math.MaxFloat64, math.MaxFloat64}, math.MaxFloat64, math.MaxFloat64, math.MaxFloat64, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first := tt.values[0]
			got := Summarize(tt.values)
			if got.Median != tt.median || got.Low != tt.low || got.High != tt.high || got.N != len(tt.values) {
				t.Errorf("got %+v, want median %v of %d, %v to %v", got, tt.median, len(tt.values), tt.low, tt.high)
			}
			if (got.CI == nil) != (tt.ci == nil) || got.CI != nil && *got.CI != *tt.ci {
				t.Errorf("got an interval %v, want %v", got.CI, tt.ci)
			}
			if tt.values[0] != first {
				t.Error("the values were sorted in place")
			}
		})
	}
}

// TestDiffer holds the U test to the numbers of ways in which values can be
// ordered: there are C(n+m, n) of them, all equally likely.
func TestDiffer(t *testing.T) {
	for _, tt := range []struct {
		name     string
		old, new []float64
		want     float64
	}{
		{"3 below 3: 2 of C(6, 3)", []float64{1, 2, 3}, []float64{4, 5, 6}, 2.0 / 20},
		{"4 above 4: 2 of C(8, 4)", []float64{5, 6, 7, 8}, []float64{1, 2, 3, 4}, 2.0 / 70},
		{"5 below 5: 2 of C(10, 5)", []float64{1, 2, 3, 4, 5}, []float64{6, 7, 8, 9, 10}, 2.0 / 252},
		// One pair the other way round: U = 1, and there is one such order more.
		{"5 nearly below 5: 4 of C(10, 5)", []float64{1, 2, 3, 4, 6}, []float64{5, 7, 8, 9, 10}, 4.0 / 252},
		{"all of one value", []float64{7, 7, 7, 7}, []float64{7, 7, 7, 7}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := differ(tt.old, tt.new); math.Abs(got-tt.want) > 1e-9 {
				t.Errorf("p = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestGeomean(t *testing.T) {
	if got := geomean([]float64{2, 8}); math.Abs(got-4) > 1e-12 {
		t.Errorf("of 2 and 8: %v, want 4", got)
	}
	if got := geomean(nil); got != 1 {
		t.Errorf("of nothing: %v, want 1", got)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 6725.4: "6725", 590: "590", 99.96: "100", 17.3: "17.3", 9.4: "9.40", 1.3456: "1.35",
		0.41: "0.410", 0.0004126: "0.000413", -2.5: "-2.50", 3e-9: "3e-09", 1.2e18: "1.2e+18",
	} {
		if got := Number(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}
