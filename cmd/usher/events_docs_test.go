package main_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// eventDocs is where every code of an event is explained.
const eventDocs = "docs/events.md"

// A coded is a code as the source has it.
type coded struct {
	where  string
	levels []string // as far as the call says
	attrs  []string
}

// TestEventDocs holds the codes of the source and those of the manual equal, both ways,
// with levels and attributes: | `code` | level | meaning | attributes | what to do |.
func TestEventDocs(t *testing.T) {
	found := eventCodes(t)
	rows := map[string][]string{}
	for line := range strings.Lines(read(t, eventDocs)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 7 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			continue
		}
		code := strings.Trim(strings.TrimSpace(cells[1]), "`")
		if rows[code] != nil {
			t.Errorf("%s has %s twice", eventDocs, code)
		}
		rows[code] = cells[2:6]
		for _, c := range rows[code] {
			if strings.TrimSpace(c) == "" {
				t.Errorf("%s: %s has an empty cell", eventDocs, code)
			}
		}
	}
	for code, c := range found {
		row := rows[code]
		if row == nil {
			t.Errorf("%s: event %s (%s; %s) is not in %s", c.where, code, strings.Join(c.levels, " "), strings.Join(c.attrs, " "), eventDocs)
			continue
		}
		for _, level := range c.levels {
			if !strings.Contains(row[0], level) {
				t.Errorf("%s: %s has level %s, and in %s %s", c.where, code, level, eventDocs, row[0])
			}
		}
		for _, a := range c.attrs {
			if !strings.Contains(row[2], "`"+a+"`") {
				t.Errorf("%s: %s has an attribute %s, which %s does not name", c.where, code, a, eventDocs)
			}
		}
	}
	for code := range rows {
		if found[code] == nil {
			t.Errorf("%s explains %s, which nothing logs", eventDocs, code)
		}
	}
	if len(found) < 50 {
		t.Errorf("only %d codes are found: the source is not read rightly", len(found))
	}
}

// eventCodes finds all codes: what follows "event" in a call, what is given to those
// functions that choose a code, and fields named event.
func eventCodes(t *testing.T) map[string]*coded {
	t.Helper()
	found := map[string]*coded{}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata"):
			return fs.SkipDir
		case entry.IsDir() || path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, read(t, name), 0)
		if err != nil {
			return err
		}
		note := func(e ast.Expr, levels, attrs []string) {
			for _, code := range literals(e) {
				c := found[code]
				if c == nil {
					c = &coded{where: name}
					found[code] = c
				}
				c.levels, c.attrs = append(c.levels, levels...), append(c.attrs, attrs...)
			}
		}
		chosen := map[string]ast.Expr{} // maps that are looked into for a code
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if id, ok := n.Lhs[0].(*ast.Ident); ok && id.Name == "code" && len(n.Rhs) == 1 {
					if _, isMap := n.Rhs[0].(*ast.CompositeLit); isMap {
						chosen["code"] = n.Rhs[0]
					}
				}
			case *ast.KeyValueExpr:
				if id, ok := n.Key.(*ast.Ident); ok && id.Name == "event" {
					note(n.Value, nil, nil)
				}
			case *ast.CallExpr:
				callee := ""
				switch f := n.Fun.(type) {
				case *ast.Ident:
					callee = f.Name
				case *ast.SelectorExpr:
					callee = f.Sel.Name
				}
				if callee == "outcomeOf" || callee == "pendingOr" {
					for _, a := range n.Args {
						note(a, nil, nil)
					}
				}
				for i := 0; i+1 < len(n.Args); i++ {
					if text(n.Args[i]) != "event" {
						continue
					}
					var levels, attrs []string
					if slices.Contains([]string{"Info", "Warn", "Error"}, callee) {
						levels = []string{strings.ToLower(callee)}
						for j := i + 2; j+1 < len(n.Args); j += 2 {
							attrs = append(attrs, text(n.Args[j]))
						}
						for j := 1; j < i; j += 2 {
							attrs = append(attrs, text(n.Args[j]))
						}
					}
					code := n.Args[i+1]
					if at, ok := code.(*ast.IndexExpr); ok {
						if id, ok := at.X.(*ast.Ident); ok && chosen[id.Name] != nil {
							code = chosen[id.Name]
						}
					}
					note(code, levels, attrs)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// literals are the strings in an expression, of a map its values.
func literals(e ast.Expr) []string {
	var list []string
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.KeyValueExpr:
			list = append(list, literals(n.Value)...)
			return false
		case *ast.BasicLit:
			if s := text(n); s != "" {
				list = append(list, s)
			}
		}
		return true
	})
	return list
}

// text is a string as it is written in the source; else nothing.
func text(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	s, err := strconv.Unquote(lit.Value)
	if err != nil {
		return ""
	}
	return s
}
