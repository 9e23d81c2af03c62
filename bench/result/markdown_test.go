package result

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
)

func TestMarkdown(t *testing.T) {
	var b bytes.Buffer
	if err := MarkdownPictures(&b, made(), "."); err != nil {
		t.Fatal(err)
	}
	golden(t, "run.md", b.Bytes())
}

func TestPlots(t *testing.T) {
	plots := made().Plots()
	files := map[string]bool{}
	for _, p := range plots {
		if files[p.File] {
			t.Errorf("two plots are called %s", p.File)
		}
		files[p.File] = true
		golden(t, p.File, p.SVG)
	}
	found, err := filepath.Glob("testdata/*.svg")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range found {
		if !files[filepath.Base(name)] {
			t.Errorf("%s is made no more: remove it", name)
		}
	}
}

// TestStrangeTexts: units and what programs say are not ours to choose.
func TestStrangeTexts(t *testing.T) {
	const strange = "</text>&\"<script>|_*"
	r, _ := pair()
	r.Targets[1].Note = strange
	for _, target := range []string{"usher", "haproxy"} {
		r.Add(Sample{"login-imaps", target, "cpu_us", strange, Lower, 0, 1})
		r.Series = append(r.Series, Series{Scenario: "storm", Target: target, Name: "sessions", Unit: strange, X: []float64{0, 1}, Y: []float64{0, 1}})
	}
	plots := r.Plots()
	if len(plots) != 2 {
		t.Fatalf("%d plots, want one of bars and one of lines", len(plots))
	}
	for _, p := range plots {
		shown := false
		for d := xml.NewDecoder(bytes.NewReader(p.SVG)); ; {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", p.File, err)
			}
			if text, ok := token.(xml.CharData); ok && strings.Contains(string(text), strange) {
				shown = true
			}
		}
		if !shown {
			t.Errorf("%s does not show the unit", p.File)
		}
	}
	var page bytes.Buffer
	if err := Markdown(&page, r); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(page.String(), "<script>") || !strings.Contains(page.String(), "&lt;script&gt;\\|") {
		t.Errorf("the page has a text that is not escaped:\n%s", page.String())
	}
}

// TestPoints: a line keeps what stands out, however many points fall together.
func TestPoints(t *testing.T) {
	s := Series{X: make([]float64, 1000), Y: make([]float64, 1000)}
	for i := range s.X {
		s.X[i], s.Y[i] = float64(i)/500, 5 // one column of pixels
	}
	s.Y[300], s.Y[600] = 1, 9
	same := func(v float64) float64 { return v }
	if got, want := s.points(same, same), "0.6,1 1.2,9"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
