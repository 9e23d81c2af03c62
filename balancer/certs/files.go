package certs

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A reading is what was found on disk.
type reading struct {
	pairs    []*pair
	troubles []trouble
	folders  []string // in which a change may change the reading
}

// A trouble is a file that is of no use.
type trouble struct {
	slot, file string
	err        error // names the file and says what to do
}

// touches reports whether it may be why nothing was found in a slot: it is there,
// or is with a directory above.
func (t trouble) touches(slot string) bool {
	return t.slot == slot || t.file == t.slot && strings.HasPrefix(slot, t.slot+"/")
}

// A reader reads certificates from disk. It is used by one goroutine at a time.
type reader interface {
	read(now time.Time) reading
}

// files is the shelf of certificates that others put into files.
type files struct {
	log *slog.Logger

	mu     sync.Mutex // guards what follows
	reader reader
	said   map[string]string // troubles that were logged, by file

	stand atomic.Pointer[stand]
}

// A stand is what is on the shelf at a time. It never changes.
type stand struct {
	pairs    []*pair
	troubles []trouble
	folders  []string
	*index
}

func newFiles(r reader, log *slog.Logger) *files {
	f := &files{reader: r, log: log, said: make(map[string]string)}
	f.stand.Store(newStand(nil, reading{}))
	return f
}

func (f *files) match(name string) []*tls.Certificate { return f.stand.Load().match(name) }

// run has nothing to do: the Keeper looks after all files together.
func (f *files) run(ctx context.Context) { <-ctx.Done() }

// folders are those in which a change may concern the shelf.
func (f *files) folders() []string { return f.stand.Load().folders }

// reread reads for a new plan. What is of no use is an error, unless there is
// something else in a directory.
func (f *files) reread() (adopt func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	r := f.reader.read(now)
	if len(r.pairs) == 0 {
		var errs []error
		for _, t := range r.troubles {
			errs = append(errs, t.err)
		}
		return nil, fmt.Errorf("certificate: %w", errors.Join(errs...))
	}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.adopt(r, now)
		f.tell(true)
	}, nil
}

// look reads again. What is in trouble is logged, unless it may be that a file
// is yet to come: then unsaid is true, and a look that is final says so.
func (f *files) look(final bool) (unsaid bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.adopt(f.reader.read(now), now)
	return f.tell(final)
}

// adopt puts a reading on the shelf, and keeps what was there for as long as the
// reading has nothing better.
func (f *files) adopt(r reading, now time.Time) {
	old := f.stand.Load()
	before, found := indexed(old.pairs), indexed(r.pairs)
	named := byName(r.pairs)
	pairs := slices.Clone(r.pairs)
	for _, p := range old.pairs {
		sharing := named.sharing(p.leaf())
		if len(r.pairs) == 1 {
			sharing = r.pairs // it may be for other names now
		}
		if found[p.at()] == nil && p.keptOver(sharing, r.troubles, now) {
			pairs = append(pairs, p)
		}
	}
	named = byName(old.pairs)
	for _, p := range r.pairs {
		if was := before[p.at()]; was != nil {
			p.status.Problem = cmp.Or(p.status.Problem, was.aged())
			continue
		}
		for _, o := range named.sharing(p.leaf()) {
			if p.stands(o) && p.leaf().NotBefore.Before(o.leaf().NotBefore) {
				p.status.Problem = cmp.Or(p.status.Problem, fmt.Sprintf("%s: %sthe one that was shown before it (serial %s): if that was not meant, put the newer one back", p.status.From, older, o.status.Serial))
			}
		}
		level := slog.LevelInfo
		if len(old.pairs) == 0 { // at a start they are no news
			level = slog.LevelDebug
		}
		f.log.Log(context.Background(), level, "certificate loaded", "event", "certificate_loaded", "names", strings.Join(p.status.Names[:min(len(p.status.Names), namesLogged)], " "), "file", p.status.From,
			"key", p.status.Key, "serial", p.status.Serial, "not_after", p.status.NotAfter)
	}
	slices.SortStableFunc(pairs, func(a, b *pair) int {
		return cmp.Or(cmp.Compare(a.slot, b.slot), b.leaf().NotBefore.Compare(a.leaf().NotBefore))
	})
	f.stand.Store(newStand(pairs, r))
}

func indexed(pairs []*pair) map[string]*pair {
	index := make(map[string]*pair, len(pairs))
	for _, p := range pairs {
		index[p.at()] = p
	}
	return index
}

// namesLogged bounds a line of the log.
const namesLogged = 5

// older begins what is said of a certificate that is older than its predecessor.
const older = "older than "

// aged is what was said of that, which holds for as long as the file stays.
func (p *pair) aged() string {
	if strings.Contains(p.status.Problem, ": "+older) {
		return p.status.Problem
	}
	return ""
}

// keptOver reports whether a pair stays on the shelf after a reading that has
// it no more, but those that share a name with it: its place has something in it
// that cannot be used, or not yet.
func (p *pair) keptOver(sharing []*pair, troubles []trouble, now time.Time) bool {
	if slices.ContainsFunc(troubles, func(t trouble) bool { return t.touches(p.slot) }) {
		return true
	}
	pending, replaced := false, false
	for _, n := range sharing {
		if n.stands(p) {
			pending, replaced = true, replaced || current(n.leaf(), now)
		}
	}
	return current(p.leaf(), now) && pending && !replaced
}

func newStand(pairs []*pair, r reading) *stand {
	all := make([]*tls.Certificate, 0, len(pairs))
	for _, p := range pairs {
		all = append(all, p.cert)
	}
	return &stand{pairs: pairs, troubles: r.troubles, folders: unique(r.folders), index: newIndex(all)}
}

// list is what there is, and what is in trouble.
func (f *files) list() []Status {
	s := f.stand.Load()
	var list []Status
	told := make(map[string]bool)
	for _, p := range s.pairs {
		st := p.status
		for _, t := range s.troubles {
			if t.file == p.status.From && t.slot == p.slot {
				st.Problem, told[t.file] = cmp.Or(st.Problem, t.err.Error()), true
			}
		}
		list = append(list, st)
	}
	for _, t := range s.troubles {
		if !told[t.file] {
			list = append(list, Status{ID: wantID(t.file), Source: "file", From: t.file, Problem: t.err.Error()})
		}
	}
	return list
}

// tell logs what is in trouble, once.
func (f *files) tell(final bool) (unsaid bool) {
	s := f.stand.Load()
	troubles := make(map[string]string)
	for _, t := range s.troubles {
		troubles[t.file] = t.err.Error()
	}
	for _, p := range s.pairs {
		if p.status.Problem != "" && troubles[p.status.From] == "" {
			troubles[p.status.From] = p.status.Problem
		}
	}
	for file, text := range troubles {
		if f.said[file] == text {
			continue
		}
		if !final {
			unsaid = true
			continue
		}
		f.said[file] = text
		f.log.Warn("a file of certificates needs somebody; what can be shown is", "event", "certificate_file_bad", "file", file, "problem", text)
	}
	for file := range f.said {
		if troubles[file] == "" {
			delete(f.said, file)
		}
	}
	return unsaid
}
