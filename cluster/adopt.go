package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"usher.example/cluster/table"
)

// A node that is alone is called after its host, and hosts are renamed; and one day
// it gets a name in a fleet. In its log it is the only server, so what it is called
// there can be made another one.

// nameFile keeps what the node was called last.
const nameFile = "name"

// name is what the node was called last, empty if that is not known.
func (d *directory) name() (string, error) {
	if d.path == "" {
		return "", nil
	}
	text, err := os.ReadFile(filepath.Join(d.path, nameFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("state directory: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// keepName keeps what the node is called.
func (d *directory) keepName(name string) error {
	if d.path == "" {
		return nil
	}
	return d.write(nameFile, name+"\n")
}

// call has the node go by its name in its log and its directory.
func (f *Fleet) call(known bool, id raft.ServerID, log logStore, snapshots raft.SnapshotStore) error {
	was, err := f.dir.name()
	if err != nil || was == f.o.Node {
		return err
	}
	if known {
		if err := adopt(id, f.dir.id, log, snapshots); err != nil {
			return fmt.Errorf("state directory: %w", err)
		}
	}
	return f.dir.keepName(f.o.Node)
}

// adopt has the only server of a log go by another name, if that is this node by its
// directory. Of a log with more servers it changes nothing: there the others know a
// node by its name.
func adopt(id raft.ServerID, dir string, log logStore, snapshots raft.SnapshotStore) error {
	c := raft.DefaultConfig()
	c.LocalID, c.Logger = id, hclog.NewNullLogger()
	_, transport := raft.NewInmemTransport(localAddress)
	defer func() { _ = transport.Close() }()
	servers, err := raft.GetConfiguration(c, &replay{table.New()}, log, log, snapshots, transport)
	if err != nil {
		return fmt.Errorf("read who is in the log: %w", err)
	}
	if len(servers.Servers) != 1 || servers.Servers[0].ID == id {
		return nil
	}
	only := servers.Servers[0]
	if _, was, _ := cutID(only.ID); was != dir {
		return nil
	}
	only.ID = id
	return raft.RecoverCluster(c, &replay{table.New()}, log, log, snapshots, transport, raft.Configuration{Servers: []raft.Server{only}})
}
