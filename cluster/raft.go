package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"

	"usher.example/cluster/member"
	"usher.example/cluster/table"
)

const (
	// snapshotEvery is how many entries a start without a quorum may be behind:
	// then only the last snapshot is known.
	snapshotEvery = 1024
	// keptInMemory is how many entries are kept behind a snapshot by a node that has
	// no state directory.
	keptInMemory = 64
	// applyTime bounds one command.
	applyTime = 5 * time.Second
	// raftTime bounds one exchange between nodes.
	raftTime = 3 * time.Second
	// aloneTime is how often the only node's log looks whether it still leads, which
	// each time wakes the processor. Its elections do not wait for that, see elect.
	aloneTime = 2 * time.Second
	// electAgain is the time between two elections of an only node whose log takes
	// nothing, its disk being full.
	electAgain = 100 * time.Millisecond
	// localAddress is the only node's, when the fleet has no name.
	localAddress = "local"
)

// openRaft opens the log. Port is nil for a fleet of one.
func (f *Fleet) openRaft(p *port) error {
	c := raft.DefaultConfig()
	c.LocalID = serverID(f.o.Node, f.dir.id)
	c.SnapshotThreshold = snapshotEvery
	c.TrailingLogs = snapshotEvery
	c.NotifyCh = f.leads
	c.Logger = quiet(f.log)
	c.BatchApplyCh = true
	c.CommitTimeout = commitTime
	if p == nil {
		c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = aloneTime, aloneTime, aloneTime
		c.CommitTimeout = 5 * time.Millisecond
	}
	if f.dir.path == "" { // nobody asks for what was before a snapshot
		c.SnapshotThreshold, c.TrailingLogs = keptInMemory, keptInMemory
	}
	log, snapshots, err := f.openLog(c.Logger)
	if err != nil {
		return err
	}
	snapshots = numbered{snapshots}
	if err := unbroken(log, snapshots); err != nil {
		return fmt.Errorf("state directory: %w; move %s away, and the node joins anew", err, f.dir.path)
	}
	var transport raft.Transport
	if p == nil {
		_, t := raft.NewInmemTransport(localAddress)
		t.Connect(localAddress, t)
		transport, f.net, f.self = t, t, t
	} else {
		t := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream: p.layer(p.raft), MaxPool: 2, Timeout: raftTime, Logger: c.Logger,
		})
		transport, f.net = t, t
	}
	known, err := raft.HasExistingState(log, log, snapshots)
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	if err := f.call(known, c.LocalID, log, snapshots); err != nil {
		return err
	}
	if f.raft, err = raft.NewRaft(c, (*machine)(f), log, log, snapshots, transport); err != nil {
		return fmt.Errorf("state directory: %w; if it is damaged, move %s away, and the node joins anew", err, f.dir.path)
	}
	// Alone, all that is in the log was committed; a crash leaves some of it ahead of the
	// last snapshot.
	f.unread = p == nil && f.raft.LastIndex() > f.raft.AppliedIndex()
	if !known && p == nil {
		return f.raft.BootstrapCluster(raft.Configuration{Servers: []raft.Server{{ID: c.LocalID, Address: localAddress}}}).Error()
	}
	return nil
}

// elect has an only node lead its log: at once, and not after the silence of a leader
// that there is not. It returns when the node leads, or when another call sees to it.
func (f *Fleet) elect() {
	if f.self == nil || !f.electing.CompareAndSwap(false, true) {
		return
	}
	defer f.electing.Store(false)
	for f.ctx.Err() == nil {
		switch f.raft.State() {
		case raft.Leader, raft.Shutdown:
			return
		case raft.Follower: // who leads already would stand for election once more
			// It is said to ourselves, as a leader says it who gives up his place. No
			// answer means that the log is being closed.
			now := raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}}
			_ = f.self.TimeoutNow("", localAddress, &now, new(raft.TimeoutNowResponse))
		case raft.Candidate:
		}
		select {
		case <-f.ctx.Done():
		case <-time.After(electAgain):
		}
	}
}

// A logStore is where raft keeps its log and its votes.
type logStore interface {
	raft.LogStore
	raft.StableStore
}

// openLog opens the log of the state directory, or one in memory.
func (f *Fleet) openLog(log hclog.Logger) (logStore, raft.SnapshotStore, error) {
	if f.dir.path == "" {
		return raft.NewInmemStore(), raft.NewInmemSnapshotStore(), nil
	}
	f.meta = new(metadb.BoltMetaDB) // the log does not close its own
	dir := mustDir(f.dir.path, "log")
	w, err := wal.Open(dir, wal.WithLogger(log), wal.WithMetaStore(f.meta), wal.WithSegmentFiler(newMender(dir, f.log)))
	if err != nil {
		return nil, nil, fmt.Errorf("state directory: the log cannot be read: %w; if it is damaged, move %s away, and the node joins anew", err, f.dir.path)
	}
	f.wal = w
	if err := examine(w); err != nil {
		return nil, nil, fmt.Errorf("state directory: the log cannot be used: %w; move %s away, and the node joins anew", err, f.dir.path)
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(f.dir.path, 2, log)
	if err != nil {
		return nil, nil, fmt.Errorf("state directory: %w", err)
	}
	return w, snapshots, nil
}

// numbered are snapshots that say where in the log they are: who restores one has what
// was before it, and would else learn that with the next entry only.
type numbered struct{ raft.SnapshotStore }

// Open implements raft.SnapshotStore.
func (n numbered) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, content, err := n.SnapshotStore.Open(id)
	if err != nil {
		return nil, nil, err
	}
	return meta, &opening{content, meta.Index}, nil
}

