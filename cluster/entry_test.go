package cluster

import (
	"bytes"
	"testing"

	"github.com/hashicorp/raft"
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
