package cluster

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"

	"usher.example/cluster/table"
)

// A Remainder is what a stopped node has of its fleet.
type Remainder struct {
	Node    string   `json:"node"`
	Voters  []string `json:"voters"`     // by the node's log
	Last    uint64   `json:"last_index"` // of the log: more is newer
	Term    uint64   `json:"last_term"`  // of that entry: more is newer still
	Members []string `json:"members"`
	Pins    int      `json:"pins"`

	id      raft.ServerID
	address raft.ServerAddress
}

// ErrNoVoter: the node cannot lead what is left of its fleet.
var ErrNoVoter = errors.New("this node is no voter of its fleet, and may lack what was decided; recover one that is")

// Recover makes a node that is stopped the only voter of its fleet, when a majority
// of voters is lost for good: the others join it then as if they were new. What the
// lost ones alone knew is lost, and they must not come back with what they had.
// Without force nothing is changed. It does at once what raft's peers.json does
// with the next start.
func Recover(state, node string, force bool) (*Remainder, error) {
	if _, err := os.Stat(filepath.Join(state, "id")); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is no state directory of a node: %w", state, err)
	}
	d, err := openDirectory(state)
	if err != nil {
		return nil, err
	}
	defer d.close()
	silent := hclog.NewNullLogger()
	meta := new(metadb.BoltMetaDB) // the log does not close its own
	defer func() { _ = meta.Close() }()
	log, err := wal.Open(filepath.Join(d.path, "log"), wal.WithLogger(silent), wal.WithMetaStore(meta))
	if err != nil {
		return nil, fmt.Errorf("state directory: the log cannot be read: %w", err)
	}
	defer func() { _ = log.Close() }()
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(d.path, 2, silent)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	known, err := raft.HasExistingState(log, log, snapshots)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if !known {
		return nil, fmt.Errorf("%w: it has never been in one", ErrNoVoter)
	}
	c := raft.DefaultConfig()
	c.LocalID, c.Logger = serverID(node, d.id), silent
	left, err := remainder(c, node, log, snapshots)
	if err != nil || !force {
		return left, err
	}
	_, transport := raft.NewInmemTransport(left.address)
	defer func() { _ = transport.Close() }()
	alone := raft.Configuration{Servers: []raft.Server{{ID: left.id, Address: left.address}}}
	c = raft.DefaultConfig()
	c.LocalID, c.Logger = left.id, silent
	if err := raft.RecoverCluster(c, &replay{table.New()}, log, log, snapshots, transport, alone); err != nil {
		return left, fmt.Errorf("recover the fleet: %w", err)
	}
	return left, nil
}

// remainder reads what is there.
func remainder(c *raft.Config, node string, log *wal.WAL, snapshots raft.SnapshotStore) (*Remainder, error) {
	left := &Remainder{Node: node, Voters: []string{}, Members: []string{}, id: c.LocalID}
	_, transport := raft.NewInmemTransport("")
	defer func() { _ = transport.Close() }()
	t := &replay{table.New()}
	servers, err := raft.GetConfiguration(c, t, log, log, snapshots, transport)
	if err != nil {
		return nil, fmt.Errorf("read the fleet's log: %w", err)
	}
	for _, s := range servers.Servers {
		name, _, _ := cutID(s.ID)
		if s.Suffrage == raft.Voter {
			left.Voters = append(left.Voters, name)
			if s.ID == left.id {
				left.address = s.Address
			}
		}
	}
	if list, err := snapshots.List(); err == nil && len(list) > 0 {
		left.Last, left.Term = list[0].Index, list[0].Term
	}
	first, err := log.FirstIndex()
	if err != nil {
		return nil, fmt.Errorf("read the fleet's log: %w", err)
	}
	last, err := log.LastIndex()
	if err != nil {
		return nil, fmt.Errorf("read the fleet's log: %w", err)
	}
	for i := max(first, 1); i <= last && last > 0; i++ {
		var entry raft.Log
		if err := log.GetLog(i, &entry); err != nil {
			return nil, fmt.Errorf("read the fleet's log: %w", err)
		}
		if i > left.Last {
			t.Apply(&entry)
			left.Term = entry.Term
		}
	}
	left.Last = max(left.Last, last)
	left.Members, left.Pins = sortedKeys(t.Members), t.Pins.Len()
	if left.address == "" {
		return left, ErrNoVoter
	}
	return left, nil
}

// A replay is the table alone, as raft reads it from a stopped node.
type replay struct{ *table.Table }

// Apply implements raft.FSM.
func (r *replay) Apply(l *raft.Log) any {
	if l.Type != raft.LogCommand {
		return nil
	}
	data, err := openEntry(l.Data)
	if err != nil {
		return err
	}
	c, err := table.Decode(data)
	if err != nil {
		return err
	}
	return r.Table.Apply(c, l.Term)
}

// Restore implements raft.FSM.
func (r *replay) Restore(from io.ReadCloser) error {
	defer from.Close()
	r.Table = table.New()
	return r.Load(from)
}

// Snapshot implements raft.FSM.
func (r *replay) Snapshot() (raft.FSMSnapshot, error) { return snapshot{r.Clone()}, nil }
