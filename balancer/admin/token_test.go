package admin_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"usher.example/balancer/admin"
)

// newToken makes one, and its line.
func newToken(t *testing.T, name string, role admin.Role) (text, line string) {
	t.Helper()
	text, line, err := admin.NewToken(name, role)
	if err != nil {
		t.Fatal(err)
	}
	return text, line + "\n"
}

func TestTokens(t *testing.T) {
	ann, annLine := newToken(t, "ann", admin.RoleRead)
	bob, bobLine := newToken(t, "bob@example.org", admin.RoleOperate)
	bob2, bobLine2 := newToken(t, "bob@example.org", admin.RoleOperate)
	if strings.Contains(annLine, ann) || strings.Contains(annLine, strings.TrimPrefix(ann, "usher_")) {
		t.Error("the line has the token in it")
	}
	all, err := admin.ParseTokens([]byte("# who may\n\n" + annLine + "  " + bobLine + strings.TrimSuffix(bobLine2, "\n")))
	if err != nil || all.Len() != 3 {
		t.Fatalf("got %d tokens, %v", all.Len(), err)
	}
	for _, tt := range []struct {
		text string
		name string
		role admin.Role
	}{
		{ann, "ann", admin.RoleRead},
		{bob, "bob@example.org", admin.RoleOperate},
		{bob2, "bob@example.org", admin.RoleOperate},
		{"", "", ""},
		{ann[:len(ann)-1], "", ""},
		{ann + "A", "", ""},
		{strings.ToUpper(ann), "", ""},
		{strings.Fields(annLine)[2], "", ""}, // who has the file has no token
	} {
		c, ok := all.Find(tt.text)
		if ok != (tt.name != "") || c.Name != tt.name || c.Role != tt.role {
			t.Errorf("%q: got %+v, %v", tt.text, c, ok)
		}
	}
}

// TestWeakTokens: a hash that somebody has made of a word lets nobody in.
func TestWeakTokens(t *testing.T) {
	all, err := admin.ParseTokens([]byte("ann read sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8\n"))
	if err != nil || all.Len() != 1 {
		t.Fatal(err)
	}
	if _, ok := all.Find("password"); ok {
		t.Error("it is let in")
	}
}

// TestCompareTakesTheSameTime: each token is compared with the hashes of all, by a
// function of constant time, wherever the right one is and whether there is one.
func TestCompareTakesTheSameTime(t *testing.T) {
	var file strings.Builder
	var texts []string
	for range 50 {
		text, line := newToken(t, "ann", admin.RoleRead)
		texts = append(texts, text)
		file.WriteString(line)
	}
	all, err := admin.ParseTokens([]byte(file.String()))
	if err != nil {
		t.Fatal(err)
	}
	n := admin.CountCompares(t)
	for _, text := range []string{texts[0], texts[49], "", "usher_" + strings.Repeat("x", 43)} {
		*n = 0
		all.Find(text)
		if *n != 50 {
			t.Errorf("%d comparisons, want 50", *n)
		}
	}
}

func TestBadTokens(t *testing.T) {
	_, line := newToken(t, "ann", admin.RoleRead)
	hash := strings.Fields(line)[2]
	for _, tt := range []struct{ name, text, want string }{
		{"two words", "ann read", "line 1: want a name, a role and a hash"},
		{"four", line + "bob read " + hash + " x", "line 2: want a name"},
		{"role", "ann root " + hash, `role "root" is none: want read or operate`},
		{"socket", "ann socket " + hash, `role "socket" is none`},
		{"name", "an\x1bn read " + hash, "a caller's name has 1 to 64 letters"},
		{"long", strings.Repeat("a", 65) + " read " + hash, "a caller's name"},
		{"token in place of its hash", "ann read usher_abc", "not the token"},
		{"short hash", "ann read " + hash[:20], "64 hexadecimal digits"},
		{"twice", line + "bob read " + hash, "line 2: the same token is there above"},
		{"two roles", line + "ann operate sha256:" + strings.Repeat("0", 64), "line 2: the name has another role above"},
		{"large", strings.Repeat("#\n", 200<<10), "more than"},
	} {
		_, err := admin.ParseTokens([]byte(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, _, err := admin.NewToken("a b", admin.RoleRead); err == nil {
		t.Error("a name with a space is taken")
	}
	if _, _, err := admin.NewToken("ann", admin.RoleSocket); err == nil {
		t.Error("a token of the socket's role is made")
	}
}

func TestTokenFileMode(t *testing.T) {
	_, line := newToken(t, "ann", admin.RoleRead)
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, good := range map[os.FileMode]bool{0o600: true, 0o640: true, 0o400: true, 0o644: false, 0o660: false, 0o602: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := admin.ReadTokens(path); (err == nil) != good {
			t.Errorf("mode %04o: got %v", mode, err)
		}
	}
	if _, err := admin.ReadTokens(t.TempDir()); err == nil {
		t.Error("a directory is read")
	}
}

// FuzzTokens: whatever is in a file, what is taken from it are names that can be logged
// and roles that can be given, and nobody gets in by what stands there.
func FuzzTokens(f *testing.F) {
	f.Add([]byte("# a\nann read sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8\n"))
	f.Add([]byte("ann operate sha256:\nbob"))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := admin.ParseTokens(text)
		if err != nil && all.Len() != 0 {
			t.Errorf("%d tokens beside an error", all.Len())
		}
		for word := range strings.FieldsSeq(string(text)) {
			if c, ok := all.Find(word); ok {
				t.Errorf("%q is %+v", word, c)
			}
		}
	})
}
