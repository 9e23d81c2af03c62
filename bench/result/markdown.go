package result

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// A Part is a piece of the report that a page may show by itself (see [Update]).
type Part struct {
	Name  string // "logins"
	Title string
	Text  string // Markdown, without the heading
}

// Markdown writes the whole report of a run, without pictures.
func Markdown(w io.Writer, r *Run) error { return page(w, r, "") }

// MarkdownPictures is [Markdown] with the plots of [WritePlots], which are in a
// directory that is named relative to the page.
func MarkdownPictures(w io.Writer, r *Run, dir string) error { return page(w, r, dir) }

func page(w io.Writer, r *Run, dir string) error {
	if _, err := fmt.Fprintf(w, "# Benchmark of %s\n", r.Started.UTC().Format("2006-01-02 15:04 UTC")); err != nil {
		return err
	}
	for _, p := range r.Parts(dir) {
		if _, err := fmt.Fprintf(w, "\n## %s\n\n%s", p.Title, p.Text); err != nil {
			return err
		}
	}
	return nil
}

// Parts are the pieces of the report, in its order. The directory of the plots
// is as for [MarkdownPictures]; "" leaves them out.
func (r *Run) Parts(dir string) []Part {
	all := r.Figures()
	parts := []Part{
		{"verdict", "What usher is asked to reach", r.verdictTable()},
		{"losses", "Where usher loses", r.lossTable()},
	}
	for _, g := range groups {
		if text := r.chapter(&g, all, dir); text != "" {
			parts = append(parts, Part{g.name, g.title, text})
		}
	}
	if text := r.capacityTable(); text != "" {
		parts = append(parts, Part{capacityPart, "What a node carries", text})
	}
	return append(parts,
		Part{"targets", "Targets", r.targetTable()},
		Part{"machine", "Machine and settings", r.machineTable()},
		Part{"faults", "Faults", r.faultTable()},
	)
}

// chapter is the text of a group, "" if nothing of it was measured.
func (r *Run) chapter(g *group, all []*Figure, dir string) string {
	tables := g.tables(all)
	scenarios, targets := dimensions(tables)
	var pieces []string
	switch {
	case len(tables) == 0:
	case len(targets) == 1:
		pieces = append(pieces, "**"+targets[0]+"**\n\n"+r.sideways(tables, scenarios, targets[0]))
	case len(scenarios) == 1:
		pieces = append(pieces, "**"+scenarios[0]+"**\n\n"+r.table(joined(tables)))
	default:
		for _, t := range tables {
			if !t.nothingFailed() {
				pieces = append(pieces, "**"+escape(withParentheses(t.title, t.columns[0].Unit))+"**\n\n"+r.table(t))
			}
		}
		if counted := nothingFailed(tables); counted != "" {
			pieces = append(pieces, counted)
		}
	}
	if slices.ContainsFunc(pieces, func(piece string) bool { return strings.Contains(piece, late) }) {
		pieces = append(pieces, lateNote)
	}
	if dir != "" {
		for _, t := range g.pictures(all) {
			pieces = append(pieces, fmt.Sprintf("![%s](%s/%s.svg)\n", escape(g.title+": "+t.title), dir, t.name))
		}
		for _, c := range r.courses(g.name) {
			pieces = append(pieces, fmt.Sprintf("![%s](%s/%s.svg)\n", escape(c.title), dir, c.file))
		}
	}
	return strings.Join(pieces, "\n")
}

// dimensions are the scenarios and targets of some tables.
func dimensions(tables []table) (scenarios, targets []string) {
	for _, t := range tables {
		for _, c := range t.columns {
			scenarios = append(scenarios, c.Scenario)
			targets = append(targets, c.targets()...)
		}
	}
	slices.Sort(targets)
	seen := map[string]bool{}
	scenarios = slices.DeleteFunc(scenarios, func(name string) bool {
		was := seen[name]
		seen[name] = true
		return was
	})
	return scenarios, slices.Compact(targets)
}

// nothingFailed says so, in place of a table of zeros; "" if there is no such
// table.
func nothingFailed(tables []table) string {
	if !slices.ContainsFunc(tables, table.nothingFailed) {
		return ""
	}
	return "Nothing failed, in any repetition of any target.\n"
}

