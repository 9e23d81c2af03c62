package main_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// maxTracked is more than any source or picture here has; what is larger was built, and
// everybody who clones would carry it for ever.
const maxTracked = 1 << 20

// programs are how files begin that a compiler or archiver has made: ELF, PE, Mach-O,
// and "ar", which objects and Debian packages come in.
var programs = []string{"\x7fELF", "MZ", "\xcf\xfa\xed\xfe", "\xfe\xed\xfa\xcf", "!<arch>\n"}

// built says why a file has no place in a repository; "" if it has one.
func built(beginning []byte, size int64) string {
	for _, magic := range programs {
		if bytes.HasPrefix(beginning, []byte(magic)) {
			return "is a program or an archive of objects"
		}
	}
	if size > maxTracked {
		return "is larger than 1 MiB"
	}
	return ""
}

// TestNoBinaries wants nothing in the repository that was built from it.
func TestNoBinaries(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "-z")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("SKIPPED, this is not a git repository: %v", err)
	}
	files := strings.Split(strings.TrimRight(string(out), "\x00"), "\x00")
	if len(files) < 100 {
		t.Fatalf("%d files: this looks at the wrong place", len(files))
	}
	for _, name := range files {
		path := filepath.Join(root, name)
		info, err := os.Lstat(path)
		if err != nil || !info.Mode().IsRegular() {
			continue // deleted and not committed yet, or a link
		}
		if why := built(start(t, path), info.Size()); why != "" {
			t.Errorf("%s %s: git rm it, and name it in .gitignore", name, why)
		}
	}
}

// start is how a file begins.
func start(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	begin, err := io.ReadAll(io.LimitReader(f, 8))
	if err != nil {
		t.Fatal(err)
	}
	return begin
}

// TestBuilt: what judges the files finds a program, such as the one that runs this.
func TestBuilt(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		begin []byte
		size  int64
		want  bool
	}{
		{start(t, self), 100, true},
		{[]byte("package "), maxTracked, false},
		{[]byte("package "), maxTracked + 1, true},
		{nil, 0, false},
	} {
		if got := built(tt.begin, tt.size); (got != "") != tt.want {
			t.Errorf("%q of %d octets: %q", tt.begin, tt.size, got)
		}
	}
}
