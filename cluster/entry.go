package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/hashicorp/raft"
)

// An entry of the log is a command and a sum of it: the log's own sums are looked at
// where its end may be torn, and not again, and one flipped bit would make this
// node's table another than the others'.

// sumLen is the length of the sum, at the end.
const sumLen = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged says that an entry is not what was written.
var errDamaged = errors.New("it is damaged")

// sealEntry puts the sum behind a command.
func sealEntry(command []byte) []byte {
	return binary.BigEndian.AppendUint32(command, crc32.Checksum(command, castagnoli))
}

// openEntry takes the sum off.
func openEntry(entry []byte) ([]byte, error) {
	n := len(entry) - sumLen
	if n < 0 || binary.BigEndian.Uint32(entry[n:]) != crc32.Checksum(entry[:n], castagnoli) {
		return nil, errDamaged
	}
	return entry[:n], nil
}

// examine reads a whole log, which is short as there are snapshots.
func examine(log raft.LogStore) error {
	first, err := log.FirstIndex()
	if err != nil {
		return err
	}
	last, err := log.LastIndex()
	if err != nil || last == 0 {
		return err
	}
	for i := first; i <= last; i++ {
		var l raft.Log
		if err := log.GetLog(i, &l); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		if l.Type != raft.LogCommand {
			continue
		}
		if _, err := openEntry(l.Data); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
	}
	return nil
}

// unbroken wants the log to go on where the newest snapshot ends that can be read:
// raft passes over damaged ones, and breaks down where an entry is missing.
func unbroken(log raft.LogStore, snapshots raft.SnapshotStore) error {
	first, err := log.FirstIndex()
	if err != nil {
		return err
	}
	list, err := snapshots.List() // the newest first, without those that do not say what they are
	if err != nil {
		return err
	}
	had := uint64(0)
	for _, s := range list {
		_, content, err := snapshots.Open(s.ID) // looks at its sum
		if err == nil {
			_ = content.Close() // was only read
			had = s.Index
			break
		}
	}
	if first > had+1 {
		return fmt.Errorf("the log begins with entry %d, and the snapshot of what was before it is damaged or gone", first)
	}
	return nil
}
