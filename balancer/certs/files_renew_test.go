package certs

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestRenewFiles has files read again by order, where nobody watches them.
func TestRenewFiles(t *testing.T) {
	i, dir := newIssuer(t), t.TempDir()
	i.write(dir, "a", wanted{names: []string{"a.example.org"}})
	k := keep(t, nil, pairOf(dir, "a"))
	second := i.write(dir, "a", wanted{names: []string{"a.example.org"}})
	if err := k.Renew(t.Context(), "a.example.org", false); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, k, "a.example.org"); got != serial(second) {
		t.Errorf("got %s, want the new one", got)
	}
	put(t, filepath.Join(dir, "a.key"), "nonsense")
	if err := k.Renew(t.Context(), "a.example.org", false); err == nil || !strings.Contains(err.Error(), "a.key") {
		t.Errorf("got %v, want the file that is of no use", err)
	}
	if got := ask(t, k, "a.example.org"); got != serial(second) {
		t.Errorf("got %s, want the one before to stay", got)
	}
}
