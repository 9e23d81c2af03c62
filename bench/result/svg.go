package result

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"unicode/utf8"
)

// Colours are of middle lightness, and there is no background: a picture reads
// as well on a dark page as on a light one, also where the page's colours are
// not those that the browser prefers, which is all that a style in the picture
// could ask for.
const (
	inkText      = "#767676" // on white and black alike 4.5 : 1
	inkUsher     = "#2278d4"
	inkPeer      = "#8c959f"
	inkReference = "#b08800"
	inkSpread    = "#cf222e"
	inkGrid      = "#8c959f"
)

// Sizes in pixels.
const (
	svgWidth  = 860
	svgMargin = 12
	titleSize = 17
	headSize  = 14
	textSize  = 13
	charWidth = 7.2 // of a letter of textSize, at most: room for a text is reckoned, not measured
	typeface  = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
)

// A drawing is an SVG that is being made: elements are written in order, and
// every text is escaped.
type drawing struct {
	bytes.Buffer
}

// attr is one attribute of an element.
type attr struct {
	name  string
	value any // string, float64 or int
}

// el writes an element with a text, which may be empty.
func (d *drawing) el(name, text string, attrs ...attr) {
	d.WriteString("  <" + name)
	for _, a := range attrs {
		value := fmt.Sprint(a.value)
		if f, ok := a.value.(float64); ok {
			value = pixel(f)
		}
		fmt.Fprintf(d, " %s=\"", a.name)
		escapeXML(d, value)
		d.WriteByte('"')
	}
	if text == "" {
		d.WriteString("/>\n")
		return
	}
	d.WriteByte('>')
	escapeXML(d, text)
	fmt.Fprintf(d, "</%s>\n", name)
}

func (d *drawing) text(x, y float64, anchor, ink, text string, size int, more ...attr) {
	d.el("text", text, append([]attr{{"x", x}, {"y", y}, {"text-anchor", anchor}, {"fill", ink}, {"font-size", size}}, more...)...)
}

func (d *drawing) line(x1, y1, x2, y2 float64, ink string, width float64, more ...attr) {
	d.el("line", "", append([]attr{{"x1", x1}, {"y1", y1}, {"x2", x2}, {"y2", y2}, {"stroke", ink}, {"stroke-width", width}}, more...)...)
}

func escapeXML(b io.Writer, text string) {
	_ = xml.EscapeText(b, []byte(text)) // what is written to takes everything
}

// pixel writes a coordinate, in tenths.
func pixel(v float64) string {
	text := strconv.FormatFloat(v, 'f', 1, 64)
	if text == "-0.0" {
		return "0"
	}
	return string(bytes.TrimSuffix([]byte(text), []byte(".0")))
}

// finish puts a whole picture around what was drawn. The title is what a reader
// who does not see it is told.
func (d *drawing) finish(title string, height float64) []byte {
	var b drawing
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%s\" viewBox=\"0 0 %d %s\" role=\"img\" font-family=\"",
		svgWidth, pixel(height), svgWidth, pixel(height))
	escapeXML(&b, typeface)
	b.WriteString("\">\n")
	b.el("title", title)
	b.text(svgMargin, svgMargin+titleSize, "start", inkText, title, titleSize, attr{"font-weight", "600"})
	b.Write(d.Bytes())
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// width is the room that a text needs, in pixels.
func width(text string) float64 { return charWidth * float64(utf8.RuneCountInString(text)) }

// WritePlots writes the plots of a run into a directory, which is made if
// needed: a bar chart for each metric that is worth one, and a line chart for
// each kind of series. It returns the files' names.
func WritePlots(dir string, r *Run) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var names []string
	for _, p := range r.Plots() {
		if err := os.WriteFile(filepath.Join(dir, p.File), p.SVG, 0o644); err != nil {
			return nil, err
		}
		names = append(names, p.File)
	}
	return names, nil
}

// A Plot is one picture of a run.
type Plot struct {
	File string // its name: "logins-cpu_us.svg"
	SVG  []byte
}

// Plots are all pictures of a run. The same run gives the same octets.
func (r *Run) Plots() []Plot {
	var plots []Plot
	all := r.Figures()
	for _, g := range groups {
		for _, t := range g.pictures(all) {
			plots = append(plots, Plot{t.name + ".svg", SVG(g.title+": "+t.title, figures(t)...)})
		}
		for _, c := range r.courses(g.name) {
			plots = append(plots, Plot{c.file + ".svg", c.draw()})
		}
	}
	return plots
}

func figures(t table) []*Figure {
	var all []*Figure
	for _, c := range t.columns {
		all = append(all, c.Figure)
	}
	return all
}

// ticks are the marks of a scale from 0 to an end: steps of 1, 2 or 5 times a
// power of ten, six at most.
func ticks(end float64) []float64 {
	power := math.Pow(10, math.Floor(math.Log10(end/6)))
	step := 10 * power
	for _, of := range []float64{5, 2, 1} {
		if of*power*6 >= end {
			step = of * power
		}
	}
	marks := []float64{0}
	for i := 1.0; i <= 6 && i*step <= end*1.0001; i++ {
		marks = append(marks, i*step)
	}
	return marks
}

// mark is what stands at one: without zeros that say nothing.
func mark(v float64) string {
	if v >= 1e6 {
		return Number(v)
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}
