package result

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Verdicts of a [Row].
const (
	Met         = "met"
	Missed      = "missed"
	NotMeasured = "not measured"
)

// A Row is one figure that usher is asked to reach, and whether it does.
type Row struct {
	Must    int    // its number in the list of what must be shown
	Title   string // what the figure is
	Rival   string // whom usher is held against; "" for a bound by itself
	Theirs  string // the rival's value, with its unit
	Usher   string // usher's value
	Ratio   string // usher / rival
	Asked   string // "≤ 0.80"
	Times   int    // how many repetitions the medians are of, the fewer of both
	Verdict string // [Met], [Missed] or [NotMeasured]
	// Unsure says that the repetitions of both lie so far apart that others of the
	// same kind would have said otherwise.
	Unsure bool
	Why    string // of NotMeasured
}

// enough is the number of repetitions below which a verdict says of how few it is:
// the median of five bears two that went wrong.
const enough = 5

// Words are the verdict with what weakens it: "met, within the spread (n = 3)".
func (row Row) Words() string {
	words := row.Verdict
	if row.Verdict == NotMeasured {
		return words + ": " + row.Why
	}
	if row.Unsure {
		words += ", within the spread"
	}
	if row.Times < enough {
		words += fmt.Sprintf(" (n = %d)", row.Times)
	}
	return words
}

// Verdict holds a run against all that usher is asked to reach.
func (r *Run) Verdict() []Row {
	all := r.Figures()
	var rows []Row
	for _, a := range asked {
		rows = append(rows, a.judge(all))
	}
	for _, s := range steady {
		rows = append(rows, r.judgeSteady(s.series, s.title))
	}
	return rows
}

// judge holds one figure of a run against what is asked.
func (a ask) judge(all []*Figure) Row {
	row := Row{Must: a.must, Title: a.title, Verdict: NotMeasured, Asked: "≤ " + strconv.FormatFloat(a.bound, 'f', 2, 64)}
	if a.better == Higher {
		row.Asked = "≥" + strings.TrimPrefix(row.Asked, "≤")
	}
	f := figure(all, a.scenario, a.metric)
	if f == nil {
		row.Why = fmt.Sprintf("the run has no %s of %s", a.metric, a.scenario)
		return row
	}
	if f.Better != a.better {
		row.Why = fmt.Sprintf("in this run %s is the better the %s it is", a.metric, f.Better)
		return row
	}
	ours, ok := f.Summary(usher)
	if !ok {
		row.Why = "usher has no " + a.metric
		return row
	}
	row.Usher, row.Times = withUnit(Number(ours.Median), f.Unit), ours.N
	if a.against == nobody {
		if a.bound == 0 { // none at all is asked of every repetition
			ours.Median = ours.High
			row.Usher = withUnit(Number(ours.High), f.Unit)
		}
		row.Asked = withUnit("≤ "+strconv.FormatFloat(a.bound, 'g', -1, 64), f.Unit)
		row.Verdict = verdict(ours.Median <= a.bound)
		row.Unsure = a.bound != 0 && ours.Low <= a.bound && ours.High > a.bound
		return row
	}
	of, rival := a.rival(all, f)
	if rival == "" {
		row.Why = "nobody to hold it against was measured"
		return row
	}
	theirs, _ := of.Summary(rival)
	row.Times = min(row.Times, theirs.N)
	row.Rival, row.Theirs = rival, withUnit(Number(theirs.Median), of.Unit)
	if a.against == itself {
		row.Rival = "usher, " + a.base
	}
	if theirs.Median <= 0 {
		// No ratio to nothing; usher can only be level with it.
		row.Ratio, row.Verdict = "–", verdict(ours.Median == theirs.Median)
		return row
	}
	held := ours.Median / theirs.Median
	row.Ratio = strconv.FormatFloat(held, 'f', 3, 64) // finer than what is asked
	row.Verdict = verdict(held <= a.bound)
	// Usher's range, and that of what it is asked for.
	low, high := a.bound*theirs.Low, a.bound*theirs.High
	row.Unsure = ours.Low <= high && ours.High > low
	if a.better == Higher {
		row.Verdict = verdict(held >= a.bound)
		row.Unsure = ours.High >= low && ours.Low < high
	}
	row.Unsure = row.Unsure && (ours.N > 1 || theirs.N > 1)
	return row
}

