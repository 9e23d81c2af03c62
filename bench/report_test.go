package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"usher.example/bench/result"
)

// madeRun is a result that the tests of package result write.
var madeRun = filepath.Join("result", "testdata", "run.json")

// bench runs a command, and gives what it has printed.
func bench(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := newRoot()
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func TestReport(t *testing.T) {
	dir := t.TempDir()
	page, plots := filepath.Join(dir, "report.md"), filepath.Join(dir, "plots")
	if out, err := bench(t, "report", madeRun, "--markdown", page, "--svg", plots); err != nil || out != "" {
		t.Fatalf("%v: %s", err, out)
	}
	text := read(t, page)
	if !strings.Contains(text, "(plots/logins-cpu_us.svg)") {
		t.Error("the report does not show its plots")
	}
	if svg := read(t, filepath.Join(plots, "logins-cpu_us.svg")); !strings.HasPrefix(svg, "<svg ") {
		t.Errorf("no plot: %.40q", svg)
	}
	out, err := bench(t, "report", madeRun)
	if err != nil || !strings.Contains(out, "## Where usher loses") || strings.Contains(out, ".svg") {
		t.Errorf("%v: the report on standard output:\n%s", err, out)
	}
	if _, err := bench(t, "report", filepath.Join(dir, "none.json")); err == nil {
		t.Error("a run that is not there was reported")
	}
}

// TestPerformancePage holds the page of figures to the checked-in results: every
// table between markers, and every plot, is what they give. While there is no result
// there is nothing between markers either.
func TestPerformancePage(t *testing.T) {
	page := filepath.Join("..", "docs", "performance.md")
	results, err := filepath.Glob(filepath.Join("results", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := held(page, results); err != nil {
		t.Errorf("%v\nrenew it: go run ./bench report bench/results/NAME.json --update docs/performance.md", err)
	}
}

// TestHeld shows that a page is held to its results: by one that is, and by all
// ways in which it may not be.
func TestHeld(t *testing.T) {
	const page = "# Speed\n<!-- bench:begin verdict -->\n<!-- bench:end verdict -->\n" +
		"<!-- bench:begin logins pictures=plots -->\n<!-- bench:end logins -->\n" +
		"<!-- bench:begin storm run=older -->\n<!-- bench:end storm -->\n"
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  string // "" holds
	}{
		{"as it was made", func(*testing.T, string) {}, ""},
		{"a figure was touched up", func(t *testing.T, dir string) { replace(t, filepath.Join(dir, "page.md"), "452", "252") }, "page.md: is not what"},
		{"a figure of the older run was", func(t *testing.T, dir string) { replace(t, filepath.Join(dir, "page.md"), "7.70", "9.70") }, "page.md: is not what"},
		{"a result was touched up", func(t *testing.T, dir string) {
			replace(t, filepath.Join(dir, "newer.json"), `"value":452}`, `"value":252}`)
		}, "page.md: is not what"},
		{"a plot was touched up", func(t *testing.T, dir string) {
			replace(t, filepath.Join(dir, "plots", "logins-cpu_us.svg"), "452", "252")
		}, "logins-cpu_us.svg"},
		{"a plot is missing", func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "plots", "logins-cpu_us.svg")) }, "logins-cpu_us.svg"},
		{"a plot of another time", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "plots", "old.svg"), "<svg/>")
		}, "old.svg"},
		{"a marker is broken", func(t *testing.T, dir string) {
			replace(t, filepath.Join(dir, "page.md"), "bench:end logins", "bench:end")
		}, "has no end"},
		{"nothing is marked", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "page.md"), page[:8]) }, "no part"},
		{"no page", func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "page.md")) }, "no such file"},
		{"no result", func(t *testing.T, dir string) {
			remove(t, filepath.Join(dir, "newer.json"))
			remove(t, filepath.Join(dir, "older.json"))
		}, "no result is checked in"},
		{"no result, and a page that shows none", func(t *testing.T, dir string) {
			remove(t, filepath.Join(dir, "newer.json"))
			remove(t, filepath.Join(dir, "older.json"))
			write(t, filepath.Join(dir, "page.md"), page)
		}, ""},
		{"a part of a run that is not there", func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "older.json")) }, "older"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "page.md"), page)
			for _, name := range []string{"older.json", "newer.json"} {
				write(t, filepath.Join(dir, name), read(t, madeRun))
				if out, err := bench(t, "report", filepath.Join(dir, name), "--update", filepath.Join(dir, "page.md")); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			tt.spoil(t, dir)
			var results []string // the newer one last, as names with dates are
			for _, name := range []string{"older.json", "newer.json"} {
				if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
					results = append(results, filepath.Join(dir, name))
				}
			}
			err := held(filepath.Join(dir, "page.md"), results)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// held is an error if a page does not show what results give. Parts that name no
// result are of the last one.
func held(page string, results []string) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	if len(results) == 0 {
		blank, err := result.Blank(string(text))
		if err == nil && blank != string(text) {
			err = errors.New("no result is checked in, and " + page + " shows one: take out what is between its markers")
		}
		return err
	}
	want := string(text)
	plots, names := map[string][]byte{}, []string{}
	for i, file := range results {
		r, err := result.ReadFile(file)
		if err != nil {
			return err
		}
		name, last := runName(file), i == len(results)-1
		names = append(names, name)
		renewed, err := result.Insert(want, r, name, last)
		if errors.Is(err, result.ErrNoPart) && !last {
			continue // kept for its own sake
		}
		if err != nil {
			return err
		}
		want = renewed
		for _, dir := range result.PictureDirs(want, name, last) {
			for _, p := range r.Plots() {
				plots[filepath.Join(filepath.Dir(page), dir, p.File)] = p.SVG
			}
		}
	}
	if named := result.Named(want); !subset(named, names) {
		return errors.New(page + ": shows parts of results that are not there: has " + strings.Join(named, ", "))
	}
	if want != string(text) {
		return errors.New(page + ": is not what " + strings.Join(results, ", ") + " give")
	}
	return heldPlots(plots)
}

// heldPlots is an error if directories do not hold these plots and no other.
func heldPlots(plots map[string][]byte) error {
	dirs := map[string]bool{}
	for file, svg := range plots {
		dirs[filepath.Dir(file)] = true
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, svg) {
			return errors.Join(errors.New(file+": is not what the results give"), err)
		}
	}
	for dir := range dirs {
		found, err := filepath.Glob(filepath.Join(dir, "*.svg"))
		if err != nil {
			return err
		}
		for _, file := range found {
			if _, ok := plots[file]; !ok {
				return errors.New(file + ": no result gives it; remove it")
			}
		}
	}
	return nil
}

func subset(some, of []string) bool {
	return !slices.ContainsFunc(some, func(name string) bool { return !slices.Contains(of, name) })
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, file string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}

// replace changes the first such text of a file, which has to be there.
func replace(t *testing.T, file, old, new string) {
	t.Helper()
	text := read(t, file)
	if !strings.Contains(text, old) {
		t.Fatalf("%s has no %q", file, old)
	}
	write(t, file, strings.Replace(text, old, new, 1))
}
