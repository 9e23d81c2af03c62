package config

import (
	"bytes"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// A position is a place in the file. Lines and columns count from 1, columns
// in bytes. The zero value is no place: of a Config that code has made.
type position struct {
	line, column int
}

// A source tells where each key of a Config was written.
type source struct {
	file string
	keys map[string]position // by path, such as listener[0].address
}

// has reports whether the file itself sets the key, rather than a default.
func (s source) has(path string) bool {
	_, ok := s.keys[path]
	return ok
}

// position is the place of path or of the innermost table around it; the first
// of the file if there is none, and none if there is no file.
func (s source) position(path string) position {
	for path != "" {
		if pos, ok := s.keys[path]; ok {
			return pos
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	if s.keys == nil {
		return position{}
	}
	return position{1, 1}
}

// maxDepth is how many levels of tables and lists are given places. The tree
// has five (pool, its number, backend, its number, key). It also keeps the
// paths of a nonsensical file from growing with the square of its size.
const maxDepth = 8

// join is the path of a key in the table at path. A key that is no bare TOML
// key is quoted, so that it cannot pass for a path.
func join(path, key string) string {
	if !bare(key) {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// lastKey is the key at the end of a path of bare keys.
func lastKey(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

func element(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

func bare(key string) bool {
	for _, c := range []byte(key) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return key != ""
}

// A locator walks the syntax tree of a document and notes where its keys and
// values stand. The library that decodes does not tell.
type locator struct {
	parser unstable.Parser
	keys   map[string]position
	counts map[string]int // of the tables in each array of tables
	table  string         // path of the current one
	depth  int            // of that path
	lines  lines
}

// locate finds the keys of data as far as it can be parsed.
func locate(data []byte) map[string]position {
	l := &locator{keys: map[string]position{}, counts: map[string]int{}, lines: newLines(data)}
	l.parser.Reset(data)
	for l.parser.NextExpression() {
		switch e := l.parser.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable:
			l.header(e)
		case unstable.KeyValue:
			l.keyValue(e, l.table, l.depth)
		default: // nothing else is an expression
		}
	}
	return l.keys
}

// header enters the table that [a.b] or [[a.b]] names. Each part that is an
// array of tables stands for its last table.
func (l *locator) header(e *unstable.Node) {
	l.table, l.depth = "", 0
	for it := e.Key(); it.Next(); {
		if l.depth++; l.depth > maxDepth {
			continue
		}
		k := it.Node()
		l.table = join(l.table, string(k.Data))
		l.note(l.table, k.Raw)
		switch n := l.counts[l.table]; {
		case it.IsLast() && e.Kind == unstable.ArrayTable:
			l.counts[l.table]++
			l.table = element(l.table, n)
			l.note(l.table, k.Raw)
		case n > 0:
			l.table = element(l.table, n-1)
		}
	}
}

// keyValue notes a possibly dotted key and what its value holds.
func (l *locator) keyValue(e *unstable.Node, path string, depth int) {
	for it := e.Key(); it.Next(); {
		if depth++; depth > maxDepth {
			return
		}
		path = join(path, string(it.Node().Data))
		l.note(path, it.Node().Raw)
	}
	l.value(e.Value(), path, depth)
}

func (l *locator) value(v *unstable.Node, path string, depth int) {
	if depth++; depth > maxDepth {
		return
	}
	it := v.Children()
	switch v.Kind {
	case unstable.Array:
		for i := 0; it.Next(); i++ {
			child := it.Node()
			path := element(path, i)
			if child.Raw.Length > 0 { // a list or table has its keys only
				l.note(path, child.Raw)
			}
			l.value(child, path, depth)
		}
	case unstable.InlineTable:
		for it.Next() {
			l.keyValue(it.Node(), path, depth)
		}
	default: // a value has nothing below it
	}
}

// note keeps the first place of a path: the header of a table, not the ones of
// the tables in it.
func (l *locator) note(path string, raw unstable.Range) {
	if _, ok := l.keys[path]; !ok {
		l.keys[path] = l.lines.position(int(raw.Offset))
	}
}

// lines are the offsets at which the lines of a document begin.
type lines []int

func newLines(data []byte) lines {
	starts := lines{0}
	for i := 0; ; {
		n := bytes.IndexByte(data[i:], '\n')
		if n < 0 {
			return starts
		}
		i += n + 1
		starts = append(starts, i)
	}
}

func (ls lines) position(offset int) position {
	i := sort.SearchInts(ls, offset+1) - 1 // the last that begins at or before offset
	return position{i + 1, offset - ls[i] + 1}
}
