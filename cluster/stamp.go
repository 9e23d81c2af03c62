package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A state directory belongs to one fleet. Its log among another's nodes would be two
// tables under one name, and leases by both: a user on two back ends whom nobody
// notices. So the directory says whose it is: a fleet's name and, once the node knows
// it, the fleet's id.

// stampFile says whose a state directory is.
const stampFile = "fleet"

// nobody stands for the name of a fleet of one.
const nobody = "-"

// A stamp is what a state directory says of its fleet.
type stamp struct{ name, id string }

// stamp reads it; a directory that has none is new.
func (d *directory) stamp() (stamp, error) {
	if d.path == "" {
		return stamp{}, nil
	}
	text, err := os.ReadFile(filepath.Join(d.path, stampFile))
	if errors.Is(err, fs.ErrNotExist) {
		return stamp{}, nil
	}
	if err != nil {
		return stamp{}, fmt.Errorf("state directory: %w", err)
	}
	name, id, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	return stamp{name, id}, nil
}

func (d *directory) keepStamp(s stamp) error {
	if d.path == "" {
		return nil
	}
	return d.write(stampFile, strings.TrimSpace(s.name+" "+s.id)+"\n")
}

// belong refuses a directory of another fleet. One of a node that was alone may begin
// a fleet, with its pins; of a fleet's voters the first by name may, so that there is
// one.
func (o FleetOptions) belong(d *directory) (stamp, error) {
	is, err := d.stamp()
	if err != nil {
		return stamp{}, err
	}
	want := o.Fleet
	if want == "" {
		want = nobody
	}
	const away = "move %s away, and the node joins anew"
	switch {
	case is.name == want:
		return is, nil // and is not written: the disk may be full
	case is.name == "":
	case want == nobody:
		return stamp{}, fmt.Errorf("state directory: it is of the fleet %q, and fleet.name is not set: set it, or move %s away, and the node begins anew, alone", is.name, d.path)
	case is.name != nobody:
		return stamp{}, fmt.Errorf("state directory: it is of the fleet %q, not of %q; "+away, is.name, want, d.path)
	case len(o.Voters) == 0 || o.Node != slices.Min(o.Voters):
		return stamp{}, fmt.Errorf("state directory: it is of a node that was alone, and of the voters only the first by name may keep its pins and begin the fleet with them; "+away, d.path)
	}
	is.name = want
	return is, d.keepStamp(is)
}

// keepFleet notes in the directory what fleet the table is of. It is the loop's.
func (f *Fleet) keepFleet() {
	f.mu.Lock()
	id := f.table.Settings.Fleet
	f.mu.Unlock()
	was := *f.stamped.Load()
	if id == "" || id == was.id {
		return
	}
	if was.id != "" {
		f.foreign(was.id, id)
		return
	}
	s := stamp{was.name, id}
	if err := f.dir.keepStamp(s); err != nil {
		f.complain("it is not kept of which fleet this node is", err)
		return
	}
	f.stamped.Store(&s)
	f.pins() // and tells the others
}

// foreign ends a node's part whose log has become another fleet's.
func (f *Fleet) foreign(was, is string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fatal != nil {
		return
	}
	f.fatal = fmt.Errorf("this node was of the fleet %s, and its log is of the fleet %s, which has the same name: move its state directory away, and it joins anew", was, is)
	f.log.Error("the node cannot follow its fleet any more", "event", "node_stuck", "err", f.fatal)
}

// stranger says whether a node that gossip sees is of another fleet of the same name
// and secret, and warns of it once a minute. It is the manager's.
func (f *Fleet) stranger(name string, p peer) bool {
	own := f.stamped.Load().id
	if p.Fleet == "" || own == "" || p.Fleet == own {
		return false
	}
	if now := time.Now(); now.Sub(f.warned) >= complainEvery {
		f.warned = now
		f.log.Warn("a node has the state of another fleet, or of when it was alone, and is not admitted: move its state directory away, and it joins anew", "event", "node_stranger", "peer", name, "address", p.address)
	}
	return true
}
