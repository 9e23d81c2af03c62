package cluster

import (
	"os"
	"path/filepath"
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