// sideways shows what only one target was asked for, a figure in each row.
func (r *Run) sideways(tables []table, scenarios []string, target string) string {
	rows := [][]string{append([]string{"figure"}, scenarios...), append([]string{"---"}, slices.Repeat([]string{"---:"}, len(scenarios))...)}
	for _, t := range tables {
		row := []string{escape(withParentheses(t.title, t.columns[0].Unit))}
		for _, scenario := range scenarios {
			text := "–"
			for _, c := range t.columns {
				if cell, ok := r.cell(c, target); ok && c.Scenario == scenario {
					text = cell
				}
			}
			row = append(row, text)
		}
		rows = append(rows, row)
	}
	return lines(rows)
}

// table shows one: medians, and in small print the lowest and the highest value;
// below the targets the best peer, and what usher is of it.
func (r *Run) table(t table) string {
	heads, rule := []string{"target"}, []string{"---"}
	best, ratios := []string{"*best peer*"}, []string{"**usher / best peer**"}
	rivals := false
	for _, c := range t.columns {
		heads, rule = append(heads, escape(c.head)), append(rule, "---:")
		name := c.Best(peer)
		best = append(best, orDash(name))
		ours, ok := c.Summary(usher)
		text := "–"
		if name != "" {
			rivals = true
			theirs, _ := c.Summary(name)
			if ok && theirs.Median > 0 {
				text = "**" + ratio(ours.Median/theirs.Median) + "**"
			}
			if ok && c.better(theirs.Median, ours.Median) {
				text += " loses"
			}
		}
		ratios = append(ratios, text)
	}
	rows := [][]string{heads, rule}
	for _, target := range r.Targets {
		row, shown := []string{target.Name}, false
		if target.Name == usher {
			row[0] = "**usher**"
		}
		for _, c := range t.columns {
			text, ok := r.cell(c, target.Name)
			row, shown = append(row, text), shown || ok
		}
		if shown {
			rows = append(rows, row)
		}
	}
	if rivals {
		rows = append(rows, best, ratios)
	}
	return lines(rows)
}

// cell is one value; false if there is none and nothing to say of it.
func (r *Run) cell(c column, target string) (string, bool) {
	s, ok := c.Summary(target)
	if ok {
		return summaryText(s) + r.lateMark(c.Figure, target), true
	}
	if slices.ContainsFunc(r.Faults, func(f Fault) bool { return f.Scenario == c.Scenario && f.Target == target }) {
		return "fault", true
	}
	return "–", false
}

// late is the mark of a tail that may be the load's own, and lateShare the part of it
// from where on it may.
const (
	late      = " ‡"
	lateShare = 0.1
	lateNote  = "‡: the load was behind its own plan, at worst by more than a tenth of this figure, which so is partly its own.\n"
)

// lateMark is late where a 99th percentile has a figure beside it that says so of
// the load, and "" elsewhere.
func (r *Run) lateMark(f *Figure, target string) string {
	before, tail := strings.CutSuffix(f.Metric, "p99_ms")
	if !tail {
		return ""
	}
	metric := "behind_ms"
	if before == "death_" {
		metric = before + metric
	}
	behind := figure(r.Figures(), f.Scenario, metric)
	if behind == nil {
		return ""
	}
	if b, ok := behind.Summary(target); !ok || b.Median <= lateShare*f.median(target) {
		return ""
	}
	return late
}

// summaryText is a median with its spread in small print.
func summaryText(s Summary) string {
	text := Number(s.Median)
	if s.N > 1 && s.Low != s.High {
		text += fmt.Sprintf(" <small>%s–%s</small>", Number(s.Low), Number(s.High))
	}
	return text
}