// rival is whom usher is held against, and in which figure.
func (a ask) rival(all []*Figure, f *Figure) (*Figure, string) {
	switch a.against {
	case bestPeer:
		return f, f.Best(peer)
	case bestNginx:
		return f, f.Best(func(target string) bool { return strings.HasPrefix(target, "nginx-mail") })
	case bestOther:
		return f, f.Best(func(target string) bool { return peer(target) || target == "naive" })
	case itself:
		if base := figure(all, a.base, a.metric); base != nil {
			return base, base.Best(func(target string) bool { return target == usher })
		}
	case nobody:
	}
	return nil, ""
}

// judgeSteady compares the first minute of the soak with its last: the median
// of its repetitions.
func (r *Run) judgeSteady(name, title string) Row {
	row := Row{Must: 7, Title: title, Rival: "usher, first minute", Asked: "1 ± " + strconv.FormatFloat(steadyWithin, 'f', 2, 64), Verdict: NotMeasured}
	row.Why = fmt.Sprintf("the run has no series %s of a soak", name)
	var firsts, lasts, ratios []float64
	for _, s := range r.Series {
		if s.Scenario != "soak" || s.Target != usher || s.Name != name || len(s.X) == 0 {
			continue
		}
		end := s.X[len(s.X)-1]
		if end < steadySeconds {
			row.Why = fmt.Sprintf("the soak took %s s, less than half an hour", Number(end))
			return row
		}
		first := s.middle(0, max(steadyMinute, s.X[0]))
		last := s.middle(end-steadyMinute, end)
		firsts, lasts = append(firsts, first), append(lasts, last)
		ratios = append(ratios, last/first)
		row.Theirs, row.Usher = s.Unit, s.Unit
	}
	if len(ratios) == 0 {
		return row
	}
	row.Why, row.Times = "", len(ratios)
	row.Theirs, row.Usher = withUnit(Number(middle(firsts)), row.Theirs), withUnit(Number(middle(lasts)), row.Usher)
	held := middle(ratios)
	if !finite(held) {
		row.Why = "the first minute has nothing to compare with"
		return row
	}
	row.Ratio = strconv.FormatFloat(held, 'f', 3, 64)
	row.Verdict = verdict(held >= 1-steadyWithin && held <= 1+steadyWithin)
	return row
}

// middle is the median of the values between two times, both included; there is
// at least one.
func (s *Series) middle(from, to float64) float64 {
	var values []float64
	for i, x := range s.X {
		if x >= from && x <= to {
			values = append(values, s.Y[i])
		}
	}
	return middle(values)
}

// middle is the median of at least one value.
func middle(values []float64) float64 { return median(slices.Sorted(slices.Values(values))) }

func verdict(ok bool) string {
	if ok {
		return Met
	}
	return Missed
}

// A Loss is a figure in which a peer is better than usher.
type Loss struct {
	*Figure
	Best          string // the peer
	Theirs, Usher Summary
	Overlap       bool // the two spreads overlap: another run may say otherwise
}

// Losses are all figures in which usher's median is worse than the best peer's,
// in the order of the run.
func (r *Run) Losses() []Loss {
	var losses []Loss
	for _, f := range r.Figures() {
		best := f.Best(peer)
		ours, ok := f.Summary(usher)
		if best == "" || !ok {
			continue
		}
		theirs, _ := f.Summary(best)
		if f.better(theirs.Median, ours.Median) {
			losses = append(losses, Loss{f, best, theirs, ours, ours.Low <= theirs.High && theirs.Low <= ours.High})
		}
	}
	return losses
}
