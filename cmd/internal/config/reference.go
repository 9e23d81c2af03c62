package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

const referenceHead = `# usher.toml: every key, what it means and what it may be.
#
# A key behind "#" has the value that it has when it is left out, unless an
# example is announced. Relative paths start from the directory of this file.
# "usher check" tells all that is wrong with a file, "usher config" prints this
# one. SIGHUP takes up what changed, except where it says restart.
`

// Reference is the manual: one valid TOML file with every key, explained.
func Reference() string {
	w := &referenceWriter{told: map[string]bool{}}
	w.WriteString(referenceHead)
	w.table("", reflect.TypeFor[Config]())
	return w.String()
}

// ReferencePage is the Reference as docs/configuration.md has it.
func ReferencePage() string {
	return "# Configuration\n\n" +
		"usher reads one file, `" + DefaultPath + "` or that of `-c`. A small one is `usher.example.toml`, next to\n" +
		"this page; here is every key there is. The page is written from the program: `usher config`\n" +
		"prints the same.\n\n```toml\n" + Reference() + "```\n"
}

// A referenceWriter writes the manual of a table and what is in it.
type referenceWriter struct {
	strings.Builder
	told map[string]bool // fields that were explained, by struct and name
}

func (w *referenceWriter) table(path string, t reflect.Type) {
	group := ""
	for _, f := range fields(t) {
		if f.owner != t.Name() && f.owner != group { // the keys of an embedded struct begin
			group = f.owner
			w.text("\n# ", comments()[t.Name()+"."+f.owner])
		}
		w.field(path, f)
	}
}

func (w *referenceWriter) field(path string, f field) {
	id := f.owner + "." + f.name
	path = join(path, f.key)
	switch s := f.shape(); {
	case s == table:
		w.text("\n\n# ", comments()[id])
		fmt.Fprintf(w, "[%s]\n", plain(path))
		w.table(path, f.typ)
	case s == tables && !f.inline():
		w.text("\n\n# ", comments()[id])
		fmt.Fprintf(w, "%s\n", f.header(path))
		w.table(path, f.typ.Elem())
	case w.told[id]: // the second time, no more than the name
		fmt.Fprintf(w, "#%s = %s\n", f.key, f.written(f.tag.Get("default")))
	default:
		w.told[id] = true
		w.text("\n# ", comments()[id])
		w.text("# ", f.facts())
		if !f.required() && f.tag.Get("live") != "yes" {
			w.WriteByte('#')
		}
		fmt.Fprintf(w, "%s = %s\n", f.key, f.sample())
	}
}

// text writes the lines of s as comments; the first prefix may begin with
// empty lines.
func (w *referenceWriter) text(prefix, s string) {
	for line := range strings.Lines(s) {
		w.WriteString(strings.TrimRight(prefix+strings.TrimSpace(line), " ") + "\n")
		prefix = "# "
	}
}

// facts are what the tags say about a key.
func (f field) facts() string {
	var facts []string
	if f.required() {
		facts = append(facts, "Required.")
	}
	t := f.typ
	if f.shape() == values {
		t = t.Elem()
	}
	if e, ok := reflect.Zero(t).Interface().(enum); ok {
		facts = append(facts, "Allowed: "+quoted(e.Allowed())+".")
	} else if r := f.rangeText(); r != "" {
		facts = append(facts, "Allowed: "+r+".")
	}
	if f.tag.Get("reload") == "no" {
		facts = append(facts, "To change it, restart.")
	}
	if text, ok := f.tag.Lookup("default"); ok && f.tag.Get("example") != "" {
		if text == "" {
			text = "empty"
		}
		facts = append(facts, "Default: "+text+". Example:")
	} else if f.shape() == tables {
		facts = append(facts, "Default: none. Example:")
	}
	return strings.Join(facts, " ")
}

// sample is the value that the reference shows: an example, or else the
// default.
func (f field) sample() string {
	if text := f.tag.Get("example"); text != "" {
		return f.written(text)
	}
	return f.written(f.tag.Get("default"))
}

// written is the text of a tag as the file has it. Tags have lists as they are.
func (f field) written(text string) string {
	if f.shape() == value && isText(f.typ) {
		return strconv.Quote(text)
	}
	return text
}
