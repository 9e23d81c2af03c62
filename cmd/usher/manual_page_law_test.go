package main_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// languages are what a block of the manual may be. Nothing of the others is run.
var languages = []string{"console", "hosts", "ini", "json", "text", "toml", "yaml"}

// runPages are the pages that a test runs.
var runPages = []string{
	"abuse.md", "api.md", "disaster-recovery.md", "monitoring.md", "operations.md", "quickstart.md", "tutorial.md", "upgrade.md",
}

// TestManualBlocks: every block says what it is; every console of the manual is run,
// or says why not; what is run is run by a test of its own.
func TestManualBlocks(t *testing.T) {
	for name, p := range manual(t) {
		for _, b := range p.blocks {
			switch {
			case !slices.Contains(languages, b.language):
				t.Errorf("%s:%d: a block is one of %v, got %q", name, b.first, languages, b.language)
			case b.language == "console" && b.notRun == "" && !slices.Contains(runPages, name):
				t.Errorf("%s:%d: is not run; say so: <!-- not run: WHY -->, or have a test run the page", name, b.first)
			}
			for _, line := range p.lines[b.first:b.last] {
				if _, ok := prompt(line); ok && b.language == "text" {
					t.Errorf("%s:%d: %q looks like a console, and nobody runs it", name, b.first, line)
				}
			}
		}
		if slices.Contains(runPages, name) && !p.runs() {
			t.Errorf("nothing of %s is run", name)
		}
	}
}

// link is one of a page, to a place in the repository.
var link = regexp.MustCompile(`\]\(([^)#:]*)(#[^)]*)?\)`)

// TestManualLinks: links between the pages lead somewhere, also those to a heading.
func TestManualLinks(t *testing.T) {
	headings := map[string][]string{}
	anchors := func(file string) []string {
		if known, ok := headings[file]; ok {
			return known
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil
		}
		var out []string
		for line := range strings.Lines(string(text)) {
			if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
				out = append(out, anchor(title))
			}
		}
		headings[file] = out
		return out
	}
	for name, p := range manual(t) {
		for i, line := range p.lines {
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				file := filepath.Join(manualDir, name)
				if m[1] != "" {
					file = filepath.Join(manualDir, m[1])
				}
				if _, err := os.Stat(file); err != nil {
					t.Errorf("%s:%d: %s leads nowhere: %v", name, i+1, m[1], err)
				} else if m[2] != "" && !slices.Contains(anchors(file), m[2][1:]) {
					t.Errorf("%s:%d: no heading of %s is %s", name, i+1, filepath.Base(file), m[2])
				}
			}
		}
	}
}

// anchor is what a heading is found by (GitHub's rule).
func anchor(title string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(strings.TrimSpace(title)) {
		switch {
		case r == ' ' || r == '-':
			b.WriteByte('-')
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_':
			b.WriteRune(r)
		}
	}
	return b.String()
}

// TestManualMatching: output that is not as the manual says is not taken for it.
func TestManualMatching(t *testing.T) {
	for _, tt := range []struct {
		name, want, got, varies string
		same                    bool
	}{
		{"the same", "a\nb", "a\nb", "", true},
		{"another word", "a\nb", "a\nc", "", false},
		{"a line more", "a", "a\nb", "", false},
		{"a line less", "a\nb", "a", "", false},
		{"no output", "", "a", "", false},
		{"any lines", "a\n...\nz", "a\nb\nc\nz", "", true},
		{"any lines, none", "a\n...\nz", "a\nz", "", true},
		{"any lines, but not the last", "a\n...\nz", "a\nb\ny", "", false},
		{"a time", "at 2026-01-02 03:04:05", "at 2027-11-12 13:14:15", "date", true},
		{"a time that is not said to vary", "at 2026-01-02", "at 2026-01-03", "", false},
		{"a time that is not there", "at 2026-01-02", "at -", "date", false},
		{"an age", "for 3s, ready", "for 12m03s, ready", "age", true},
		{"an age does not hide words", "for 3s, ready", "for 3s, not ready", "age", false},
		{"an age does not hide numbers", "3 users", "4 users", "age", false},
		{"an id", "secret: 6b3e3fe4 is used", "secret: 2573b333 is used", "id", true},
		{"who leads", "led by node1", "led by node2", "leader", true},
		{"who leads does not hide a node", "node1 alive yes yes", "node2 alive - yes", "leader", false},
		{"who leads does not hide a state", "node1 alive yes yes", "node1 absent - yes", "leader", false},
		{"columns", "a  b", "a     b", "age", true},
		{"columns where nothing varies", "a  b", "a     b", "", false},
		{"spaces at the end", "a", "a   ", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := matches(strings.Split(tt.want, "\n"), strings.Split(tt.got, "\n"), strings.Fields(tt.varies))
			if got != tt.same {
				t.Errorf("got %v, want %v", got, tt.same)
			}
		})
	}
}

// TestManualExchange: names are exchanged as whole words, and tables sorted again.
func TestManualExchange(t *testing.T) {
	got := exchanged([]string{"NAME", "main  mail1  up  1", "main  mail2  up  0", "mail1.example.org mail10"}, []string{"mail1=mail2"})
	want := []string{"NAME", "main  mail1  up  0", "main  mail2  up  1", "mail2.example.org mail10"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestManualParser: what cannot be understood is an error, with its line.
func TestManualParser(t *testing.T) {
	for text, want := range map[string]string{
		"```console\nnode1# usher status\n":               "does not end",
		"```console\nusher status\n```\n":                 "begins with a prompt",
		"```console\nnode1# cat <<EOF\na\n```\n":          "no line EOF",
		"<!-- varies: mood -->\n```console\na# b\n```\n":  "varies as \"mood\"",
		"<!-- either: mail1 -->\n```console\na# b\n```\n": "not a pair",
		"<!-- skip: later -->\n":                          "does not know",
	} {
		if _, err := parsePage("x.md", text); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "x.md:") {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	p, err := parsePage("x.md", "```console\nnode1# cat >f <<'EOF'\na# b\nEOF\nnode1# one \\\n  two\nout\n```\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []command{{"node1", "cat >f <<'EOF'\na# b\nEOF", 4, 4}, {"node1", "one \\\n  two", 6, 7}}
	if !slices.Equal(p.blocks[0].commands, want) {
		t.Errorf("got %+v, want %+v", p.blocks[0].commands, want)
	}
}

// FuzzManualPage: no page makes the parser panic, and where it says that output is,
// there are lines.
func FuzzManualPage(f *testing.F) {
	f.Add("# x\n<!-- varies: date -->\n```console\nnode1# cat <<EOF\nEOF\nout\n```\n")
	f.Add("```hosts\n192.0.2.1 a\n```\n```console\na# b \\\nc\n```")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePage("x.md", text)
		if err != nil {
			return
		}
		for _, b := range p.blocks {
			for _, c := range b.commands {
				if c.from > c.to || c.to > b.last || b.last >= len(p.lines) {
					t.Errorf("%+v in a block of lines %d to %d", c, b.first, b.last)
				}
			}
		}
		p.hosts()
	})
}
