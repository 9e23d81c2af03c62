package certs

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
)

const (
	// maxRecalled bounds the certificates that are read without a client's having asked:
	// half of maxDemanded, so that there is room for names that come anew.
	maxRecalled = maxDemanded / 2

	// maxMisses bounds the failures that are remembered, of some 100 bytes each. One
	// that is pushed out may be tried again too early, and demandsPerHour bounds those.
	maxMisses = 1024
)

// recall reads the stored certificates of names that clients may ask for: after a
// restart all clients come at once, and shall not wait, nor use up what strangers are
// allowed. It tries until ctx ends or another plan is in force.
func (r *registrar) recall(ctx context.Context, p *policy) {
	for r.policy() == p {
		names, err := r.kept(ctx, p)
		if err == nil {
			r.remember(p, names)
			return
		}
		r.log.Debug("the stored certificates cannot be listed", "err", err)
		pause := time.NewTimer(storagePause)
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
	}
}

// kept lists the names that fit a pattern of which the storage has something.
func (r *registrar) kept(ctx context.Context, p *policy) (list []want, err error) {
	for _, kind := range p.keys() {
		s := kind.storage(r.storage)
		cas, err := s.List(ctx, certmagic.StorageKeys.CertsPrefix(""), false)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, ca := range cas {
			names, err := s.List(ctx, certmagic.StorageKeys.CertsPrefix(path.Base(ca)), false)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			for _, key := range names {
				name := path.Base(key) // as it is, but for a wildcard's
				if strings.HasPrefix(name, "wildcard_") || p.listed(name) || !p.demanded(name) {
					continue
				}
				if list = append(list, want{name, kind}); len(list) == maxRecalled {
					return list, nil
				}
			}
		}
	}
	return list, nil
}

// remember wants names that nobody has asked for yet.
func (r *registrar) remember(p *policy, names []want) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tooled != p {
		return
	}
	for _, w := range names {
		if r.works[w] == nil {
			r.add(w, true)
		}
	}
	r.recalled = p
	r.wake()
}

// unasked says that no client has asked for the name since it was remembered: then it
// is read, and nothing is ordered for it.
func (w *work) unasked() bool { return w.demanded && w.used.Load() == 0 }

// idle is how long no client has asked for the name.
func (w *work) idle(now time.Time) time.Duration {
	return min(now.Sub(w.since), now.Sub(time.Unix(w.used.Load(), 0)))
}

// glance reads a certificate that nobody has asked for yet. One that is not good is
// forgotten: the first who asks has it obtained.
func (r *registrar) glance(ctx context.Context, w *work) {
	found, _, err := r.read(ctx, w)
	if err != nil && stored(err) || ctx.Err() != nil {
		r.done(w, err)
		return
	}
	if found != nil && current(w.pair.Load().Leaf, time.Now()) {
		r.done(w, nil)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	w.busy = false
	close(w.looked)
	if r.works[w.want] == w {
		r.forget(w.want)
	}
}

// misses are names of clients that came to nothing lately, until when they are not
// tried. The zero value is ready; registrar.mu guards it.
type misses struct {
	until map[want]time.Time
	queue []want // the oldest first
}

// add takes down a failure, in place of the oldest if there are too many.
func (m *misses) add(w want, until time.Time) {
	if m.until == nil {
		m.until = make(map[want]time.Time)
	}
	if len(m.queue) == maxMisses {
		delete(m.until, m.queue[0])
		m.queue = m.queue[1:]
	}
	m.queue = append(m.queue, w)
	m.until[w] = until
}

func (m *misses) has(w want, now time.Time) bool { return now.Before(m.until[w]) }

// heard has a name tried again of which somebody has stored something.
func (m *misses) heard(key string) {
	name := strings.TrimSuffix(path.Base(key), path.Ext(key))
	delete(m.until, want{name, ECDSA})
	delete(m.until, want{name, RSA})
}
