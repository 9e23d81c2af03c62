package main_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// manualVersion is the version of the package that the manual installs.
const manualVersion = "1.0.0"

// packedAt tells a process of tests in a network of its own where the one that started
// it has the package.
const packedAt = "USHER_TEST_PACKAGE"

// debianPackage makes the package that operators install, once, and returns a path to it
// that is good as long as this process lives. It is what make deb builds; but with
// USHER_LONG only by nfpm, whose own building takes minutes, and with a program of its
// own. TestPackedAlike holds the two to each other.
var debianPackage = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(packedAt); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "usher-package-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("../packaging/build", dir)
	cmd.Env = append(os.Environ(), "VERSION="+manualVersion)
	if !long() {
		binary, err := program()
		if err != nil {
			return "", err
		}
		pack, err := filepath.Abs("../packaging/testdata/pack")
		if err != nil {
			return "", err
		}
		cmd.Env = append(cmd.Env, "PROGRAM="+binary, "NFPM="+pack)
	}
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("build the package: %w\n%s", err, said.String())
	}
	fd, err := syscall.Open(strings.TrimSpace(string(out)), syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd), nil
})

// controlGroup makes one for a machine's systemd. It is removed when the machine is gone.
func controlGroup(t testing.TB) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if fields[2] != "cgroup2" {
			continue
		}
		dir, err := os.MkdirTemp(fields[1], "usher-manual-") //nolint:usetesting // a control group is in cgroup2 or nowhere
		if err != nil {
			cannot(t, "make a control group: %v", err)
		}
		t.Cleanup(func() {
			eventually(t, "the machine's processes are gone", func() bool { return removeGroups(dir) })
		})
		return dir
	}
	cannot(t, "make a control group: no cgroup2 is mounted")
	return ""
}

// removeGroups removes a control group and those in it, which has to be from below.
func removeGroups(dir string) bool {
	var groups []string
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			groups = append(groups, path)
		}
		return nil
	})
	for i := len(groups) - 1; i >= 0; i-- {
		_ = syscall.Rmdir(groups[i])
	}
	_, err := os.Stat(dir)
	return os.IsNotExist(err)
}
