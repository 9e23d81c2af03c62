package certs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A look at files that have not changed makes no pair again, which would check all
// signatures of a directory each minute; one that has changed, or whose key was opened
// to others, is seen.
func TestLookAgain(t *testing.T) {
	i, dir := newIssuer(t), t.TempDir()
	i.write(dir, "a", wanted{names: []string{"a.example.org"}})
	key := filepath.Join(dir, "a.key")
	for name, r := range map[string]reader{
		"pair":   &pairReader{certFile: filepath.Join(dir, "a.pem"), keyFile: key},
		"folder": &folderReader{root: dir},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Now().Add(time.Hour) // the marks can be trusted by then
			look := func() *pair {
				t.Helper()
				found := r.read(now)
				if len(found.pairs) != 1 || len(found.troubles) > 0 {
					t.Fatalf("got %+v", found)
				}
				return found.pairs[0]
			}
			if err := os.Chmod(key, 0o600); err != nil {
				t.Fatal(err)
			}
			first := look()
			first.status.Problem = "said of this one"
			again := look()
			if again.cert != first.cert || again == first || again.status.Problem != "" {
				t.Errorf("got %+v, made anew: %v", again.status, again.cert != first.cert)
			}
			if err := os.Chmod(key, 0o644); err != nil {
				t.Fatal(err)
			}
			if open := look(); !strings.Contains(open.status.Problem, "others can read the key") {
				t.Errorf("a key for all to read: got %+v", open.status)
			}
			want := i.write(dir, "a", wanted{names: []string{"a.example.org"}})
			if newer := look(); serial(newer.leaf()) != serial(want) {
				t.Errorf("got %s, want %s", serial(newer.leaf()), serial(want))
			}
		})
	}
}
