package result

import (
	"fmt"
	"math"
)

// Add takes up a sample. One that is not a finite number becomes a fault: it is
// not worth the run that it is part of.
func (r *Run) Add(s Sample) {
	if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
		r.AddFault(Fault{
			Scenario: s.Scenario, Target: s.Target, Repetition: s.Repetition,
			Text: fmt.Sprintf("%s is %v: not measured", s.Metric, s.Value),
		})
		return
	}
	r.Samples = append(r.Samples, s)
}

// AddFault takes up a fault. Its text may be anything, also the last words of
// another program: see [Run.WriteFile].
func (r *Run) AddFault(f Fault) {
	f.Text = cleaned(f.Text)
	r.Faults = append(r.Faults, f)
}
