package cluster

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/raft"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// TestEntry wants every flipped bit and every cut to be seen.
func TestEntry(t *testing.T) {
	command := []byte(`{"v":1}`)
	entry := sealEntry(bytes.Clone(command))
	if got, err := openEntry(entry); err != nil || !bytes.Equal(got, command) {
		t.Errorf("got %q, %v", got, err)
	}
	for bit := range 8 * len(entry) {
		bad := bytes.Clone(entry)
		bad[bit/8] ^= 1 << (bit % 8)
		if got, err := openEntry(bad); err == nil {
			t.Errorf("bit %d flipped: got %q", bit, got)
		}
	}
	for n := range entry {
		if got, err := openEntry(entry[:n]); err == nil {
			t.Errorf("cut to %d octets: got %q", n, got)
		}
	}
}

// TestExamine reads logs.
func TestExamine(t *testing.T) {
	log := raft.NewInmemStore()
	if err := examine(log); err != nil {
		t.Errorf("an empty log: %v", err)
	}
	for i, data := range [][]byte{nil, sealEntry([]byte("a")), sealEntry([]byte("b"))} {
		l := &raft.Log{Index: uint64(i + 5), Type: raft.LogCommand, Data: data}
		if data == nil {
			l.Type = raft.LogNoop
		}
		if err := log.StoreLog(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := examine(log); err != nil {
		t.Errorf("a good log: %v", err)
	}
	if err := log.StoreLog(&raft.Log{Index: 8, Type: raft.LogCommand, Data: []byte("c")}); err != nil {
		t.Fatal(err)
	}
	if err := examine(log); err == nil {
		t.Error("a damaged log is good")
	}
}

// TestLostSnapshot damages what the snapshots say of themselves, so that raft takes
// them for no snapshots, when the log does not go back to its beginning any more.
func TestLostSnapshot(t *testing.T) {
	o := FleetOptions{State: t.TempDir(), KickDelay: -1}
	s, end := startNode(t, o, mainPool(place.Shared, 1))
	await(t, s)
	var commits sync.WaitGroup
	for range 64 { // at once, as each batch is written to the disk
		commits.Go(func() {
			for range 2 * snapshotEvery / 64 {
				if _, err := s.f.apply(table.Forget{Node: "nobody"}, applyTime); !errors.Is(err, table.ErrNoMember) {
					t.Error(err)
				}
			}
		})
	}
	commits.Wait()
	end()
	paths, err := filepath.Glob(filepath.Join(o.State, "snapshots", "*", "meta.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no snapshots: %v", err)
	}
	for _, path := range paths {
		if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := OpenFleet(FleetOptions{State: o.State, Log: testLog(t)})
	if err == nil {
		f.Close()
		t.Fatal("a log without its beginning was taken")
	}
	for _, want := range []string{"snapshot", "move " + o.State + " away"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %q in it", err, want)
		}
	}
}
