package config

import (
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// A binder puts a decoded document into the tree. It goes on after a problem,
// with the default in place of what is wrong, so that all are found.
type binder struct {
	reporter
	bad     map[string]bool // paths with a problem; what follows from them is no news
	partial bool            // the document is only the beginning of the file
	witness bool            // the file is a witness's, which serves nobody
}

// table fills v, a struct, from the table raw at path.
func (b *binder) table(path string, raw map[string]any, v reflect.Value) {
	fs := fields(v.Type())
	known := make([]string, len(fs))
	for i, f := range fs {
		known[i] = f.key
	}
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		if !slices.Contains(known, key) {
			b.unknown(path, key, known)
		}
	}
	for _, f := range fs {
		x, present := raw[f.key]
		if !present && f.required() && !b.partial {
			b.fail(join(path, f.key), "%s is missing: want %s", f.key, f.want())
		}
		if err := f.setDefault(v.FieldByIndex(f.index)); err != nil {
			b.fail(path, "default of %s: %v", f.key, err)
		}
		b.field(join(path, f.key), f, x, present, v.FieldByIndex(f.index))
	}
}

// field fills v from the value x at path.
func (b *binder) field(path string, f field, x any, present bool, v reflect.Value) {
	switch f.shape() {
	case table:
		m, ok := x.(map[string]any)
		if present && !ok {
			b.fail(path, "%s: want a table, [%s], got %s", f.key, path, describe(x))
		}
		b.table(path, m, v) // also without one: it has defaults
	case tables:
		if present {
			b.tables(path, f, x, v)
		}
	case values:
		if present {
			b.list(path, f, x, v)
		}
	case value:
		if present {
			b.value(path, f, x, v)
		}
	}
}

// tables fills v, a slice of structs.
func (b *binder) tables(path string, f field, x any, v reflect.Value) {
	all, ok := x.([]any)
	if !ok {
		b.fail(path, "%s: want a list of tables, %s, got %s", f.key, f.header(path), describe(x))
		return
	}
	for i, x := range all {
		m, ok := x.(map[string]any)
		if !ok {
			// The rest would be numbered otherwise than in the file.
			b.fail(element(path, i), "%s: want a table, got %s", f.key, describe(x))
			b.bad[path] = true
			return
		}
		v.Grow(1)
		v.SetLen(v.Len() + 1)
		b.table(element(path, i), m, v.Index(v.Len()-1))
	}
}

// list fills v, a slice of simple values.
func (b *binder) list(path string, f field, x any, v reflect.Value) {
	all, ok := x.([]any)
	if !ok {
		b.fail(path, "%s: want a list, each of it %s, got %s", f.key, f.want(), describe(x))
		return
	}
	for i, x := range all {
		elem := reflect.New(v.Type().Elem()).Elem()
		b.value(element(path, i), f, x, elem)
		v.Set(reflect.Append(v, elem))
	}
}

func (b *binder) value(path string, f field, x any, v reflect.Value) {
	if err := f.set(v, x); err != nil {
		b.fail(path, "%s: %v", f.key, err)
		return
	}
	if f.tag.Get("form") == "path" && v.String() != "" && !filepath.IsAbs(v.String()) {
		v.SetString(filepath.Join(filepath.Dir(b.file), v.String()))
	}
}

// unknown reports a key that its table does not have, with the key that was
// meant, or the table that has it, or else all that the table has.
func (b *binder) unknown(path, key string, known []string) {
	b.bad[join(path, key)] = true
	hint := suggestion(key, known)
	if hint == "" {
		if where := homes()[key]; len(where) > 0 {
			hint = "; it belongs in " + strings.Join(where, " and ")
		} else {
			hint = "; allowed here: " + strings.Join(known, ", ")
		}
	}
	b.at(join(path, key), "unknown key %s%s", describe(key), hint)
}

// fail reports a problem of the key at path and remembers it.
func (b *binder) fail(path, format string, args ...any) {
	b.bad[path] = true
	b.at(path, format, args...)
}

// rule is at for what the keys mean together. It is silent where the key, or a
// table around it, is already known to be wrong.
func (b *binder) rule(path, format string, args ...any) {
	if !b.bad[path] {
		b.at(path, format, args...)
	}
}

// setDefault sets what the file need not say.
func (f field) setDefault(v reflect.Value) error {
	text, ok := f.tag.Lookup("default")
	if !ok || f.shape() != value {
		return nil // lists start empty
	}
	return f.setText(v, text)
}

// header is how a file opens one of the tables of f.
func (f field) header(path string) string {
	if f.inline() {
		return f.key + " = [{ … }]"
	}
	return "[[" + plain(path) + "]]"
}

// plain is path as a table header names it, without numbers.
func plain(path string) string {
	for {
		open := strings.IndexByte(path, '[')
		if open < 0 {
			return path
		}
		end := strings.IndexByte(path[open:], ']')
		if end < 0 {
			return path
		}
		path = path[:open] + path[open+end+1:]
	}
}

// homes are the headers of the tables that have each key.
var homes = sync.OnceValue(func() map[string][]string {
	found := map[string][]string{}
	var walk func(t reflect.Type, path, header string)
	walk = func(t reflect.Type, path, header string) {
		for _, f := range fields(t) {
			found[f.key] = append(found[f.key], header)
			sub := join(path, f.key)
			switch f.shape() {
			case table:
				walk(f.typ, sub, "["+sub+"]")
			case tables:
				walk(f.typ.Elem(), sub, f.header(sub))
			default: // nothing is below a value
			}
		}
	}
	walk(reflect.TypeFor[Config](), "", "the top of the file, before all tables")
	return found
})
