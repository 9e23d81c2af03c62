package cluster

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"usher.example/cluster/place"
)

func TestReadSecrets(t *testing.T) {
	a, b := NewSecret(), NewSecret()
	for _, tt := range []struct {
		name, text string
		mode       os.FileMode
		want       int
		err        string
	}{
		{"one", a.Text() + "\n", 0o600, 1, ""},
		{"two, with a comment", "# new\n" + a.Text() + "\n\n" + b.Text() + "\n", 0o640, 2, ""},
		{"none", "# nothing\n", 0o600, 0, "0 versions"},
		{"too many", strings.Repeat(a.Text()+"\n", MaxSecrets+1), 0o600, 0, "it should have 1 to"},
		{"short", "c2hvcnQ=\n", 0o600, 0, "is not 32 octets"},
		{"for everybody", a.Text() + "\n", 0o644, 0, "can be read by everybody"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			list, err := ReadSecrets(path)
			if len(list) != tt.want || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) || tt.err == "" && err != nil {
				t.Errorf("got %d, %v", len(list), err)
			}
			if err != nil && strings.Contains(err.Error(), a.Text()) {
				t.Error("the error tells the secret")
			}
		})
	}
	if text := fmt.Sprintf("%v %+v %#v %s %x", a, a, a, a, a); strings.Contains(text, a.Text()) || strings.Contains(text, fmt.Sprintf("%x", a[:])) {
		t.Errorf("a secret prints itself: %s", text)
	}
}

// FuzzSecretLines holds that what is read is what is written, and nothing else is taken.
func FuzzSecretLines(f *testing.F) {
	a := NewSecret()
	f.Add(a.Text() + "\n# b\n\n" + a.Text())
	f.Add("c2hvcnQ=")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := secretLines(text)
		if err != nil {
			if len(list) > 0 {
				t.Error("secrets beside an error")
			}
			return
		}
		again, err := secretLines(secretText(list, "# other"))
		if err != nil || !slices.Equal(again, list) {
			t.Errorf("%d secrets are read again as %d, %v", len(list), len(again), err)
		}
	})
}

// What one version sealed another opens that still has it, and nobody else.
func TestSeal(t *testing.T) {
	old, next, stranger := NewSecret(), NewSecret(), NewSecret()
	sealed := seal([]Secret{old}, "x", []byte("key"))
	if plain, fresh, err := open([]Secret{next, old}, "x", sealed); err != nil || fresh || string(plain) != "key" {
		t.Errorf("%q, fresh %v, %v", plain, fresh, err)
	}
	for name, try := range map[string]func() error{
		"without the version": func() error { _, _, err := open([]Secret{next, stranger}, "x", sealed); return err },
		"as something else":   func() error { _, _, err := open([]Secret{old}, "y", sealed); return err },
		"cut":                 func() error { _, _, err := open([]Secret{old}, "x", sealed[:8]); return err },
	} {
		if try() == nil {
			t.Errorf("%s: it opens", name)
		}
	}
	if bytes.Contains(sealed, []byte("key")) {
		t.Error("it is not sealed")
	}
}

// A rotation over restarts keeps the fleet together and every user's place.
func TestSecretRotation(t *testing.T) {
	old, next := NewSecret(), NewSecret()
	dir, where := t.TempDir(), ""
	for i, secrets := range [][]Secret{{old}, {old, next}, {next, old}, {next}} {
		func() {
			o := FleetOptions{
				Fleet: "test", Node: "edge", Secrets: secrets, Bind: "127.0.0.1:0", Voters: []string{"edge"}, State: dir,
				KickDelay: 10 * time.Millisecond,
			}
			s, end := startNode(t, o, mainPool(place.Shared, 10))
			defer end()
			await(t, s)
			b, _ := s.login(t, "joe")
			if where == "" {
				where = b
			}
			if b != where {
				t.Errorf("step %d: joe is at %s, was at %s", i, b, where)
			}
			s.out()
			until(t, "the map key to be sealed anew", func() bool {
				s.f.mu.Lock()
				defer s.f.mu.Unlock()
				return !s.f.reseal
			})
		}()
	}
}

// A node with another secret is nobody's peer.
func TestStrangerStaysOut(t *testing.T) {
	nodes := trio(t, nil)
	await(t, nodes[0])
	stranger := openNode(t, FleetOptions{
		Fleet: "test", Node: "edge-4", Secrets: []Secret{NewSecret()}, Bind: "127.0.0.1:0", Join: []string{nodes[0].f.port.advertise.String()},
		Voters: []string{"edge-1", "edge-2", "edge-3"}, State: filepath.Join(t.TempDir(), "s"),
	}, mainPool(place.Shared, 3))
	until(t, "the stranger to be refused", func() bool {
		nodes[0].f.port.mu.Lock()
		defer nodes[0].f.port.mu.Unlock()
		return !nodes[0].f.port.complain.IsZero()
	})
	if _, there := nodes[0].f.alive()["edge-4"]; there || len(stranger.f.alive()) > 1 {
		t.Errorf("it is a member: %v", nodes[0].f.alive())
	}
}
