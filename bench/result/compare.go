package result

import (
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

// tooFew reports whether the U test can find no difference between so many samples,
// however large it is: of all ways to deal n+m values only two part them wholly, so 3
// and 3 values are that far apart by chance one time in ten, 3 and 5 one time in 28.
func tooFew(n, m int) bool {
	ways := 1.0
	for i := 1; i <= min(n, m); i++ {
		ways *= float64(n+m-min(n, m)+i) / float64(i)
	}
	return 2/ways >= significant
}

// loadAverage is the setting that tells what the machine did before a run.
const loadAverage = "load_average"

// primary are the metrics that a benchmark is made for: what usher costs. They are
// counted, not timed: rates and latencies are the load's as well, and the machine's.
var primary = []string{"cpu_us", "cpu_s_per_gb", "cpu_ms_per_user_hour", "pss_kib", "pss_kernel_kib"}

// Primary are the metrics that a benchmark is made for: CPU and memory.
func Primary() []string { return slices.Clone(primary) }

// othersCPU is the setting that tells how many processors others kept busy in the
// course of a run, and disturbing from where on that is worth a warning: a tenth
// of one moves CPU times by some percents.
const (
	othersCPU  = "other_cpu"
	disturbing = 0.1
)

// A Filter chooses what is compared, by shell patterns as of [path.Match]; of
// several one has to match, and none at all matches everything.
type Filter struct {
	Scenarios, Targets, Metrics []string
}

// Validate says which pattern is none.
func (f Filter) Validate() error {
	for _, pattern := range slices.Concat(f.Scenarios, f.Targets, f.Metrics) {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("pattern %q: %w", pattern, err)
		}
	}
	return nil
}

func matches(patterns []string, name string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, _ := path.Match(pattern, name)
		return ok
	})
}

// A Comparison is what differs between two runs.
type Comparison struct {
	Figures  []FigureDiff `json:"figures"`
	Overall  []Geomean    `json:"overall"`  // of a target's metric over all scenarios, where there are several
	Warnings []string     `json:"warnings"` // why the two may not be comparable
}

// A FigureDiff is one metric of one scenario in two runs.
type FigureDiff struct {
	Scenario string  `json:"scenario"`
	Metric   string  `json:"metric"`
	Unit     string  `json:"unit"`
	Better   string  `json:"better"`
	Targets  []Diff  `json:"targets"`
	Geomean  float64 `json:"geomean,omitempty"` // of new / old over the targets; 0 below two
}

// A Diff is one figure of one target in two runs.
type Diff struct {
	Target string   `json:"target"`
	Old    *Summary `json:"old"` // nil if it was not measured
	New    *Summary `json:"new"`
	// Delta is new / old - 1 of the medians; nil where one is missing, and where
	// the old one is 0 but not the new one.
	Delta *float64 `json:"delta"`
	// P is the chance of two samples so far apart if nothing differs
	// (Mann-Whitney); Significant that it is below 5 %. 1 and false where one is
	// missing.
	P           float64 `json:"p"`
	Significant bool    `json:"significant"`
	Worse       bool    `json:"worse"` // significantly, by whatever
}

// A Geomean is the geometric mean of new / old.
type Geomean struct {
	Target string  `json:"target"`
	Metric string  `json:"metric"`
	Ratio  float64 `json:"ratio"`
	N      int     `json:"n"` // of scenarios
}

// Compare says what differs between two runs.
func Compare(before, after *Run, filter Filter) *Comparison {
	c := &Comparison{Warnings: unlike(before, after), Figures: []FigureDiff{}, Overall: []Geomean{}}
	olds, news := before.Figures(), after.Figures()
	all := slices.Clone(olds)
	for _, f := range news {
		if figure(olds, f.Scenario, f.Metric) == nil {
			all = append(all, f)
		}
	}
	order := names(before, after)
	few := 0
	for _, f := range all {
		if !matches(filter.Scenarios, f.Scenario) || !matches(filter.Metrics, f.Metric) {
			continue
		}
		was, is := figure(olds, f.Scenario, f.Metric), figure(news, f.Scenario, f.Metric)
		if was != nil && is != nil && (was.Unit != is.Unit || was.Better != is.Better) {
			c.Warnings = append(c.Warnings, fmt.Sprintf("%s of %s is not the same in both: %q, better %s, and %q, better %s; left out",
				f.Metric, f.Scenario, was.Unit, was.Better, is.Unit, is.Better))
			continue
		}
		d := FigureDiff{Scenario: f.Scenario, Metric: f.Metric, Unit: f.Unit, Better: f.Better}
		var ratios []float64
		for _, target := range order {
			if !matches(filter.Targets, target) {
				continue
			}
			diff := compareTarget(f, was, is, target)
			if diff.Old == nil && diff.New == nil {
				continue
			}
			if diff.Old != nil && diff.New != nil && tooFew(diff.Old.N, diff.New.N) {
				few++
			}
			if r := diff.ratio(); r > 0 {
				ratios = append(ratios, r)
			}
			d.Targets = append(d.Targets, diff)
		}
		if len(d.Targets) == 0 {
			continue
		}
		if mean := geomean(ratios); len(ratios) > 1 && finite(mean) {
			d.Geomean = mean
		}
		c.Figures = append(c.Figures, d)
	}
	if few > 0 {
		c.Warnings = append(c.Warnings, fmt.Sprintf("%d figures have so few samples that no difference can be significant, as 3 and 3 or 2 and 7", few))
	}
	c.Overall = append(c.Overall, c.overall(order)...)
	return c
}

