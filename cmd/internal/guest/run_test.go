package guest_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"usher.example/cmd/internal/guest"
)

// TestRun shows what a caller learns of a program, here this machine's shell.
func TestRun(t *testing.T) {
	g := guest.UML(t)
	g.AddProgram("sh")
	for _, tt := range []struct {
		name, script string
		want         guest.Result
	}{
		{"both outputs and a status", "echo out; echo err >&2; exit 3", guest.Result{Output: "out\nerr\n", ExitCode: 3}},
		{"arguments and environment", `echo "$0 $1 $COLOUR $PWD"`, guest.Result{Output: "zero one blue sky /tmp\n"}},
		{"a signal", "kill -9 $$", guest.Result{ExitCode: 128 + 9}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := g.Run(t.Context(), "/bin/sh",
				[]string{"-c", tt.script, "zero", "one"}, []string{"COLOUR=blue sky"})
			if err != nil {
				t.Fatal(err)
			}
			if got.Output != tt.want.Output || got.ExitCode != tt.want.ExitCode {
				t.Errorf("got status %d, output %q; want %d, %q",
					got.ExitCode, got.Output, tt.want.ExitCode, tt.want.Output)
			}
			if got.TLSStat["TlsTxSw"] != 0 || len(got.TLSStat) == 0 {
				t.Errorf("without TLS, the kernel's counters are %v", got.TLSStat)
			}
		})
	}
}

// TestOpenSSL shows that programs with libraries run in either guest.
func TestOpenSSL(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *guest.Guest{"UML": guest.UML, "QEMU": guest.QEMU} {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			g.AddProgram("sh")
			g.AddProgram("openssl")
			r, err := g.Run(t.Context(), "/bin/sh", []string{"-c", "openssl version && openssl rand -hex 4"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if r.ExitCode != 0 || !strings.HasPrefix(r.Output, "OpenSSL ") {
				t.Errorf("status %d, output %q", r.ExitCode, r.Output)
			}
		})
	}
}

// TestNothingStays ends a guest in the middle and wants no process or file of
// it to be left.
func TestNothingStays(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	g := guest.UML(t)
	g.AddProgram("sh")
	g.AddProgram("sleep")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	r, err := g.Run(ctx, "/bin/sh", []string{"-c", "sleep 600"}, nil)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %+v, %v; want %v", r, err, context.DeadlineExceeded)
	}
	if left, err := filepath.Glob(filepath.Join(tmp, "usher-guest-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	// The guest itself is waited for; what it had started dies at the same
	// blow, but a little later.
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); ; <-tick.C {
		left := processesOf(t, tmp)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still running: %q", left)
		}
	}
}

// processesOf lists the commands of processes that name a folder.
func processesOf(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(paths) == 0 {
		t.Fatalf("list processes: %v, %v", paths, err)
	}
	var found []string
	for _, path := range paths {
		text, _ := os.ReadFile(path) // it may have ended since
		if strings.Contains(string(text), dir) {
			found = append(found, string(text))
		}
	}
	return found
}

func TestRunErrors(t *testing.T) {
	g := guest.UML(t)
	if _, err := g.Run(t.Context(), "/nonexistent", nil, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a program that is not there: got %v", err)
	}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Run(t.Context(), text, nil, nil); err == nil || !strings.Contains(err.Error(), "exec format error") {
		t.Errorf("a program that is none: got %v", err)
	}
}
