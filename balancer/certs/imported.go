package certs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
)

const (
	// importedPrefix is where the storage has what administrators brought:
	// imported/NAME/KIND.pem, chain and key in one value, so that no node ever
	// sees the one without the other.
	importedPrefix = "imported"

	// maxImported bounds how many of them a node holds; a hosting company has
	// thousands of domains, and each takes some 10 KB.
	maxImported = 4096

	// rereadEvery is how long a change may stay unseen where the storage tells
	// of none, or told and was not heard.
	rereadEvery = time.Minute

	// firstRetry and retryRead are the times after which a failed reading is
	// tried again, doubled from the one to the other: a fleet that has just been
	// started can be read in some tenths of a second.
	firstRetry = 50 * time.Millisecond
	retryRead  = 5 * time.Second
)

// An imported shelf has what administrators brought into the fleet.
type imported struct {
	storage certmagic.Storage
	log     *slog.Logger
	nudged  chan struct{} // something has changed

	reading sync.Mutex                   // one reading at a time; held while the storage is asked
	said    map[string][sha256.Size]byte // values that are of no use, by key: told once; guarded by reading
	board   atomic.Pointer[board]
}

// A board is what a shelf shows. It never changes.
type board struct {
	entries map[string]*entry // by key of the storage
	problem string            // why the newest reading failed
	*index
}

// An entry is one value of the storage.
type entry struct {
	certificate *tls.Certificate
	status      Status
	sum         [sha256.Size]byte // of the value: to parse an RSA key takes a millisecond
}

func newImported(storage certmagic.Storage, log *slog.Logger) *imported {
	s := &imported{storage: storage, log: log, nudged: make(chan struct{}, 1), said: make(map[string][sha256.Size]byte)}
	s.show(nil, "")
	return s
}

// match implements shelf.
func (s *imported) match(name string) []*tls.Certificate { return s.board.Load().match(name) }

// list implements shelf.
func (s *imported) list() []Status {
	b := s.board.Load()
	var list []Status
	for _, key := range slices.Sorted(maps.Keys(b.entries)) {
		st := b.entries[key].status
		if st.Problem == "" {
			st.Problem = b.problem
		}
		list = append(list, st)
	}
	return list
}

// run implements shelf: it reads again when something has changed, and now and
// then.
func (s *imported) run(ctx context.Context) {
	var watching sync.WaitGroup
	defer watching.Wait()
	if w, ok := s.storage.(Watcher); ok {
		watching.Go(func() { w.Watch(ctx, importedPrefix, func(string) { s.nudge() }) })
	}
	retry := firstRetry
	for {
		next := rereadEvery
		if unread, _ := s.read(ctx); unread != nil {
			next, retry = retry, min(2*retry, retryRead)
		} else {
			retry = firstRetry
		}
		again := time.NewTimer(next)
		select {
		case <-ctx.Done():
			again.Stop()
			return
		case <-s.nudged:
		case <-again.C:
		}
		again.Stop()
	}
}

func (s *imported) nudge() {
	select {
	case s.nudged <- struct{}{}:
	default: // it reads soon anyway
	}
}

// renew implements renewer: what there is to do is to read again.
func (s *imported) renew(ctx context.Context, _, _ string, _ bool) error {
	return errors.Join(s.read(ctx))
}

// read takes over what the storage has. Of what cannot be read, or is of no use, the
// one before stays; nothing goes that is not known to be gone. Another try may help
// against the first error only.
func (s *imported) read(ctx context.Context) (unread, useless error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	before := s.board.Load()
	keys, err := s.keys(ctx)
	if err != nil {
		s.show(before.entries, unreadable+err.Error())
		return err, nil
	}
	entries := make(map[string]*entry, len(keys))
	said := make(map[string][sha256.Size]byte)
	keep := func(key, problem string) {
		if was := before.entries[key]; was != nil {
			kept := *was
			kept.sum = [sha256.Size]byte{} // the problem goes with the next good reading
			kept.status.Problem = problem
			entries[key] = &kept
		}
	}
	for _, key := range keys {
		value, err := s.storage.Load(ctx, key)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since it was listed
		}
		if err != nil {
			unread = errors.Join(unread, fmt.Errorf("%s: %w", key, err))
			keep(key, unreadable+err.Error())
			continue
		}
		was := before.entries[key]
		e, err := was.again(key, value)
		if err != nil {
			useless = errors.Join(useless, fmt.Errorf("%s: %w", key, err))
			keep(key, "a newer one is of no use: "+err.Error()+"; import it again")
			said[key] = sha256.Sum256(value)
			if s.said[key] != said[key] {
				s.log.Warn("an imported certificate is of no use; import it again with usher cert import", "event", "certificate_import_useless", "key", key, "err", err)
			}
			continue
		}
		entries[key] = e
		if was == nil || was.status.Fingerprint != e.status.Fingerprint {
			s.log.Info("imported certificate is served", "event", "certificate_served", "names", e.status.Names, "id", e.status.ID, "until", e.status.NotAfter)
		}
	}
	for key, was := range before.entries {
		if entries[key] == nil {
			s.log.Info("imported certificate is no longer served", "event", "certificate_withdrawn", "names", was.status.Names, "id", was.status.ID)
		}
	}
	s.said = said
	s.show(entries, "")
	return unread, useless
}

// keys lists the values that are served. Where there are too many, those stay that
// are on the board: what is served is not taken away by what is new, whose name may
// come first.
func (s *imported) keys(ctx context.Context) ([]string, error) {
	all, err := importedKeys(ctx, s.storage)
	if err != nil || len(all) <= maxImported {
		return all, err
	}
	s.log.Warn("more imported certificates than are served; remove some with usher cert remove", "event", "certificates_too_many", "there", len(all), "served", maxImported)
	served := s.board.Load().entries
	var kept, others []string
	for _, key := range all {
		if served[key] != nil {
			kept = append(kept, key)
		} else {
			others = append(others, key)
		}
	}
	return append(kept, others...)[:maxImported], nil
}

// importedKeys lists, sorted, what a storage has of imported certificates.
func importedKeys(ctx context.Context, storage certmagic.Storage) ([]string, error) {
	all, err := storage.List(ctx, importedPrefix, true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(key string) bool { return path.Ext(key) != ".pem" })
	slices.Sort(all)
	return all, nil
}

// unreadable begins what is wrong while nothing can be read.
const unreadable = "the fleet's storage cannot be read: "

// show puts entries on the board.
func (s *imported) show(entries map[string]*entry, problem string) {
	all := make([]*tls.Certificate, 0, len(entries))
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		all = append(all, entries[key].certificate)
	}
	s.board.Store(&board{entries, problem, newIndex(all)})
}

// again reads a value, if it is not the one that e, which may be nil, was read from.
// Its dates are no fault: who let it expire is warned, and clients get it for want of
// another.
func (e *entry) again(key string, value []byte) (*entry, error) {
	sum := sha256.Sum256(value)
	if e != nil && e.sum == sum {
		return e, nil
	}
	b, err := openValue(value)
	if err != nil {
		return nil, err
	}
	return &entry{b.certificate(), b.status(key), sum}, nil
}

func openValue(value []byte) (*bundle, error) {
	if len(value) > 2*(MaxCertificatePEM+MaxKeyPEM) { // PEM is written anew, with other line ends
		return nil, errors.New("the value is too large")
	}
	c, err := parse(value)
	if err != nil {
		return nil, err
	}
	return newBundle(c.certs, c.keys)
}
