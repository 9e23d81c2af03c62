package certstore_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"usher.example/cluster"
	"usher.example/cluster/table"
)

// smallDisk holds a log's first file, which takes its 64 MB at once, and no second one
// when there is anything else.
const smallDisk = "100m"

// TestDiskFull fills the disk of a node alone: what cannot be written is refused in
// words and in time, what is there is read, and with room it goes on by itself.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED, needs root, to mount a small disk")
	}
	dir := t.TempDir()
	if err := unix.Mount("usher-test", dir, "tmpfs", 0, "mode=700,size="+smallDisk); err != nil {
		t.Skipf("SKIPPED, cannot mount a small disk: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }) // after the node has ended
	n := open(t, cluster.FleetOptions{State: dir, KickDelay: -1})
	n.await(t)

	if err := n.Store.Store(t.Context(), "a/key", []byte("value")); err != nil {
		t.Fatal(err)
	}

	room := fill(t, dir)
	large := make([]byte, table.MaxValue/2)
	_, _ = rand.Read(large) // never fails
	stored, err, began := 0, error(nil), time.Now()
	for ; err == nil && stored < 2000; stored++ {
		began = time.Now()
		err = n.Store.Store(t.Context(), fmt.Sprintf("b/%d", stored%9), large)
	}
	if took := time.Since(began); err == nil || took > refused {
		t.Fatalf("after %d values, and %v: %v", stored, took, err)
	}
	t.Logf("after %d values and %v: %v", stored, time.Since(began), err)
	if got, err := n.Load(t.Context(), "a/key"); err != nil || string(got) != "value" {
		t.Errorf("what is there, on a full disk: %q, %v", got, err)
	}
	if got, err := n.Load(t.Context(), "b/0"); err != nil || !bytes.Equal(got, large) {
		t.Errorf("what is there, on a full disk: %d octets, %v", len(got), err)
	}
	room()
	until(t, "it to go on with room", func() bool { return n.Store.Store(t.Context(), "a/key", []byte("new")) == nil })
	if got, err := n.Load(t.Context(), "a/key"); err != nil || string(got) != "new" {
		t.Errorf("with room: %q, %v", got, err)
	}
}

// fill fills a disk up to the last octet, until room is called.
func fill(t *testing.T, dir string) (room func()) {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err = f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}
