package result

import (
	"bytes"
	"path/filepath"
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
