package config

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
)

// FuzzParse holds the laws for any file: no panic, an answer that is either a
// whole Config or Problems, every place in the file, every problem on one line
// without control characters.
func FuzzParse(f *testing.F) {
	example, err := os.ReadFile("../../../docs/usher.example.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		"", "x", "\xef\xbb\xbfdrain = \"1s\"", small, string(example), Reference(),
		"[[pool]]\n[pool.backend]\n[[pool.backend.x]]\n", "a.b.c = 1\n[a.b]\nd = 2\n",
		"listener = [[], {}, [{}]]", "pool = [{ backend = [{ name = \"x\", tls.x = 1 }] }]",
		"\"\" = 1\n'a.b[0]' = 2\n\"\\n\" = 3\n", "[log]\r\nlevel = \"\"\"\r\ninfo\"\"\"\r\n",
		strings.Repeat("a.", 50) + "a = 1", "x = " + strings.Repeat("[", 50) + strings.Repeat("]", 50),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f", data)
		if err == nil {
			if _, err := Parse("f", []byte(c.Dump())); err != nil {
				t.Fatalf("dump of a good file: %v\n%s", err, c.Dump())
			}
			return
		}
		var ps Problems
		if c != nil || !errors.As(err, &ps) || len(ps) == 0 {
			t.Fatalf("got %v and %v, want Problems alone", c, err)
		}
		lines := bytes.Split(data, []byte("\n"))
		for i, p := range ps {
			if p.Line < 1 || p.Line > len(lines) || p.Column < 1 || p.Column > len(lines[p.Line-1])+1 {
				t.Errorf("%v is outside of the file", p)
			}
			if strings.ContainsFunc(p.Message, func(c rune) bool { return c < ' ' }) {
				t.Errorf("control character in %q", p.Message)
			}
			if i > 0 && (p.Line < ps[i-1].Line || p.Line == ps[i-1].Line && p.Column < ps[i-1].Column) {
				t.Errorf("%v comes after %v", p, ps[i-1])
			}
		}
	})
}
