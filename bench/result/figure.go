package result

import (
	"cmp"
	"slices"
)

// A Figure is one metric of one scenario, for all targets that it was measured
// of: a column of a table, a plot.
type Figure struct {
	Scenario, Metric string
	Unit             string
	Better           string               // [Lower] or [Higher]
	Values           map[string][]float64 // of each target, by repetition
}

// Figures are all figures of a run, in the order of their first samples.
func (r *Run) Figures() []*Figure {
	type key struct{ scenario, metric string }
	var all []*Figure
	at := map[key]*Figure{}
	samples := slices.Clone(r.Samples)
	for _, s := range samples {
		k := key{s.Scenario, s.Metric}
		if at[k] == nil {
			at[k] = &Figure{Scenario: s.Scenario, Metric: s.Metric, Unit: s.Unit, Better: s.Better, Values: map[string][]float64{}}
			all = append(all, at[k])
		}
	}
	slices.SortStableFunc(samples, func(a, b Sample) int { return cmp.Compare(a.Repetition, b.Repetition) })
	for _, s := range samples {
		f := at[key{s.Scenario, s.Metric}]
		f.Values[s.Target] = append(f.Values[s.Target], s.Value)
	}
	return all
}

// Summary is that of one target; false if it was not measured.
func (f *Figure) Summary(target string) (Summary, bool) {
	values := f.Values[target]
	if len(values) == 0 {
		return Summary{}, false
	}
	return Summarize(values), true
}

// Best is the target with the best median of those that are wanted, "" if none
// was measured. Of two that are level it is the first by name.
func (f *Figure) Best(wanted func(target string) bool) string {
	best := ""
	for _, target := range f.targets() {
		if wanted(target) && (best == "" || f.better(f.median(target), f.median(best))) {
			best = target
		}
	}
	return best
}

// better reports whether a value is better than another.
func (f *Figure) better(a, b float64) bool {
	if f.Better == Higher {
		return a > b
	}
	return a < b
}

// median of a target that was measured.
func (f *Figure) median(target string) float64 {
	return middle(f.Values[target])
}

// targets that were measured, by name.
func (f *Figure) targets() []string {
	var names []string
	for name := range f.Values {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// ranked are the targets that were measured, the best first.
func (f *Figure) ranked() []string {
	names := f.targets()
	slices.SortStableFunc(names, func(a, b string) int {
		if f.Better == Higher {
			a, b = b, a
		}
		return cmp.Compare(f.median(a), f.median(b))
	})
	return names
}

// peer reports whether a target is a rival of usher.
func peer(target string) bool { return !Reference(target) }

// figure is the one of a scenario and metric, nil if there is none.
func figure(all []*Figure, scenario, metric string) *Figure {
	for _, f := range all {
		if f.Scenario == scenario && f.Metric == metric {
			return f
		}
	}
	return nil
}
