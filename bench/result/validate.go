package result

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode"
)

// maxText bounds every name and text in a run, in octets: the longest is a
// fault's, with the last lines of a program that failed.
const maxText = 16 << 10

// Validate says what does not hold together: another schema, a number that is
// not finite, a name that is empty or cannot be printed, a target that is not in
// the list, the same sample twice, a metric that changes its unit. It is called
// before a run is written and after it was read.
func (r *Run) Validate() error {
	if r.Schema != Schema {
		return fmt.Errorf("schema %d, want %d", r.Schema, Schema)
	}
	known := map[string]bool{}
	for _, t := range r.Targets {
		if err := cmp.Or(named("target", t.Name), texts(t.Version, t.Note, t.Missing)); err != nil {
			return err
		}
		if known[t.Name] {
			return fmt.Errorf("target %q is listed twice", t.Name)
		}
		known[t.Name] = true
	}
	for name, value := range r.Settings {
		if err := cmp.Or(named("setting", name), texts(value)); err != nil {
			return err
		}
	}
	m := r.Machine
	return cmp.Or(
		texts(m.CPU, m.Kernel, m.Distribution, m.Arch, m.Go),
		r.validateSamples(known),
		r.validateSeries(known),
		r.validateFaults(known),
	)
}

func (r *Run) validateSamples(known map[string]bool) error {
	type metric struct{ scenario, metric string }
	type meaning struct{ unit, better string }
	type place struct {
		scenario, target, metric string
		repetition               int
	}
	meanings := map[metric]meaning{}
	seen := map[place]bool{}
	for _, s := range r.Samples {
		if err := cmp.Or(measured(s.Scenario, s.Target, known), named("metric", s.Metric), texts(s.Unit)); err != nil {
			return err
		}
		what := fmt.Sprintf("sample %s of %s in %s, repetition %d", s.Metric, s.Target, s.Scenario, s.Repetition)
		if s.Better != Lower && s.Better != Higher {
			return fmt.Errorf("%s: better is %q, want %q or %q", what, s.Better, Lower, Higher)
		}
		if !finite(s.Value) {
			return fmt.Errorf("%s: %v is no measured value", what, s.Value)
		}
		m := metric{s.Scenario, s.Metric}
		if was, ok := meanings[m]; ok && was != (meaning{s.Unit, s.Better}) {
			return fmt.Errorf("%s: is %q, better %s; was %q, better %s", what, s.Unit, s.Better, was.unit, was.better)
		}
		meanings[m] = meaning{s.Unit, s.Better}
		p := place{s.Scenario, s.Target, s.Metric, s.Repetition}
		if seen[p] {
			return fmt.Errorf("%s: is there twice", what)
		}
		seen[p] = true
	}
	return nil
}

func (r *Run) validateSeries(known map[string]bool) error {
	for _, s := range r.Series {
		if err := cmp.Or(measured(s.Scenario, s.Target, known), named("series", s.Name), texts(s.Unit)); err != nil {
			return err
		}
		what := fmt.Sprintf("series %s of %s in %s, repetition %d", s.Name, s.Target, s.Scenario, s.Repetition)
		if len(s.X) != len(s.Y) {
			return fmt.Errorf("%s: has %d times and %d values", what, len(s.X), len(s.Y))
		}
		for i := range s.X {
			if !finite(s.X[i]) || !finite(s.Y[i]) {
				return fmt.Errorf("%s: (%v, %v) is no measured value", what, s.X[i], s.Y[i])
			}
		}
		if !slices.IsSorted(s.X) {
			return fmt.Errorf("%s: its times fall", what)
		}
	}
	return nil
}

// validateFaults lets a fault be of no scenario or no target: it may be one of
// the whole run.
func (r *Run) validateFaults(known map[string]bool) error {
	for _, f := range r.Faults {
		if err := cmp.Or(texts(f.Text), texts(f.Scenario)); err != nil {
			return err
		}
		if f.Target != "" && !known[f.Target] {
			return fmt.Errorf("a fault is of %q, which is not in the list of targets", f.Target)
		}
	}
	return nil
}

// measured judges where a figure is from.
func measured(scenario, target string, known map[string]bool) error {
	if err := named("scenario", scenario); err != nil {
		return err
	}
	if !known[target] {
		return fmt.Errorf("scenario %q measures %q, which is not in the list of targets", scenario, target)
	}
	return nil
}

// named judges a name: it becomes a file's name, and a cell of a table.
func named(kind, name string) error {
	if name == "" {
		return fmt.Errorf("a %s has no name", kind)
	}
	for _, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return fmt.Errorf("%s %q: want letters, digits, '-', '_' and '.' only", kind, name)
		}
	}
	return texts(name)
}

// texts judges what is shown as it is: the rest is up to those who render it.
func texts(all ...string) error {
	for _, text := range all {
		if len(text) > maxText {
			return fmt.Errorf("a text of %d octets, more than %d: %.40q", len(text), maxText, text)
		}
		for _, c := range text {
			if unicode.IsControl(c) && c != '\n' && c != '\t' {
				return errors.New("a text that cannot be printed: " + fmt.Sprintf("%.40q", text))
			}
		}
	}
	return nil
}

func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }
