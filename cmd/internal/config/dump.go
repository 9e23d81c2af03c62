package config

import (
	"fmt"
	"io/fs"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Dump is the configuration in force as a TOML file: defaults filled in, back
// ends with all of their link. It has no secrets, only the names of their files.
// Parse reads it back to an equal Config.
func (c *Config) Dump() string {
	var b strings.Builder
	dumpTable(&b, "", reflect.ValueOf(c).Elem())
	return b.String()
}

func dumpTable(b *strings.Builder, path string, v reflect.Value) {
	for _, f := range fields(v.Type()) {
		fv := v.FieldByIndex(f.index)
		sub := join(path, f.key)
		switch f.shape() {
		case value, values:
			fmt.Fprintf(b, "%s = %s\n", f.key, format(fv))
		case table:
			fmt.Fprintf(b, "\n[%s]\n", sub)
			dumpTable(b, sub, fv)
		case tables:
			if f.inline() {
				fmt.Fprintf(b, "%s = %s\n", f.key, format(fv))
				continue
			}
			for i := range fv.Len() {
				fmt.Fprintf(b, "\n%s\n", f.header(sub))
				dumpTable(b, sub, fv.Index(i))
			}
		}
	}
}

// format is a value as the file writes it.
func format(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return strconv.Quote(formatDuration(x))
	case fs.FileMode:
		return fmt.Sprintf(`"%04o"`, x)
	case fmt.Stringer: // netip.Prefix
		return strconv.Quote(x.String())
	}
	switch v.Kind() {
	case reflect.String:
		return strconv.Quote(v.String()) // no control characters: see forms
	case reflect.Slice:
		texts := make([]string, v.Len())
		for i := range texts {
			texts[i] = format(v.Index(i))
		}
		return "[" + strings.Join(texts, ", ") + "]"
	case reflect.Struct:
		var pairs []string
		for _, f := range fields(v.Type()) {
			pairs = append(pairs, f.key+" = "+format(v.FieldByIndex(f.index)))
		}
		return "{ " + strings.Join(pairs, ", ") + " }"
	default: // bool, int
		return fmt.Sprint(v.Interface())
	}
}

// formatDuration leaves out the zeros that time.Duration has at its end.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
