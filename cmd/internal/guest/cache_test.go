package guest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestLoadVerifies(t *testing.T) {
	want := recipe{name: "kernel", suite: "suite", pkg: "pkg", major: 1, minor: 2}
	install := func(t *testing.T) string {
		k := kernel{
			Package: want.pkg, Version: "1.2", Recipe: want.String(),
			Sums: map[string]string{}, dir: t.TempDir(),
		}
		modules := &moduleSet{order: []string{"b", "a"}, data: map[string][]byte{"a": []byte("A"), "b": []byte("B")}}
		if err := k.write([]byte("image"), modules); err != nil {
			t.Fatal(err)
		}
		return k.dir
	}
	for _, tt := range []struct {
		name  string
		spoil func(dir string) error
		ok    bool
	}{
		{"as it was written", func(string) error { return nil }, true},
		{"a changed kernel", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, imageName), []byte("imagE"), 0o755)
		}, false},
		{"a cut module", func(dir string) error { return os.Truncate(filepath.Join(dir, "a.ko"), 0) }, false},
		{"a missing module", func(dir string) error { return os.Remove(filepath.Join(dir, "b.ko")) }, false},
		{"a cut manifest", func(dir string) error { return os.Truncate(filepath.Join(dir, manifestName), 10) }, false},
		{"nothing", os.RemoveAll, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := install(t)
			if err := tt.spoil(dir); err != nil {
				t.Fatal(err)
			}
			k, err := want.load(dir)
			if (err == nil) != tt.ok {
				t.Fatalf("got %v, want no error: %v", err, tt.ok)
			}
			if tt.ok && (len(k.Modules) != 2 || k.Modules[0] != "b.ko" || k.String() != "pkg 1.2") {
				t.Errorf("got %+v", k)
			}
		})
	}
	newer := want
	newer.minor++
	if _, err := newer.load(install(t)); err == nil {
		t.Error("a kernel was taken that another recipe has made")
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	late, cancel := context.WithTimeout(t.Context(), 2*lockInterval)
	defer cancel()
	if _, err := lock(late, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a taken lock: got %v, want %v", err, context.DeadlineExceeded)
	}
	unlock()
	again, err := lock(t.Context(), path)
	if err != nil {
		t.Fatalf("a lock that was given back: %v", err)
	}
	again()
}
