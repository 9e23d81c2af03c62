package result

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteJSON writes a comparison for programs: indented, floats in full.
func (c *Comparison) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(c)
}

// WriteText writes a comparison for people, in the manner of benchstat: old and
// new medians, each with how far its samples lie from it at most; the delta, or
// ~ where it is not significant; and what that is said from.
func (c *Comparison) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, warning := range c.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", shortened(strings.ReplaceAll(warning, "\n", " ")))
	}
	if len(c.Warnings) > 0 {
		b.WriteByte('\n')
	}
	tests, chance := 0, 0
	for _, f := range c.Figures {
		fmt.Fprintf(&b, "%s %s\n", f.Scenario, withParentheses(f.Metric, f.Unit))
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "  target\told\tnew\tdelta\t")
		for _, d := range f.Targets {
			fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\n", d.Target, short(d.Old), short(d.New), d.delta(f.Better), d.from())
			if d.Old != nil && d.New != nil {
				tests++
			}
			if d.Significant {
				chance++
			}
		}
		if f.Geomean > 0 {
			fmt.Fprintf(t, "  geomean\t\t\t%+.1f %%\t\n", 100*(f.Geomean-1))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		b.WriteByte('\n')
	}
	if len(c.Overall) > 0 {
		b.WriteString("geomean over scenarios\n")
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for _, g := range c.Overall {
			fmt.Fprintf(t, "  %s\t%s\t%+.1f %%\tn=%d\n", g.Metric, g.Target, 100*(g.Ratio-1), g.N)
		}
		if err := t.Flush(); err != nil {
			return err
		}
		b.WriteByte('\n')
	}
	if len(c.Figures) == 0 {
		b.WriteString("nothing to compare: no figure of these runs matches\n")
	} else {
		fmt.Fprintf(&b, "%d figures in both runs, %d differ significantly; %.1f would by chance alone.\n",
			tests, chance, significant*float64(tests))
		b.WriteString("± is how far the lowest or highest sample is from the median; ~ is no significant difference (Mann-Whitney, p < 0.05).\n")
	}
	// Each line without the room that the last column leaves.
	for line := range strings.Lines(b.String()) {
		if _, err := io.WriteString(w, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// short is a median with its spread.
func short(s *Summary) string {
	switch {
	case s == nil:
		return "–"
	case s.N == 1:
		return Number(s.Median)
	case s.Median == 0 && s.Low != s.High:
		return fmt.Sprintf("%s (%s–%s)", Number(s.Median), Number(s.Low), Number(s.High))
	}
	return fmt.Sprintf("%s ± %s", Number(s.Median), percent(s.Spread()))
}

// delta is the difference in words; better and worse say what it means.
func (d Diff) delta(better string) string {
	switch {
	case d.Old == nil:
		return "new"
	case d.New == nil:
		return "gone"
	case !d.Significant:
		return "~"
	}
	word := "better"
	if d.Worse {
		word = "worse"
	}
	if d.Delta == nil {
		return fmt.Sprintf("from %s (%s)", Number(d.Old.Median), word)
	}
	return fmt.Sprintf("%+.1f %% (%s)", 100**d.Delta, word)
}

// from is what a delta is said from.
func (d Diff) from() string {
	switch {
	case d.Old == nil:
		return fmt.Sprintf("n=0+%d", d.New.N)
	case d.New == nil:
		return fmt.Sprintf("n=%d+0", d.Old.N)
	case d.Old.N == d.New.N:
		return fmt.Sprintf("p=%.3f n=%d", d.P, d.Old.N)
	}
	return fmt.Sprintf("p=%.3f n=%d+%d", d.P, d.Old.N, d.New.N)
}