func (r *Run) verdictTable() string {
	rows := [][]string{
		{"", "figure", "held against", "its value", "usher", "ratio", "asked", "n", "verdict"},
		{"---", "---", "---", "---:", "---:", "---:", "---:", "---:", "---"},
	}
	met, measured := 0, 0
	for _, v := range r.Verdict() {
		text := escape(v.Words())
		switch v.Verdict {
		case Met:
			met++
			measured++
		case Missed:
			measured++
			text = strings.Replace(text, Missed, "**"+Missed+"**", 1)
		}
		rows = append(rows, []string{
			fmt.Sprint(v.Must), v.Title, orDash(v.Rival), orDash(escape(v.Theirs)), orDash(escape(v.Usher)), orDash(v.Ratio), escape(v.Asked), fmt.Sprint(v.Times), text,
		})
	}
	return fmt.Sprintf("%s\n%d of %d figures were measured, %d are met and %d missed. *n*: of how many repetitions the medians are, the fewer of both; "+
		"*within the spread*: the range of usher's values and that of what is asked of it overlap, so that other repetitions may say otherwise.\n",
		lines(rows), measured, len(rows)-2, met, measured-met)
}

func (r *Run) lossTable() string {
	losses := r.Losses()
	if len(losses) == 0 {
		return "Nowhere: no peer has a better median in any figure of this run.\n"
	}
	rows := [][]string{
		{"scenario", "figure", "best peer", "its value", "usher", "usher / best peer", ""},
		{"---", "---", "---", "---:", "---:", "---:", "---"},
	}
	for _, l := range losses {
		held, sure := "–", ""
		if l.Theirs.Median > 0 {
			held = ratio(l.Usher.Median / l.Theirs.Median)
		}
		if l.Overlap {
			sure = "the spreads overlap"
		}
		rows = append(rows, []string{
			l.Scenario, escape(withParentheses(titleOf(l.Scenario, l.Metric), l.Unit)), l.Best, summaryText(l.Theirs), summaryText(l.Usher), held, sure,
		})
	}
	return lines(rows)
}

func (r *Run) targetTable() string {
	rows := [][]string{{"target", "version", "notes"}, {"---", "---", "---"}}
	for _, t := range r.Targets {
		note := escape(t.Note)
		if t.Missing != "" {
			note = "**not measured**: " + escape(t.Missing)
		}
		rows = append(rows, []string{t.Name, orDash(escape(t.Version)), note})
	}
	return lines(rows) + "\nusher and its variants, `naive` (two goroutines and io.Copy) and `direct` (no proxy) are references: they are no peers.\n"
}

func (r *Run) machineTable() string {
	rows := [][]string{{"", ""}, {"---", "---"}}
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{escape(name), escape(value)})
		}
	}
	m := r.Machine
	add("CPU", m.CPU)
	if m.Cores > 0 {
		add("cores", fmt.Sprint(m.Cores))
	}
	if m.Memory > 0 {
		add("memory", fmt.Sprintf("%.1f GiB", float64(m.Memory)/(1<<30)))
	}
	add("kernel", m.Kernel)
	add("distribution", m.Distribution)
	add("architecture", m.Arch)
	add("Go", m.Go)
	add("started", r.Started.UTC().Format("2006-01-02 15:04:05 UTC"))
	add("took", r.Elapsed.Round(1e9).String())
	for _, name := range slices.Sorted(maps.Keys(r.Settings)) {
		add(name, r.Settings[name])
	}
	return lines(rows)
}

func (r *Run) faultTable() string {
	if len(r.Faults) == 0 {
		return "None.\n"
	}
	rows := [][]string{{"scenario", "target", "repetition", "fault"}, {"---", "---", "---:", "---"}}
	for _, f := range r.Faults {
		rows = append(rows, []string{orDash(escape(f.Scenario)), orDash(f.Target), fmt.Sprint(f.Repetition), escape(shortened(f.Text))})
	}
	return lines(rows)
}

// shownFault bounds a fault's text in a table, in characters; the file has all.
const shownFault = 300

func shortened(text string) string {
	if all := []rune(text); len(all) > shownFault {
		return string(all[:shownFault]) + "…"
	}
	return text
}

// lines writes rows of a table.
func lines(rows [][]string) string {
	var b strings.Builder
	for _, row := range rows {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
	}
	return b.String()
}

func orDash(text string) string {
	if text == "" {
		return "–"
	}
	return text
}
