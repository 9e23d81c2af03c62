package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"usher.example/cluster/table"
)

// TestSealerOnASlowDisk: who asks for keys, which is done with the fleet's lock held, does
// not wait for one that is being written.
func TestSealerOnASlowDisk(t *testing.T) {
	f := &Fleet{table: table.New(), dir: &directory{path: t.TempDir()}}
	f.secrets.Store(new([]Secret))
	pipe := filepath.Join(f.dir.path, sealerFile+".new") // opens when somebody reads
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	made := make(chan error, 1)
	go func() { made <- f.needSealer() }()
	until(t, "the key to be made", func() bool {
		if f.own.making.TryLock() {
			f.own.making.Unlock()
			return false
		}
		return true
	})
	read := make(chan int, 1)
	go func() { read <- len(f.sealers()) }()
	select {
	case n := <-read:
		if n != 0 {
			t.Errorf("%d keys before one is kept", n)
		}
	case <-time.After(patience):
		t.Error("a reader waits for the disk")
	}
	r, err := os.Open(pipe)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := <-made; err == nil || len(f.sealers()) != 0 {
		t.Errorf("a key that is not on the disk is used: %v", err)
	}
}

// TestSealerOnAFullDisk: a key that cannot be kept is not used, and who stores is told.
func TestSealerOnAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("SKIPPED, needs root, to mount a small disk")
	}
	dir := t.TempDir()
	if err := unix.Mount("usher-test", dir, "tmpfs", 0, "mode=700,size=64k"); err != nil {
		t.Skipf("SKIPPED, cannot mount a small disk: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	f := &Fleet{table: table.New(), dir: &directory{path: dir}}
	f.secrets.Store(new([]Secret))
	if err := f.Put(t.Context(), "a/key", nil); !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "a/key") || len(f.sealers()) > 0 {
		t.Errorf("on a full disk: %v, %d keys", err, len(f.sealers()))
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := f.needSealer(); err != nil || len(f.sealers()) != 1 {
		t.Errorf("with room: %v, %d keys", err, len(f.sealers()))
	}
}