// An opening snapshot is being read.
type opening struct {
	io.ReadCloser
	index uint64
}

// fresh says that the node has no log yet.
func (f *Fleet) fresh() bool { return f.raft.LastIndex() == 0 }

func mustDir(parts ...string) string {
	path := filepath.Join(parts...)
	_ = mkdir(path) // what is wrong is said by who uses it
	return path
}

// A machine is the table as raft sees it.
type machine Fleet

var _ raft.BatchingFSM = (*machine)(nil)

// Apply implements raft.FSM.
func (m *machine) Apply(l *raft.Log) any { return m.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM. The answers are errors or nil.
func (m *machine) ApplyBatch(logs []*raft.Log) []any {
	f := (*Fleet)(m)
	answers, entries := make([]any, len(logs)), readEntries(logs)
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, l := range logs {
		f.applied = l.Index
		if l.Type != raft.LogCommand {
			continue
		}
		if f.fatal != nil {
			answers[i] = f.fatal
			continue
		}
		c, err := entries[i].c, entries[i].err
		if errors.Is(err, errDamaged) {
			f.fatal = fmt.Errorf("entry %d of the fleet's log: %w: move the state directory away, and the node joins anew", l.Index, err)
			f.log.Error("the node cannot follow its fleet any more", "event", "node_stuck", "err", f.fatal)
		}
		if errors.Is(err, table.ErrUnknown) {
			// To go on would make this table another than the others'.
			f.fatal = fmt.Errorf("entry %d of the fleet's log: %w: this node is older than its fleet; upgrade it", l.Index, err)
			f.log.Error("the node cannot follow its fleet any more", "event", "node_stuck", "err", f.fatal)
		}
		if err == nil {
			err = f.table.Apply(c, l.Term)
		}
		if err != nil {
			answers[i] = err
		}
	}
	f.learn()
	f.news()
	return answers
}

// An entry is what one of the log says.
type entry struct {
	c   table.Command
	err error
}

// readEntries reads a batch. It is done without the fleet's lock: large values take
// milliseconds each, and logins would wait for them.
func readEntries(logs []*raft.Log) []entry {
	list := make([]entry, len(logs))
	for i, l := range logs {
		if l.Type != raft.LogCommand {
			continue
		}
		data, err := openEntry(l.Data)
		if err == nil {
			list[i].c, err = table.Decode(data)
		}
		list[i].err = err
	}
	return list
}

// Snapshot implements raft.FSM.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	f := (*Fleet)(m)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fatal != nil {
		return nil, f.fatal
	}
	return snapshot{f.table.Clone()}, nil
}

// Restore implements raft.FSM.
func (m *machine) Restore(r io.ReadCloser) error {
	f := (*Fleet)(m)
	defer r.Close()
	t := table.New()
	if err := t.Load(r); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	*f.table = *t
	if w, ok := r.(raft.ReadCloserWrapper); ok { // raft counts what is read
		if s, ok := w.WrappedReadCloser().(*opening); ok {
			f.applied = s.index
		}
	}
	f.learn()
	f.news()
	return nil
}

// snapshot is a copy of the table that is being written.
type snapshot struct{ t *table.Table }

// Persist implements raft.FSMSnapshot.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.t.Save(sink); err != nil {
		_ = sink.Cancel()
		return err
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (snapshot) Release() {}

// barrier waits until all that was committed before is applied here. Only a
// leader can.
func (f *Fleet) barrier() error { return f.answered(f.raft.Barrier(applyTime), applyTime) }

// errUnanswered: the log has not taken a command in time. It may yet.
var errUnanswered = errors.New("the fleet's log does not answer: is the disk of a majority of the voters full or stalled?")

// answered waits for raft's answer, which may never come: a leader that is heard and
// cannot commit waits as long as it leads, and what raft had not looked at when it
// was shut down it does not look at any more.
func (f *Fleet) answered(future raft.Future, limit time.Duration) error {
	done := make(chan error, 1)
	go func() { done <- future.Error() }() // ends with the answer, or has nobody to tell
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return errUnanswered
	case <-f.ctx.Done():
		return context.Cause(f.ctx)
	}
}

// quiet gives raft's and the log's messages to ours: what they call warnings is
// every day's work of an election.
func quiet(log *slog.Logger) hclog.Logger {
	return hclog.FromStandardLogger(slog.NewLogLogger(log.Handler(), slog.LevelDebug), &hclog.LoggerOptions{
		Name: "raft", Level: hclog.Info, DisableTime: true,
	})
}

// A reported is what the leader knows of a node besides its report.
type reported struct {
	at       int64
	applied  uint64
	verdicts map[string]map[string]bool // by pool and back end
	observes map[string][]string        // by pool
	fit      bool
}

// A message is a report with what goes along.
type message struct {
	member.Report
	Applied  uint64                     `json:"applied"`
	Verdicts map[string]map[string]bool `json:"verdicts"`
	Observes map[string][]string        `json:"observes,omitempty"`
	Fit      bool                       `json:"fit"`
}
