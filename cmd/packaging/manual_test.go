package packaging_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// linked is what a page shows or leads to: a link, or the source of a picture.
var linked = regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)|src="([^"]+)"`)

// TestManual wants the package to have what its pages link to, and all that is in docs.
func TestManual(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("./manual", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for page, title := range map[string]string{"README.md": "# usher", "docs/README.md": "# The manual"} {
		text, err := os.ReadFile(filepath.Join(dir, page))
		if err != nil || !strings.HasPrefix(string(text), title+"\n") {
			t.Errorf("%s is not the page %q: %v", page, title, err)
		}
	}
	_ = fs.WalkDir(os.DirFS("../.."), "docs", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			t.Error(err)
		} else if e.IsDir() || strings.HasPrefix(e.Name(), ".") || strings.HasSuffix(name, "~") { // an editor's
			return nil
		} else if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("the package lacks %s", name)
		}
		return nil
	})
	links := 0
	_ = fs.WalkDir(os.DirFS(dir), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			t.Error(err)
			return nil
		}
		if filepath.Ext(name) != ".md" || strings.HasSuffix(name, "DESIGN.md") { // they are about the sources
			return nil
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		}
		for _, m := range linked.FindAllStringSubmatch(string(text), -1) {
			to := m[1] + m[2]
			if strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
				continue
			}
			links++
			if _, err := os.Stat(filepath.Join(dir, filepath.Dir(name), to)); err != nil {
				t.Errorf("%s: %s leads nowhere in the package", name, to)
			}
		}
		return nil
	})
	if links < 100 {
		t.Errorf("%d links: this looks at the wrong place", links)
	}
}
