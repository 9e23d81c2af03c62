package admin_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"usher.example/balancer/admin"
)

// listen opens a socket that is closed at the end of the test.
func listen(t *testing.T, path string) net.Listener {
	t.Helper()
	l, err := admin.Listen(path, 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// answers tells whether somebody accepts connections.
func answers(path string) bool {
	c, err := net.Dial("unix", path)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func TestListen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run") // is made
	path := filepath.Join(dir, "usher.sock")
	l, err := admin.Listen(path, 0o660, os.Getgid())
	if err != nil {
		t.Fatal(err)
	}
	if l.Addr().String() != path || !answers(path) {
		t.Errorf("%v does not answer", l.Addr())
	}
	file, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := file.Mode(), fs.ModeSocket|0o660; got != want {
		t.Errorf("mode: got %v, want %v", got, want)
	}
	if got := int(file.Sys().(*syscall.Stat_t).Gid); got != os.Getgid() {
		t.Errorf("group: got %d, want %d", got, os.Getgid())
	}
	if got := entries(t, dir); len(got) != 1 {
		t.Errorf("left behind: %v", got)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if got := entries(t, dir); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

func TestListenGroupThatMustNotBe(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "usher.sock")
	if os.Geteuid() == 0 {
		t.Skip("root may give files to every group")
	}
	if _, err := admin.Listen(path, 0o660, 0); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v, want %v", err, fs.ErrPermission)
	}
	if got := entries(t, dir); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

func TestListenReplacesStaleSocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "usher.sock")
	crashed, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	crashed.SetUnlinkOnClose(false)
	_ = crashed.Close()
	listen(t, path)
	if !answers(path) {
		t.Error("nobody answers")
	}
	if got := entries(t, dir); len(got) != 1 {
		t.Errorf("left behind: %v", got)
	}
}

func TestListenLeavesOthersAlone(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(path string) error
	}{
		{"file", func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) }},
		{"directory", func(path string) error { return os.Mkdir(path, 0o700) }},
		{"dangling link", func(path string) error { return os.Symlink("nowhere", path) }},
		{"datagram socket", func(path string) error {
			c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
			if err == nil {
				t.Cleanup(func() { _ = c.Close() })
			}
			return err
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "usher.sock")
			if err := tt.make(path); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if l, err := admin.Listen(path, 0o600, -1); err == nil {
				_ = l.Close()
				t.Fatal("listened")
			}
			after, err := os.Lstat(path)
			if err != nil || !os.SameFile(before, after) {
				t.Errorf("it was touched: %v", err)
			}
			if got := entries(t, filepath.Dir(path)); len(got) != 1 {
				t.Errorf("left behind: %v", got)
			}
		})
	}
}

func TestListenWhereAnotherRuns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "usher.sock")
	listen(t, path)
	_, err := admin.Listen(path, 0o600, -1)
	if !errors.Is(err, admin.ErrInUse) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want %v and the path", err, admin.ErrInUse)
	}
	if !answers(path) {
		t.Error("the first one does not answer any more")
	}
}

// TestListenRace: of many that start over a stale socket, one wins, and its
// socket is the one at the path.
func TestListenRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "usher.sock")
	crashed, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	crashed.SetUnlinkOnClose(false)
	_ = crashed.Close()
	const starters = 8
	won := make(chan net.Listener, starters)
	var wg sync.WaitGroup
	for range starters {
		wg.Go(func() {
			if l, err := admin.Listen(path, 0o600, -1); err == nil {
				won <- l
			}
		})
	}
	wg.Wait()
	close(won)
	winners := 0
	for l := range won {
		winners++
		t.Cleanup(func() { _ = l.Close() })
	}
	if winners != 1 {
		t.Errorf("%d have won, want 1", winners)
	}
	if !answers(path) {
		t.Error("nobody answers")
	}
}

// TestCloseLeavesSuccessor: one that ends late must not take away the socket
// of the one that came after it.
func TestCloseLeavesSuccessor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "usher.sock")
	old := listen(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	listen(t, path)
	_ = old.Close()
	if !answers(path) {
		t.Error("the successor's socket is gone")
	}
}

func TestListenErrors(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{
		"two directories missing": filepath.Join(dir, "a", "b", "usher.sock"),
		"directory too long":      filepath.Join(dir, strings.Repeat("d", 100), "s"),
	} {
		if l, err := admin.Listen(path, 0o600, -1); err == nil {
			_ = l.Close()
			t.Errorf("%s: listened", name)
		} else if !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v does not name the path", name, err)
		}
	}
}
