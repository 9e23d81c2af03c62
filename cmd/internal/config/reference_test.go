package config

import (
	"flag"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/configuration.md")

// The manual in docs is the one that `usher config` prints.
func TestPage(t *testing.T) {
	const page = "../../../docs/configuration.md"
	want := ReferencePage()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the comments say: run go test ./cmd/internal/config -run TestPage -update", page)
	}
}

func TestReferenceIsValid(t *testing.T) {
	if _, err := Parse("usher.toml", []byte(Reference())); err != nil {
		t.Error(err)
	}
}

// Every key is in the reference, under its header, with a value of its type.
func TestReferenceIsWhole(t *testing.T) {
	commented := regexp.MustCompile(`(?m)^#([a-z0-9_]+ = )`)
	text := commented.ReplaceAllString(Reference(), "$1")
	b := &binder{reporter: reporter{source: source{file: "all"}}, bad: map[string]bool{}}
	data := []byte(text)
	b.keys = locate(data)
	b.table("", b.decode(data), reflect.New(reflect.TypeFor[Config]()).Elem())
	if len(b.found) > 0 {
		t.Errorf("with all keys set:\n%v", b.found)
	}
	have := map[string]bool{}
	for path := range b.keys {
		have[plain(path)] = true
	}
	everyField(func(path string, _ field) {
		if !have[path] {
			t.Errorf("%s is not in the reference", path)
		}
	})
}

// A key without an example shows its default, and with all of them set a file
// means the same as with none.
func TestReferenceShowsDefaults(t *testing.T) {
	var lines []string
	example := false
	for line := range strings.Lines(Reference()) {
		if strings.HasPrefix(line, "#") && strings.Contains(line, " = ") && !strings.HasPrefix(line, "# ") {
			if !example {
				line = strings.TrimPrefix(line, "#")
			}
		}
		example = strings.HasSuffix(line, "Example:\n")
		lines = append(lines, line)
	}
	all := mustParse(t, strings.Join(lines, ""))
	none := mustParse(t, Reference())
	all.source, none.source = source{}, source{}
	if !reflect.DeepEqual(all, none) {
		t.Errorf("got\n%s\nwant\n%s", all.Dump(), none.Dump())
	}
}

func TestComments(t *testing.T) {
	if got, want := comments()["Certificate.CertFile"], "Certificate and the chain below it, PEM.\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := comments()["Pool.Link"]; !strings.HasPrefix(got, "Settings of the connections") {
		t.Errorf("embedded field: got %q", got)
	}
}
