package result

import (
	"math"
	"slices"
	"strings"
)

const (
	courseHeight = 300.0
	courseTop    = 64.0
	courseLeft   = 70.0
	columnWidth  = 2.0
)

// palette are the inks of lines, usher's first. They differ in lightness as well
// as in hue, and come with dashes, for those who do not see colours.
var palette = []struct{ ink, dash string }{
	{inkUsher, ""},
	{"#d1651a", ""},
	{"#2da44e", "7 3"},
	{"#a475f9", ""},
	{"#cf222e", "2 3"},
	{"#1b9aaa", "9 3 2 3"},
	{"#b08800", ""},
	{"#bf3989", "7 3"},
	{"#767676", ""},
	{"#57ab5a", "2 3"},
	{"#6e7bd9", "9 3 2 3"},
	{"#a0732f", "2 2"},
}

// A course is what becomes a line chart: one kind of series of one scenario,
// with a line for each target.
type course struct {
	file, title string
	unit        string
	series      []Series
}

// courses are those of a group, in the order of the run: of each target its
// first repetition. Several lines of one target would say less, not more.
func (r *Run) courses(group string) []course {
	var all []course
	for _, s := range r.Series {
		if groupOf(s.Scenario) != group || len(s.X) == 0 {
			continue
		}
		file := s.Scenario + "-over-time-" + s.Name
		i := slices.IndexFunc(all, func(c course) bool { return c.file == file })
		if i < 0 {
			title := chapterOf(s.Scenario) + ": " + titleOf(s.Scenario, s.Name) + ", over time"
			all = append(all, course{file: file, title: title, unit: s.Unit})
			i = len(all) - 1
		}
		at := slices.IndexFunc(all[i].series, func(has Series) bool { return has.Target == s.Target })
		switch {
		case at < 0:
			all[i].series = append(all[i].series, s)
		case s.Repetition < all[i].series[at].Repetition:
			all[i].series[at] = s
		}
	}
	for _, c := range all {
		// usher is drawn last, above the others.
		slices.SortStableFunc(c.series, func(a, b Series) int { return boolInt(a.Target == usher) - boolInt(b.Target == usher) })
	}
	return all
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// draw makes the line chart.
func (c course) draw() []byte {
	var d drawing
	endX, right, endY := c.end(), 0.0, 0.0
	for _, s := range c.series {
		right = max(right, width(s.key(endX))+40)
		endY = max(endY, slices.Max(s.Y))
	}
	if endY <= 0 {
		endY = 1
	}
	endY *= 1.04
	wide := svgWidth - courseLeft - right - svgMargin
	bottom := courseTop + courseHeight
	x := func(v float64) float64 { return courseLeft + wide*max(0, v/endX) }
	y := func(v float64) float64 { return bottom - courseHeight*max(0, v/endY) }
	d.text(svgMargin, courseTop-12, "start", inkText, c.unit, textSize)
	for _, v := range ticks(endY) {
		d.line(courseLeft, y(v), courseLeft+wide, y(v), inkGrid, 1, attr{"stroke-opacity", "0.35"})
		d.text(courseLeft-8, y(v)+4, "end", inkText, mark(v), textSize-1)
	}
	for _, v := range ticks(endX) {
		d.line(x(v), bottom, x(v), bottom+4, inkGrid, 1)
		d.text(x(v), bottom+18, "middle", inkText, mark(v), textSize-1)
	}
	d.text(courseLeft+wide/2, bottom+36, "middle", inkText, "seconds", textSize)
	others := 0
	for i, s := range c.series {
		look := palette[0]
		if s.Target != usher {
			others++
			look = palette[1+(others-1)%(len(palette)-1)]
		}
		thick := 1.6
		if s.Target == usher {
			thick = 2.8
		}
		d.el("polyline", "", attr{"points", s.until(endX).points(x, y)}, attr{"fill", "none"}, attr{"stroke", look.ink},
			attr{"stroke-width", thick}, attr{"stroke-linejoin", "round"}, attr{"stroke-dasharray", orNone(look.dash)})
		key := courseTop + 8 + 20*float64(i)
		d.line(courseLeft+wide+10, key, courseLeft+wide+34, key, look.ink, thick, attr{"stroke-dasharray", orNone(look.dash)})
		d.text(courseLeft+wide+40, key+4, "start", inkText, s.key(endX), textSize)
	}
	return d.finish(c.title, max(bottom+48, courseTop+20*float64(len(c.series)+1)))
}

// end is where the scale of time ends: with the last line, or with the last of
// those that do not take several times as long as the middle one, which would
// leave all others a few pixels.
func (c course) end() float64 {
	var ends []float64
	for _, s := range c.series {
		ends = append(ends, s.X[len(s.X)-1])
	}
	limit, end := barCut*middle(ends), 0.0
	for _, v := range ends {
		if v <= limit {
			end = max(end, v)
		}
	}
	if end <= 0 {
		return 1
	}
	return end
}

// until is a line as far as a time; where it goes on, up to the edge.
func (s Series) until(end float64) Series {
	n := slices.IndexFunc(s.X, func(x float64) bool { return x > end })
	if n < 0 {
		return s
	}
	if n == 0 {
		s.X, s.Y = nil, nil // begins beyond
		return s
	}
	share := (end - s.X[n-1]) / (s.X[n] - s.X[n-1])
	at := s.Y[n-1] + share*(s.Y[n]-s.Y[n-1])
	s.X, s.Y = append(slices.Clone(s.X[:n]), end), append(slices.Clone(s.Y[:n]), at)
	return s
}

// key is what stands beside a line; of one that goes on, until when.
func (s Series) key(end float64) string {
	if last := s.X[len(s.X)-1]; last > end {
		return s.Target + ", to " + Number(last) + " s"
	}
	return s.Target
}

// points are those of a line: of each column of pixels its lowest and its highest
// value, in the order in which they came. More is not seen, and a soak has more.
func (s Series) points(x, y func(float64) float64) string {
	var points []string
	for from := 0; from < len(s.X); {
		low, high, to := from, from, from
		for column := math.Floor(x(s.X[from]) / columnWidth); to < len(s.X) && math.Floor(x(s.X[to])/columnWidth) == column; to++ {
			if s.Y[to] < s.Y[low] {
				low = to
			}
			if s.Y[to] > s.Y[high] {
				high = to
			}
		}
		for _, i := range slices.Compact([]int{min(low, high), max(low, high)}) {
			points = append(points, pixel(x(s.X[i]))+","+pixel(y(s.Y[i])))
		}
		from = to
	}
	return strings.Join(points, " ")
}

func orNone(dash string) string {
	if dash == "" {
		return "none"
	}
	return dash
}