func compareTarget(f, was, is *Figure, target string) Diff {
	d := Diff{Target: target, P: 1}
	if was != nil {
		if s, ok := was.Summary(target); ok {
			d.Old = &s
		}
	}
	if is != nil {
		if s, ok := is.Summary(target); ok {
			d.New = &s
		}
	}
	if d.Old == nil || d.New == nil {
		return d
	}
	d.P = differ(was.Values[target], is.Values[target])
	d.Significant = d.P < significant && d.Old.Median != d.New.Median
	d.Worse = d.Significant && f.better(d.Old.Median, d.New.Median)
	delta := 0.0
	if d.Old.Median != d.New.Median {
		delta = (d.New.Median - d.Old.Median) / math.Abs(d.Old.Median)
	}
	if finite(delta) {
		d.Delta = &delta
	}
	return d
}

// ratio is new / old, 0 where there is none that a mean could take up.
func (d Diff) ratio() float64 {
	if d.Old == nil || d.New == nil || d.Old.Median <= 0 || d.New.Median <= 0 {
		return 0
	}
	if r := d.New.Median / d.Old.Median; finite(r) {
		return r
	}
	return 0
}

// WorseBy reports whether a figure got significantly worse by more than a part
// of its old value. One that was 0 has no parts: any value is more.
func (d Diff) WorseBy(part float64) bool {
	return d.Worse && (d.Delta == nil || math.Abs(*d.Delta) > part)
}

// overall are the means over scenarios of each target and metric.
func (c *Comparison) overall(order []string) []Geomean {
	var metrics []string
	for _, f := range c.Figures {
		if !slices.Contains(metrics, f.Metric) {
			metrics = append(metrics, f.Metric)
		}
	}
	var means []Geomean
	for _, metric := range metrics {
		for _, target := range order {
			var ratios []float64
			for _, f := range c.Figures {
				for _, d := range f.Targets {
					if r := d.ratio(); f.Metric == metric && d.Target == target && r > 0 {
						ratios = append(ratios, r)
					}
				}
			}
			if mean := geomean(ratios); len(ratios) > 1 && finite(mean) {
				means = append(means, Geomean{target, metric, mean, len(ratios)})
			}
		}
	}
	return means
}

// names are those of all targets: in the order of the new run, then of the old.
func names(before, after *Run) []string {
	var all []string
	for _, t := range slices.Concat(after.Targets, before.Targets) {
		if !slices.Contains(all, t.Name) {
			all = append(all, t.Name)
		}
	}
	return all
}

// unlike says in what two runs differ besides their figures.
func unlike(before, after *Run) []string {
	warnings := []string{}
	warn := func(what string, old, new any) {
		if old != new {
			warnings = append(warnings, fmt.Sprintf("%s differs: %v, now %v", what, shown(old), shown(new)))
		}
	}
	a, b := before.Machine, after.Machine
	warn("the CPU", a.CPU, b.CPU)
	warn("the number of cores", a.Cores, b.Cores)
	warn("the memory in octets", a.Memory, b.Memory)
	warn("the kernel", a.Kernel, b.Kernel)
	warn("the distribution", a.Distribution, b.Distribution)
	warn("the architecture", a.Arch, b.Arch)
	warn("Go", a.Go, b.Go)
	settings := slices.Sorted(maps.Keys(before.Settings))
	for name := range after.Settings {
		if _, ok := before.Settings[name]; !ok {
			settings = append(settings, name)
		}
	}
	slices.Sort(settings)
	for _, name := range settings {
		if name == othersCPU || strings.HasPrefix(name, othersCPU+".") || name == loadAverage {
			continue // measured, not set: never the same
		}
		warn("setting "+name, before.Settings[name], after.Settings[name])
	}
	for i, r := range []*Run{before, after} {
		if busy, err := strconv.ParseFloat(r.Settings[othersCPU], 64); err == nil && busy > disturbing {
			warnings = append(warnings, fmt.Sprintf("others kept %s processors busy during the %s run", Number(busy), []string{"old", "new"}[i]))
		}
	}
	for _, was := range before.Targets {
		i := slices.IndexFunc(after.Targets, func(t Target) bool { return t.Name == was.Name })
		if i < 0 {
			warnings = append(warnings, "target "+was.Name+" is only in the old run")
			continue
		}
		is := after.Targets[i]
		warn("the version of "+was.Name, was.Version, is.Version)
		warn("what is missing of "+was.Name, was.Missing, is.Missing)
	}
	for _, is := range after.Targets {
		if !slices.ContainsFunc(before.Targets, func(t Target) bool { return t.Name == is.Name }) {
			warnings = append(warnings, "target "+is.Name+" is only in the new run")
		}
	}
	return warnings
}

// shown is a value of a warning; one that is not known is said to be.
func shown(v any) any {
	switch v {
	case "", 0, int64(0):
		return "unknown"
	}
	return v
}
