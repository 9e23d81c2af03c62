package guest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// initPackage becomes process 1 of every guest.
const initPackage = "usher.example/cmd/internal/guest/init"

// BuildTest compiles the tests of a package, given by its import path, into a
// program that runs in any guest, and returns its path. The program needs no
// shared library, and so knows no race detector.
func BuildTest(t testing.TB, pkg string) string {
	t.Helper()
	return build(t, "test", "-c", pkg)
}

func buildInit(t testing.TB) string {
	t.Helper()
	return build(t, "build", initPackage)
}

func build(t testing.TB, command ...string) string {
	t.Helper()
	pkg := command[len(command)-1]
	out := filepath.Join(t.TempDir(), filepath.Base(pkg)+".bin")
	args := append(command[:len(command)-1:len(command)-1], "-race=false", "-buildvcs=false", "-ldflags=-s -w", "-o", out, pkg)
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("compile %s for a guest: %v\n%s", pkg, err, text)
	}
	if _, err := os.Stat(out); err != nil {
		t.Fatalf("compile %s for a guest: there is nothing in it: %v", pkg, err)
	}
	return out
}

// Add makes a file of this machine part of the guest, under the absolute path
// that it has there, for the runs to come.
func (g *Guest) Add(guestPath, path string) {
	g.t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		g.t.Fatalf("add to the guest: %v", err)
	}
	g.files[strings.TrimPrefix(filepath.Clean(guestPath), "/")] = file{from: path, mode: info.Mode().Perm()}
}

// library is a line of ldd: a name and where it is, or only where it is.
var library = regexp.MustCompile(`(?m)^\s+(?:\S+ => )?(/\S+) \(0x`)

// AddProgram makes an installed program, such as "openssl", part of the guest
// for the runs to come, with its shared libraries, all where they are here. If
// it is not installed, the test is skipped or fails.
func (g *Guest) AddProgram(name string) {
	g.t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		unavailable(g.t, fmt.Errorf("add a program to the guest: %w", err))
	}
	g.Add(path, path)
	out, err := exec.CommandContext(g.t.Context(), "ldd", path).CombinedOutput()
	if err != nil {
		g.t.Fatalf("find the libraries of %s: %v", path, fmt.Errorf("%w: %s", err, out))
	}
	for _, match := range library.FindAllStringSubmatch(string(out), -1) {
		g.Add(match[1], match[1])
	}
}
