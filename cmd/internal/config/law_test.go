package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// everyField calls f for each key of the tree with its path.
func everyField(f func(path string, fd field)) {
	var walk func(path string, t reflect.Type)
	walk = func(path string, t reflect.Type) {
		for _, fd := range fields(t) {
			sub := join(path, fd.key)
			f(sub, fd)
			switch fd.shape() {
			case table:
				walk(sub, fd.typ)
			case tables:
				walk(sub, fd.typ.Elem())
			default: // nothing is below a value
			}
		}
	}
	walk("", reflect.TypeFor[Config]())
}

// The tags are data that no compiler checks.
func TestTags(t *testing.T) {
	everyField(func(path string, f field) {
		v := reflect.New(f.typ).Elem()
		if comments()[f.owner+"."+f.name] == "" {
			t.Errorf("%s has no comment, so it is not in the manual", path)
		}
		if s := f.shape(); s == table || s == tables {
			return
		}
		text, ok := f.tag.Lookup("default")
		if ok == f.required() {
			t.Errorf("%s: want it required, or with a default", path)
		}
		if f.shape() == value {
			if err := f.setText(v, text); ok && err != nil {
				t.Errorf("default of %s: %v", path, err)
			}
			if low, high := f.bounds(); (low != "" || high != "") && !v.CanInt() {
				t.Errorf("%s has a range and no order", path)
			} else if v.CanInt() && v.Kind() != reflect.Uint32 && low == "" {
				t.Errorf("%s has no lower bound", path)
			}
		}
		elem := f.typ
		if f.shape() == values {
			elem = elem.Elem()
		}
		_, isEnum := reflect.Zero(elem).Interface().(enum)
		form := f.tag.Get("form")
		if _, known := forms[form]; elem.Kind() == reflect.String && !isEnum && !known {
			t.Errorf("%s: a text of form %q can hold anything", path, form)
		}
		if isFile := strings.HasSuffix(path, "_file") || strings.HasSuffix(path, "_dir") || path == "admin.socket"; isFile != (form == "path") {
			t.Errorf("%s: keys of files end in _file or _dir, and have the form of a path", path)
		}
	})
}

// TOML reads a key after a table's header as that table's.
func TestValuesStandBeforeTables(t *testing.T) {
	last := map[string]shape{}
	everyField(func(path string, f field) {
		table := plain(path)[:max(0, strings.LastIndexByte(path, '.'))]
		s := f.shape()
		if f.inline() {
			s = value
		}
		if s < last[table] && last[table] >= 2 {
			t.Errorf("%s comes after a table", path)
		}
		last[table] = s
	})
}

func TestKeysAreUnique(t *testing.T) {
	var seen []string
	everyField(func(path string, _ field) {
		if slices.Contains(seen, path) {
			t.Errorf("%s is there twice", path)
		}
		seen = append(seen, path)
	})
	if len(seen) < 50 {
		t.Errorf("only %d keys: the walk does not see the tree", len(seen))
	}
}

// NeedsRestart looks at values outside of lists of tables only.
func TestReloadTags(t *testing.T) {
	everyField(func(path string, f field) {
		if f.tag.Get("reload") == "no" && (f.shape() != value && f.shape() != values || strings.HasPrefix(path, "listener") || strings.HasPrefix(path, "pool")) {
			t.Errorf("%s: NeedsRestart does not see it", path)
		}
	})
}
