package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// At every step of a rotation, a node that has done it and one that has not open
// what the other seals, and believe its certificate.
func TestRotateSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := CreateSecretFile(path); err != nil {
		t.Fatal(err)
	}
	before, err := ReadSecrets(path)
	if err != nil {
		t.Fatal(err)
	}
	first := before[0]
	for _, step := range []RotateStep{RotateAdd, RotatePromote, RotateDrop} {
		for _, wrong := range []RotateStep{RotateAdd, RotatePromote, RotateDrop} {
			if wrong == step {
				continue
			}
			if err := RotateSecretFile(path, wrong); err == nil || !strings.Contains(err.Error(), "the next step is "+string(step)) {
				t.Errorf("%s instead of %s: got %v", wrong, step, err)
			}
		}
		if err := RotateSecretFile(path, step); err != nil {
			t.Fatal(err)
		}
		after, err := ReadSecrets(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, way := range [][2][]Secret{{before, after}, {after, before}} {
			if _, _, err := open(way[1], "x", seal(way[0], "x", []byte("y"))); err != nil {
				t.Errorf("%s: %v", step, err)
			}
		}
		before = after
	}
	if len(before) != 1 || before[0] == first {
		t.Error("the secret is the first one")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestCreateSecretOverwritesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := CreateSecretFile(path); err == nil || !strings.Contains(err.Error(), "--rotate") {
		t.Errorf("got %v", err)
	}
	if text, _ := os.ReadFile(path); string(text) != "x" {
		t.Errorf("got %q", text)
	}
}

// The group of the service may read it, and still may afterwards.
func TestRotateKeepsTheMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := CreateSecretFile(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := RotateSecretFile(path, RotateAdd); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
}
