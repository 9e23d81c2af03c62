package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"usher.example/cluster/table"
)

// Values of the table are sealed before they reach log, snapshot or wire: private keys
// of certificates are among them. In a fleet that is done with its secret. A node that
// is alone has none, so it makes a key of its own and keeps it beside the log: whoever
// copies the log or a snapshot, or finds an old disk's blocks, has no private key
// without that file. Against who can read the whole directory it is of no use; nor
// would be a key that a program can read by itself anywhere else.

// sealerFile has the key of a node that is alone.
const sealerFile = "seal.key"

// sealOverhead is what sealing adds: the nonce and the tag (NIST SP 800-38D §5.2.1).
const sealOverhead = 12 + 16

// errSealerDamaged: the file of the key has something else in it, or too many.
var errSealerDamaged = errors.New("it has something else than up to 8 keys, one a line: bring it back from a backup; if it is lost, move it away, and what was sealed with it has to be obtained anew")

// An ownSealer is the key that a node seals values with while it has no other. It is
// read with the fleet's lock held, so nobody waits for a disk to read it.
type ownSealer struct {
	making sync.Mutex               // one at a time makes a key
	key    atomic.Pointer[[]Secret] // nil: none; the first seals
}

// keys are the key, if there is one, and others that open.
func (s *ownSealer) keys() []Secret {
	if list := s.key.Load(); list != nil {
		return *list
	}
	return nil
}

// maxSealers bounds the keys in the file: each value that is of none of the others is
// tried with each.
const maxSealers = 8

// readSealer reads the directory's own keys, if there are any: one a line, the one to seal
// with first. The program writes one only; people add one that they have found.
func (d *directory) readSealer() ([]Secret, error) {
	if d.path == "" {
		return nil, nil
	}
	path := filepath.Join(d.path, sealerFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	defer clear(text)
	list, err := secretLines(string(text))
	if err != nil || len(list) == 0 || len(list) > maxSealers {
		return nil, fmt.Errorf("state directory: %s: %w", path, errSealerDamaged)
	}
	return list, nil
}

// makeSealer makes a key. Without a directory it is gone with the process, as is what
// it seals.
func (d *directory) makeSealer() ([]Secret, error) {
	s := NewSecret()
	if d.path == "" {
		return []Secret{s}, nil
	}
	if err := d.write(sealerFile, s.Text()+"\n"); err != nil { // 0600
		return nil, err
	}
	return []Secret{s}, nil
}

// A sealing is what values are sealed and opened with. It is not changed: with other
// secrets there is another one, so whoever finds the same has nothing to look at anew.
type sealing struct {
	secrets, own *[]Secret
	list         []Secret // the one in use first: the fleet's secret, and then the key of when the node was alone
	prints       []string // of each: they take a derivation, and are asked for all the time
}

// ownPrints are of the key of when the node was alone.
func (s *sealing) ownPrints() []string { return s.prints[len(*s.secrets):] }

// sealing is what holds now.
func (f *Fleet) sealing() *sealing {
	secrets, own := f.secrets.Load(), f.own.key.Load()
	if s := f.sealed.Load(); s != nil && s.secrets == secrets && s.own == own {
		return s
	}
	s := &sealing{secrets: secrets, own: own, list: slices.Clone(*secrets)}
	if own != nil {
		s.list = append(s.list, *own...)
	}
	s.prints = prints(s.list)
	f.sealed.Store(s)
	return s
}

// sealers are what values are sealed and opened with, the one in use first.
func (f *Fleet) sealers() []Secret { return f.sealing().list }

// needSealer has a node that has nothing to seal with make a key: when it first needs
// one, so that a full disk is in nobody's way before.
func (f *Fleet) needSealer() error {
	f.own.making.Lock()
	defer f.own.making.Unlock()
	if len(f.own.keys()) > 0 || len(*f.secrets.Load()) > 0 {
		return nil
	}
	key, err := f.dir.makeSealer()
	if err != nil {
		return fmt.Errorf("a key to seal values with cannot be kept: %w", err)
	}
	f.own.key.Store(&key)
	if n := f.foreignValues(); n > 0 {
		f.log.Error("a new key for values was made, and there are values that it does not open: if their key is found, add its line to the file of the new one, below it, and start usher again; otherwise they have to be obtained anew", "event", "values_lost", "values", n, "file", filepath.Join(f.dir.path, sealerFile))
	}
	return nil
}

// foreignValues counts values that are sealed with nothing that this node has.
func (f *Fleet) foreignValues() int {
	have, n := f.sealing().prints, 0
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range f.table.Values.Any() {
		if !slices.Contains(have, v.By) {
			n++
		}
	}
	return n
}

// ErrSealed: a value cannot be opened. The error says which, and with what it was
// sealed.
var ErrSealed = errors.New("the value cannot be opened")

// aboutValue is what a value is sealed as: it opens under no other key.
func aboutValue(key string) string { return "value/" + key }

// sealValue seals a value for the table.
func (f *Fleet) sealValue(key string, plain []byte) (by string, sealed []byte) {
	list := f.sealers()
	return list[0].Print(), seal(list, aboutValue(key), plain)
}

// openValue opens a value of the table. A node that is not given the secret in time, or
// has lost it, has other values still.
func (f *Fleet) openValue(key string, v table.Value) ([]byte, error) {
	list := f.sealers()
	plain, _, err := open(list, aboutValue(key), v.Sealed)
	if err == nil {
		return plain, nil
	}
	if have := prints(list); !slices.Contains(have, v.By) {
		return nil, fmt.Errorf("%w: %s was sealed with the version %s of the secret, and this node has %s: give it that version too (of a node that is alone it is a line of %s in its state directory: add it below what is there, and start usher again), or delete the value to have it obtained anew",
			ErrSealed, key, v.By, cmp.Or(strings.Join(have, ", "), "none"), sealerFile)
	}
	return nil, fmt.Errorf("%w: %s is damaged, or was stored under another key, sealed with the version %s of the secret: delete it to have it obtained anew", ErrSealed, key, v.By)
}
