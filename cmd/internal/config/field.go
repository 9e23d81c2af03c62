package config

import (
	"reflect"
	"strings"
)

// A field is a key of a table, as its struct field describes it.
type field struct {
	key   string
	index []int // for reflect.Value.FieldByIndex
	typ   reflect.Type
	tag   reflect.StructTag

	owner, name string // struct type and Go name, to find the comment
}

// fields lists the keys of the table that t stands for, in the order of the
// manual. The fields of an embedded struct are keys of the same table.
func fields(t reflect.Type) []field {
	var fs []field
	for _, sf := range reflect.VisibleFields(t) {
		key, ok := sf.Tag.Lookup("toml")
		if !ok {
			continue // embedded, or not of the file
		}
		owner := t
		if n := len(sf.Index); n > 1 {
			owner = t.FieldByIndex(sf.Index[:n-1]).Type
		}
		fs = append(fs, field{
			key: key, index: sf.Index, typ: sf.Type, tag: sf.Tag,
			owner: owner.Name(), name: sf.Name,
		})
	}
	return fs
}

// A shape is how the value of a field is written.
type shape uint8

const (
	value  shape = iota // key = value
	values              // key = [value, …]
	table               // [key]
	tables              // [[key]], or key = [{…}, …]
)

func (f field) shape() shape {
	slice := f.typ.Kind() == reflect.Slice
	elem := f.typ
	if slice {
		elem = f.typ.Elem()
	}
	isTable := elem.Kind() == reflect.Struct && !isText(elem)
	switch {
	case slice && isTable:
		return tables
	case slice:
		return values
	case isTable:
		return table
	default:
		return value
	}
}

// inline reports whether the tables of f are written into a list, whose key is
// a plural, rather than under headers of their own.
func (f field) inline() bool { return f.shape() == tables && strings.HasSuffix(f.key, "s") }

func (f field) required() bool { return f.tag.Get("required") == "yes" }

// low and high are the bounds of the range; empty where there is none.
func (f field) bounds() (low, high string) {
	low, high, _ = strings.Cut(f.tag.Get("range"), "..")
	return low, high
}
