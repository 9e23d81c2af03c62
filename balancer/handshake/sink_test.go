package handshake_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"

	"usher.example/balancer/handshake"
)

func TestSink(t *testing.T) {
	random, other := strings.Repeat("ab", 32), strings.Repeat("ac", 32)
	s32, s48 := strings.Repeat("01", 32), strings.Repeat("02", 48)
	for _, tt := range []struct {
		name  string
		lines []string
		n     int
		odd   bool
	}{
		{"nothing", nil, 0, false},
		{"TLS 1.2", []string{"CLIENT_RANDOM " + random + " " + s48}, 1, false},
		{"TLS 1.3", []string{
			"CLIENT_HANDSHAKE_TRAFFIC_SECRET " + random + " " + s32, "SERVER_HANDSHAKE_TRAFFIC_SECRET " + random + " " + s32,
			"CLIENT_TRAFFIC_SECRET_0 " + random + " " + s48, "SERVER_TRAFFIC_SECRET_0 " + random + " " + s48,
		}, 4, false},
		{"a label of the future", []string{"NEW_SECRET " + random + " " + s32}, 0, false},
		{"a label alone", []string{"CLIENT_RANDOM"}, 0, true},
		{"no secret", []string{"CLIENT_TRAFFIC_SECRET_0 " + random + " "}, 0, true},
		{"a short random", []string{"CLIENT_TRAFFIC_SECRET_0 ab " + s32}, 0, true},
		{"not hexadecimal", []string{"CLIENT_TRAFFIC_SECRET_0 " + random + " " + strings.Repeat("xx", 32)}, 0, true},
		{"nor the random", []string{"CLIENT_TRAFFIC_SECRET_0 " + strings.Repeat("xx", 32) + " " + s32}, 0, true},
		{"half an octet", []string{"CLIENT_TRAFFIC_SECRET_0 " + random + " " + s32 + "0"}, 0, true},
		{"too long", []string{"CLIENT_TRAFFIC_SECRET_0 " + random + " " + s48 + "00"}, 0, true},
		{"a short master secret", []string{"CLIENT_RANDOM " + random + " " + s32}, 0, true},
		{"two handshakes", []string{"CLIENT_TRAFFIC_SECRET_0 " + random + " " + s32, "SERVER_TRAFFIC_SECRET_0 " + other + " " + s32}, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, secrets := handshake.NewSink()
			for _, line := range tt.lines {
				b := []byte(line + "\n")
				if n, err := w.Write(b); n != len(b) || err != nil {
					t.Errorf("write: %d, %v", n, err)
				}
				if !bytes.Equal(b, make([]byte, len(b))) {
					t.Errorf("the line is still there: %q", b)
				}
			}
			if n, odd := secrets(); n != tt.n || odd != tt.odd {
				t.Errorf("%d secrets, odd %v, want %d, %v", n, odd, tt.n, tt.odd)
			}
		})
	}
}

// TestKeyLogsStayInMemory reads all code that is shipped: a KeyLogWriter may be
// set in this package only, and there to nothing or to a sink.
func TestKeyLogsStayInMemory(t *testing.T) {
	const name = "KeyLogWriter"
	allowed := 0
	root := os.DirFS("../..")
	err := fs.WalkDir(root, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && file != "." && strings.HasPrefix(entry.Name(), ".") {
			return fs.SkipDir
		}
		if path.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		text, err := fs.ReadFile(root, file)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, 0)
		if err != nil {
			return err
		}
		mentions := 0
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Ident:
				if n.Name == name {
					mentions++
				}
			case *ast.AssignStmt:
				for i, left := range n.Lhs {
					sel, ok := left.(*ast.SelectorExpr)
					if !ok || sel.Sel.Name != name || len(n.Rhs) != len(n.Lhs) {
						continue
					}
					value, ok := n.Rhs[i].(*ast.Ident)
					if ok && path.Dir(file) == "balancer/handshake" && (value.Name == "nil" || value.Name == "secrets") {
						mentions--
						allowed++
					}
				}
			}
			return true
		})
		if mentions != 0 {
			t.Errorf("%s: %s is used in a way that is not known to stay in memory", file, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if allowed < 3 {
		t.Errorf("%d places set it, which are fewer than there are: this looks at the wrong place", allowed)
	}
}

// FuzzTape holds the law of a tape: it does not care how the bytes were cut, and
// keeps no more than it may.
func FuzzTape(f *testing.F) {
	f.Add([]byte{22, 3, 1, 0, 2, 1, 2, 20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 3, 1, 2, 3}, 3, 64)
	f.Add([]byte{22, 3, 1, 0, 0, 20, 3, 3, 0, 0, 22, 3, 3, 0, 1, 9, 23, 3, 3, 0xff, 0xff, 1}, 1, 10)
	f.Fuzz(func(t *testing.T, stream []byte, n, limit int) {
		n, limit = max(1, n), max(0, limit)
		kept, lost, hello := handshake.Follow(stream, n, limit)
		kept2, lost2, hello2 := handshake.FollowWhole(stream, limit)
		if !bytes.Equal(kept, kept2) || lost != lost2 || !bytes.Equal(hello, hello2) {
			t.Errorf("cut by %d: %x %v %x, else %x %v %x", n, kept, lost, hello, kept2, lost2, hello2)
		}
		if len(kept) > limit {
			t.Errorf("kept %d of %d", len(kept), limit)
		}
	})
}
