// Package certstore keeps certificates, and what is needed to get them, in the fleet's
// table: it is certmagic's Storage and Locker. A node that is alone uses it as well.
//
// It decides nothing: package cluster has the values, sealed, and the locks; this one
// puts certmagic's contract on them. What that says is tested sentence by sentence, on
// every node of a fleet of three and on a fleet of one.
//
// Laws: a value that this node has is read without asking anybody; one that it does not
// have it asks the leader for, before it says that there is none; a write returns when
// all nodes that can be reached have it, so that a CA may come to any of them; values
// and keys are never logged.
package certstore

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"

	"usher.example/cluster"
)

// A Store is a fleet's values and locks as certmagic sees them. Any number of
// goroutines may use it; there may be several of one fleet.
type Store struct {
	fleet *cluster.Fleet
	// under are the locks that are held for certificates, by the name in their keys.
	under sync.Map
}

var (
	_ certmagic.Storage          = (*Store)(nil)
	_ certmagic.TryLocker        = (*Store)(nil)
	_ certmagic.LockLeaseRenewer = (*Store)(nil)
)

// New returns the Store of a fleet that runs. Its methods return errors once that has
// ended.
func New(f *cluster.Fleet) *Store { return &Store{fleet: f} }

// String names it, for certmagic's log, and shows nothing that is in it.
func (*Store) String() string { return "fleet" }

// GoString is as String.
func (*Store) GoString() string { return "fleet" }

// Store implements certmagic.Storage. The errors are those of cluster.Fleet.PutUnder: who
// has lost the lock of a certificate does not overwrite what the next holder has stored.
func (s *Store) Store(ctx context.Context, key string, value []byte) error {
	return s.fleet.PutUnder(ctx, s.lockOf(key), key, value)
}

// Load implements certmagic.Storage. The errors are those of cluster.Fleet.Value.
func (s *Store) Load(ctx context.Context, key string) ([]byte, error) {
	return s.fleet.Value(ctx, key)
}

// Delete implements certmagic.Storage; under a lock as Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	return s.fleet.RemoveUnder(ctx, s.lockOf(key), key)
}

// Exists implements certmagic.Storage. If the fleet cannot be asked, what this node does
// not have does not exist.
func (s *Store) Exists(ctx context.Context, key string) bool {
	_, err := s.fleet.Stat(ctx, key)
	return err == nil
}

// List implements certmagic.Storage: with recursive directories too, as certmagic's own
// storage in files does it. The empty path has all keys.
func (s *Store) List(ctx context.Context, path string, recursive bool) ([]string, error) {
	return s.fleet.Keys(ctx, path, recursive)
}

// Stat implements certmagic.Storage.
func (s *Store) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	i, err := s.fleet.Stat(ctx, key)
	if err != nil {
		return certmagic.KeyInfo{}, err
	}
	return certmagic.KeyInfo{Key: i.Key, Modified: i.Modified, Size: i.Size, IsTerminal: !i.Dir}, nil
}

// Lock implements certmagic.Locker. A lock is renewed as long as it is held; if its
// node dies, another gets it within 20 s.
func (s *Store) Lock(ctx context.Context, name string) error {
	err := s.fleet.Lock(ctx, name)
	if err == nil {
		s.note(name)
	}
	return err
}

// TryLock implements certmagic.TryLocker.
func (s *Store) TryLock(ctx context.Context, name string) (bool, error) {
	ok, err := s.fleet.TryLock(ctx, name)
	if ok {
		s.note(name)
	}
	return ok, err
}

// Unlock implements certmagic.Locker. It works with a context that has ended, which is
// what the caller of a Lock has whose work was cut short.
func (s *Store) Unlock(ctx context.Context, name string) error {
	if site, ok := siteOf(name); ok {
		s.under.Delete(site)
	}
	return s.fleet.Unlock(context.WithoutCancel(ctx), name)
}

// ordering begins the name of the lock that certmagic has while it obtains or renews a
// certificate, before the certificate's name.
const ordering = "issue_cert_"

// siteOf is what the keys of a lock's certificate have for its name.
func siteOf(lock string) (site string, ok bool) {
	name, ok := strings.CutPrefix(lock, ordering)
	return certmagic.StorageKeys.Safe(name), ok
}

func (s *Store) note(lock string) {
	if site, ok := siteOf(lock); ok {
		s.under.Store(site, lock)
	}
}

// lockOf is the lock that is held for the certificate which a key is of, or empty. Keys
// of certificates are certificates/ISSUER/NAME/FILE, maybe with something before that.
func (s *Store) lockOf(key string) string {
	names := strings.Split(key, "/")
	i := slices.Index(names, "certificates")
	if i < 0 || len(names) < i+3 {
		return ""
	}
	lock, _ := s.under.Load(names[i+2])
	text, _ := lock.(string) // or empty
	return text
}

// RenewLockLease implements certmagic.LockLeaseRenewer. The fleet renews locks by
// itself, for as long as they are held, whatever the duration; the error says that this
// one was lost.
func (s *Store) RenewLockLease(_ context.Context, name string, _ time.Duration) error {
	return s.fleet.Holds(name)
}

// Watch calls changed for each key below a prefix, the empty one for everything, that
// was stored or removed, by this node or another, until ctx or the fleet ends. It
// begins with the keys that are there, so who reads what he is told of misses nothing.
// A certificate comes as three keys, its .json last.
func (s *Store) Watch(ctx context.Context, prefix string, changed func(key string)) {
	w := s.fleet.Watch(prefix)
	there, _ := s.fleet.Keys(ctx, prefix, true) // what is not there yet comes as a change
	for err := error(nil); err == nil; {
		for _, key := range there {
			changed(key)
		}
		there, err = w.Next(ctx)
	}
}

// Room is how many octets of values the fleet takes still, with what each costs besides.
func (s *Store) Room() int64 { return s.fleet.Room() }

// Sealed says that an error is of a value which this node cannot open, for lack of the
// secret: it is there, and others may be able to.
func Sealed(err error) bool { return errors.Is(err, cluster.ErrSealed) }
