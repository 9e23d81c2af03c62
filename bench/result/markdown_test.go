package result

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"path/filepath"
	"slices"
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

// TestLateLoad: a tail that may be the load's own is marked, and no other.
func TestLateLoad(t *testing.T) {
	r, _ := pair()
	for _, target := range []string{"usher", "haproxy"} {
		measure(r, "login-rate", target, "p99_ms", Lower, 10, 10, 10)
		measure(r, "login-imaps", target, "p99_ms", Lower, 10, 10, 10) // a closed loop is never late
	}
	measure(r, "login-rate", "usher", "behind_ms", Lower, 0.9, 1, 5)
	measure(r, "login-rate", "haproxy", "behind_ms", Lower, 0.9, 1.1, 1.2)
	measure(r, "fleet-3", "usher", "death_p99_ms", Lower, 100)
	measure(r, "fleet-3", "usher", "death_behind_ms", Lower, 11)
	var marked []string
	for _, part := range r.Parts("") {
		for line := range strings.Lines(part.Text) {
			if strings.HasPrefix(line, "| ") && strings.Contains(line, late) {
				marked = append(marked, strings.Fields(line)[1]+strings.Repeat("!", strings.Count(line, late)-1))
			}
		}
		if got, want := strings.Contains(part.Text, lateNote), part.Name == "logins" || part.Name == "fleet"; got != want {
			t.Errorf("%s explains the mark: %v, want %v", part.Name, got, want)
		}
	}
	if want := []string{"haproxy", "A"}; !slices.Equal(marked, want) { // "A node dies: ..."
		t.Errorf("marked are %q, want one figure of %q each", marked, want)
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
