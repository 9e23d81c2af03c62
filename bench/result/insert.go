package result

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Markers of a part in a page. Between them stands what a run gives, and
// nothing that is written by hand:
//
//	<!-- bench:begin logins run=2026-11-30 pictures=performance -->
//	<!-- bench:end logins -->
//
// run names the file of the result, without its ending; a part without it is of
// whichever run the page is updated from. pictures is the directory of the plots,
// as seen from the page; without it there are none.
const (
	beginMarker  = "<!-- bench:begin "
	endMarker    = "<!-- bench:end "
	markerEnding = " -->"
)

// A marker is the begin of a part.
type marker struct{ part, run, pictures string }

func (m marker) of(run string, unnamed bool) bool { return m.run == run || m.run == "" && unnamed }

// PictureDirs are the directories in which a page looks for plots of a run, as
// seen from the page. Name and unnamed are as for [Insert], which has taken the
// page.
func PictureDirs(text, name string, unnamed bool) []string {
	var dirs []string
	for line := range strings.Lines(text) {
		body := strings.TrimSpace(line)
		if m, err := parseMarker(body); err == nil && m.of(name, unnamed) && m.pictures != "" && !slices.Contains(dirs, m.pictures) {
			dirs = append(dirs, m.pictures)
		}
	}
	return dirs
}

// ErrNoPart is returned for a page that shows nothing of a run.
var ErrNoPart = errors.New("no part of this run is in the page: write a line " +
	beginMarker + "verdict" + markerEnding + " and a line " + endMarker + "verdict" + markerEnding)

// Insert puts the parts of a run that a page asks for into it, and leaves the
// rest as it is. name is that of the run, for parts that ask for a certain one;
// those of others are left alone. unnamed says whether parts that ask for none are
// of this run. A part of which the run has nothing says so. It refuses a page with
// markers that do not match, and a part that there is not; [ErrNoPart] if there was
// nothing to do.
func Insert(text string, r *Run, name string, unnamed bool) (string, error) {
	inserted := false
	text, err := rewrite(text, func(m marker, old string) (string, error) {
		if !m.of(name, unnamed) {
			return old, nil
		}
		inserted = true
		part, err := r.part(m)
		return "\n" + part + "\n", err
	})
	if err == nil && !inserted {
		err = ErrNoPart
	}
	if err != nil {
		return "", err
	}
	return text, nil
}

// Blank is a page with nothing in its parts: what it is while no run has been
// published.
func Blank(text string) (string, error) {
	return rewrite(text, func(marker, string) (string, error) { return "", nil })
}

// rewrite gives what stands in each part of a page to a function, and puts there
// what it returns.
func rewrite(text string, renew func(m marker, old string) (string, error)) (string, error) {
	var b strings.Builder
	for n := 1; text != ""; {
		line, rest, _ := strings.Cut(text, "\n")
		body := strings.TrimSpace(line)
		if strings.HasPrefix(body, endMarker) {
			return "", fmt.Errorf("line %d: %q ends a part that did not begin", n, body)
		}
		if !strings.HasPrefix(body, beginMarker) {
			b.WriteString(text[:len(text)-len(rest)])
			text, n = rest, n+1
			continue
		}
		m, err := parseMarker(body)
		if err != nil {
			return "", fmt.Errorf("line %d: %w", n, err)
		}
		old, after, ok := strings.Cut(rest, endMarker+m.part+markerEnding)
		if !ok || strings.Contains(old, beginMarker) || strings.Contains(old, endMarker) {
			return "", fmt.Errorf("line %d: part %s has no end: want %q before the next part", n, m.part, endMarker+m.part+markerEnding)
		}
		b.WriteString(line + "\n")
		part, err := renew(m, old)
		if err != nil {
			return "", fmt.Errorf("line %d: %w", n, err)
		}
		n += 1 + strings.Count(old, "\n")
		b.WriteString(part + endMarker + m.part + markerEnding)
		rest, text, _ = strings.Cut(after, "\n")
		b.WriteString(rest)
		if len(rest) < len(after) {
			b.WriteByte('\n')
			n++
		}
	}
	return b.String(), nil
}

// Named are the runs that parts of a page ask for by name.
func Named(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		if m, err := parseMarker(strings.TrimSpace(line)); err == nil && m.run != "" && !slices.Contains(names, m.run) {
			names = append(names, m.run)
		}
	}
	return names
}

// parseMarker reads the line that begins a part.
func parseMarker(line string) (marker, error) {
	body, begins := strings.CutPrefix(line, beginMarker)
	body, ends := strings.CutSuffix(body, markerEnding)
	fields := strings.Fields(body)
	if !begins || !ends || len(fields) == 0 {
		return marker{}, fmt.Errorf("%q begins no part: want %sNAME%s", line, beginMarker, markerEnding)
	}
	m := marker{part: fields[0]}
	for _, field := range fields[1:] {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "run":
			m.run = value
		case "pictures":
			m.pictures = value
		default:
			return marker{}, fmt.Errorf("%q: want run=NAME or pictures=DIRECTORY", field)
		}
	}
	return m, nil
}

// part is the text that a marker asks for.
func (r *Run) part(m marker) (string, error) {
	var names []string
	for _, p := range r.Parts(m.pictures) {
		if p.Name == m.part {
			return p.Text, nil
		}
		names = append(names, p.Name)
	}
	if m.part == capacityPart || slices.ContainsFunc(groups, func(g group) bool { return g.name == m.part }) {
		return "Nothing of this was measured in this run.\n", nil
	}
	return "", fmt.Errorf("the run has no part %q; it has %s", m.part, strings.Join(names, ", "))
}
