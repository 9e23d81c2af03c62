package config

import (
	"embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"sync"
)

// tree is the source of the structs, for their comments: what a developer reads
// there and an operator reads in the manual cannot differ.
//
//go:embed acme.go api.go certificate.go config.go fleet.go guard.go listener.go pool.go
var tree embed.FS

// comments are those of the tree's fields, by struct and field: "Log.Level".
// The source that does not parse did not compile, so that is a panic.
var comments = sync.OnceValue(func() map[string]string {
	found := map[string]string{}
	entries, err := tree.ReadDir(".")
	if err != nil {
		panic(fmt.Sprintf("config: embedded source: %v", err))
	}
	for _, e := range entries {
		src, err := tree.ReadFile(e.Name())
		if err != nil {
			panic(fmt.Sprintf("config: embedded source: %v", err))
		}
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			panic(fmt.Sprintf("config: embedded source: %v", err))
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				structComments(found, spec)
			}
			return true
		})
	}
	return found
})

func structComments(found map[string]string, spec *ast.TypeSpec) {
	st, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, f := range st.Fields.List {
		names := f.Names
		if len(names) == 0 { // embedded: its type is its name
			if id, ok := f.Type.(*ast.Ident); ok {
				names = []*ast.Ident{id}
			}
		}
		for _, name := range names {
			found[spec.Name.Name+"."+name.Name] = f.Doc.Text()
		}
	}
}
