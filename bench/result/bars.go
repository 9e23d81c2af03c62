package result

import (
	"slices"
)

const (
	barHeight = 16.0
	barPitch  = 24.0 // from one bar to the next
	panelHead = 34.0
	panelGap  = 18.0
	// barCut is how many times the middle one a bar may be long: a peer that needs ten
	// times as much would leave all others a few pixels. A longer bar is broken, and
	// its value stands beside it as with all others.
	barCut = 3.0
)

// legend says what the colours are.
const legend = "medians; blue: usher, grey: peers, yellow: references, red: from the lowest to the highest repetition"

// SVG draws bar charts below each other, one a figure: a bar for each target
// that was measured, the best on top, as long as its median; whiskers reach from
// the lowest to the highest value.
func SVG(title string, figures ...*Figure) []byte {
	var d drawing
	names, values := 0.0, 0.0
	for _, f := range figures {
		for _, target := range f.targets() {
			s, _ := f.Summary(target)
			names = max(names, width(target))
			values = max(values, width(withUnit(Number(s.Median), f.Unit)))
		}
	}
	d.text(svgMargin, svgMargin+titleSize+panelGap, "start", inkText, legend, textSize-2)
	y := float64(svgMargin+titleSize) + 2*panelGap
	for _, f := range figures {
		y = d.bars(f, y, svgMargin+names+10, svgWidth-svgMargin-values-14)
		y += panelGap
	}
	return d.finish(title, y)
}

// bars draws one figure between left and right, from a height on; it returns
// the height below it.
func (d *drawing) bars(f *Figure, y, left, right float64) float64 {
	ranked := f.ranked()
	head := f.Scenario
	if f.Unit != "" {
		head += ", " + f.Unit
	}
	if f.Better == Higher {
		head += " – more is better"
	} else {
		head += " – less is better"
	}
	d.text(svgMargin, y+headSize, "start", inkText, head, headSize, attr{"font-weight", "600"})
	y += panelHead - headSize + 4
	end := f.scale()
	at := func(v float64) float64 { return left + (right-left)*min(1, max(0, v/end)) }
	bottom := y + barPitch*float64(len(ranked))
	for _, v := range ticks(end) {
		x := at(v)
		d.line(x, y, x, bottom, inkGrid, 1, attr{"stroke-opacity", "0.35"})
		d.text(x, bottom+textSize+1, "middle", inkText, mark(v), textSize-2)
	}
	for _, target := range ranked {
		d.bar(f, target, y, left, at, end)
		y += barPitch
	}
	return bottom + textSize + 4
}

// scale is where the scale of a figure ends: at the highest value, or at the
// highest that is not to be broken, and a little further, so that broken bars
// are the longest.
func (f *Figure) scale() float64 {
	var medians, tops []float64
	for _, target := range f.targets() {
		s, _ := f.Summary(target)
		medians, tops = append(medians, s.Median), append(tops, s.High)
	}
	if len(tops) == 0 || slices.Max(tops) <= 0 {
		return 1
	}
	slices.Sort(tops)
	end := tops[len(tops)-1]
	if f.Better == Higher {
		return end
	}
	// Of the middle one: a single one that costs next to nothing does not break
	// the bars of all others.
	limit := barCut * middle(medians)
	for i := len(tops) - 1; i >= 0; i-- {
		if tops[i] > 0 && tops[i] <= limit {
			return min(end, tops[i]*1.12)
		}
	}
	return end
}

// bar draws that of one target.
func (d *drawing) bar(f *Figure, target string, y, left float64, at func(float64) float64, end float64) {
	s, _ := f.Summary(target)
	ink, weight, opacity := inkPeer, "400", "1"
	switch {
	case target == usher:
		ink, weight = inkUsher, "700"
	case Reference(target):
		ink, opacity = inkReference, "0.7"
	}
	label := inkText
	if target == usher {
		label = inkUsher
	}
	middle := y + barPitch/2
	d.text(left-8, middle+textSize*0.36, "end", label, target, textSize, attr{"font-weight", weight})
	x := at(s.Median)
	rect := func(from, to float64) {
		d.el("rect", "", attr{"x", from}, attr{"y", middle - barHeight/2}, attr{"width", max(1, to-from)}, attr{"height", barHeight},
			attr{"rx", 2}, attr{"fill", ink}, attr{"fill-opacity", opacity})
	}
	after := x
	if s.Median > end { // broken: its end in slices
		rect(left, x-26)
		rect(x-22, x-14)
		rect(x-10, x)
	} else {
		rect(left, x)
	}
	if s.Median <= end && s.High > s.Low {
		low, high := at(s.Low), at(s.High)
		d.line(low, middle, high, middle, inkSpread, 1.5)
		for _, v := range []float64{low, high} {
			d.line(v, middle-4, v, middle+4, inkSpread, 1.5)
		}
		after = max(x, high)
	}
	d.text(after+6, middle+textSize*0.36, "start", label, withUnit(Number(s.Median), f.Unit), textSize, attr{"font-weight", weight})
}
