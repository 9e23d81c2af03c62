package certstore_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// sentences are what certmagic's storage.go says of Storage, Locker and what belongs to
// them, in the version that is built in.
func sentences(t *testing.T) []string {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/caddyserver/certmagic").Output()
	if err != nil {
		t.Fatalf("find certmagic: %v", err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(strings.TrimSpace(string(dir)), "storage.go"), nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	add := func(doc *ast.CommentGroup) {
		text := strings.Join(strings.Fields(doc.Text()), " ")
		if text != "" {
			list = append(list, strings.Split(ends.ReplaceAllString(text, ".\n$1"), "\n")...)
		}
	}
	for _, d := range file.Decls {
		types, ok := d.(*ast.GenDecl)
		if !ok || types.Tok != token.TYPE {
			continue
		}
		for _, s := range types.Specs {
			spec := s.(*ast.TypeSpec) // of a type declaration
			if !ast.IsExported(spec.Name.Name) || spec.Name.Name == "KeyBuilder" {
				continue // it makes keys, and stores nothing
			}
			add(types.Doc)
			ast.Inspect(spec, func(n ast.Node) bool {
				if f, ok := n.(*ast.Field); ok {
					add(f.Doc)
					add(f.Comment)
				}
				return true
			})
		}
	}
	return list
}

// ends is where a sentence ends and another begins.
var ends = regexp.MustCompile(`\. +([A-Z])`)
