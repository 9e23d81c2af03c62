package cluster

import (
	"fmt"
	"log/slog"
	"sync"

	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// A log whose end could once not be written, as the disk was full, is written no
// more: raft-wal v0.4.0 takes what failed for written and refuses to write it again
// (https://github.com/hashicorp/raft-wal/pull/32 mends that in no release). So the
// end is read anew from the disk, as a start would, and is written on from there.

// mendEvery is the time between two attempts: each reads the log's last file.
const mendEvery = int64(1e9)

// A mender opens the files of a log.
type mender struct {
	types.SegmentFiler
	log *slog.Logger
}

func newMender(dir string, log *slog.Logger) *mender {
	return &mender{segment.NewFiler(dir, fs.New()), log}
}

// Create implements types.SegmentFiler.
func (m *mender) Create(info types.SegmentInfo) (types.SegmentWriter, error) {
	w, err := m.SegmentFiler.Create(info)
	if err != nil {
		return nil, err
	}
	return &tail{m: m, info: info, w: w}, nil
}

// RecoverTail implements types.SegmentFiler.
func (m *mender) RecoverTail(info types.SegmentInfo) (types.SegmentWriter, error) {
	w, err := m.SegmentFiler.RecoverTail(info)
	if err != nil {
		return nil, err
	}
	return &tail{m: m, info: info, w: w}, nil
}

// A tail is the last file. One goroutine at a time writes, as types.SegmentWriter
// has it; others read meanwhile.
type tail struct {
	m    *mender
	info types.SegmentInfo

	mu sync.RWMutex // guards w against being exchanged; only who writes does that
	w  types.SegmentWriter

	failed error // of the last write; the writer's own, as is what follows
	tried  int64 // when it was
	said   int64
}

// Append implements types.SegmentWriter.
func (t *tail) Append(entries []types.LogEntry) error {
	now := bootTime()
	if t.failed != nil {
		if now-t.tried < mendEvery {
			return t.failed
		}
		if err := t.mend(); err != nil {
			t.tried = now
			return fmt.Errorf("%w; and its end cannot be read anew: %w", t.failed, err)
		}
		t.failed = nil
	}
	err := t.w.Append(entries)
	switch {
	case err != nil:
		t.failed, t.tried = err, now
		if t.said == 0 || now-t.said > int64(complainEvery) {
			t.said = now
			t.m.log.Error("the fleet's log cannot be written: this node follows its fleet no more until it can; look at the disk with the state directory", "event", "log_unwritable", "err", err)
		}
	case t.said != 0:
		t.said = 0
		t.m.log.Info("the fleet's log can be written again", "event", "log_writable")
	}
	return err
}

// mend puts what is on the disk in the place of what the writer believes.
func (t *tail) mend() error {
	w, err := t.m.SegmentFiler.RecoverTail(t.info)
	if err != nil {
		return err
	}
	if w.LastIndex() != t.w.LastIndex() {
		// What was said to have failed is there: only a start can take it up.
		_ = w.Close() // nothing was written by it
		return fmt.Errorf("entry %d was taken for lost and is there; restart usher", w.LastIndex())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = t.w.Close() // it has failed already
	t.w = w
	return nil
}

// GetLog implements types.SegmentReader.
func (t *tail) GetLog(index uint64) (*types.PooledBuffer, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.w.GetLog(index)
}

// LastIndex implements types.SegmentWriter.
func (t *tail) LastIndex() uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.w.LastIndex()
}

// Sealed implements types.SegmentWriter.
func (t *tail) Sealed() (bool, uint64, error) { return t.w.Sealed() }

// Close implements io.Closer.
func (t *tail) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.w.Close()
}
