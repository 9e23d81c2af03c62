package result

import (
	"math"
	"slices"

	"golang.org/x/perf/benchmath"
)

// confidence is that of intervals around medians, and significant the chance
// below which a difference is not taken for one: benchstat's, which people know.
const (
	confidence  = 0.95
	significant = 0.05
)

// A Summary is what is said of several repetitions. Nothing is assumed of how
// figures are distributed: benchmarks on shared machines have long tails.
type Summary struct {
	N      int     `json:"n"`
	Median float64 `json:"median"`
	Low    float64 `json:"low"`  // the lowest value
	High   float64 `json:"high"` // the highest
	// CI is the 95 % confidence interval of the median; nil below six
	// repetitions, of which none can be had.
	CI *Interval `json:"ci95,omitempty"`
}

// An Interval is a range of values, both ends included.
type Interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Summarize works out the summary of at least one value. It leaves the values
// as they are.
func Summarize(values []float64) Summary {
	sorted := slices.Sorted(slices.Values(values))
	sum := benchmath.AssumeNothing.Summary(benchmath.NewSample(sorted, &benchmath.DefaultThresholds), confidence)
	s := Summary{N: len(sorted), Median: median(sorted), Low: sorted[0], High: sorted[len(sorted)-1]}
	if finite(sum.Lo) && finite(sum.Hi) {
		s.CI = &Interval{sum.Lo, sum.Hi}
	}
	return s
}

// Spread is how far the values lie from their median at most, as a part of it;
// 0 where the median is 0.
func (s Summary) Spread() float64 {
	if s.Median == 0 {
		return 0
	}
	return max(s.High-s.Median, s.Median-s.Low) / math.Abs(s.Median)
}

// median of sorted values. The sum of the middle ones is not formed, since it
// may overflow.
func median(sorted []float64) float64 {
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return sorted[n/2-1]/2 + sorted[n/2]/2
}

// geomean is the geometric mean of ratios above 0, and 1 of none.
func geomean(ratios []float64) float64 {
	var sum float64
	for _, r := range ratios {
		sum += math.Log(r)
	}
	return math.Exp(sum / float64(max(1, len(ratios))))
}

// differ is the Mann-Whitney U test: the chance that two samples as far apart
// as these come from the same distribution. Two samples that are all of one
// value cannot be ranked, and do not differ.
func differ(old, new []float64) (p float64) {
	sample := func(values []float64) *benchmath.Sample {
		return benchmath.NewSample(slices.Clone(values), &benchmath.DefaultThresholds)
	}
	return benchmath.AssumeNothing.Compare(sample(old), sample(new)).P
}
