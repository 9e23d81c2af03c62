package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// renewTime bounds a renewal that an administrator asks for: he waits for it.
const renewTime = 10 * time.Minute

// obtained are the names and patterns of all listeners that CAs are asked for.
func (p Plan) obtained() (names, patterns []string) {
	for _, l := range slices.Sorted(maps.Keys(p.Listeners)) {
		for _, s := range p.Listeners[l].Sources {
			names, patterns = append(names, s.Names...), append(patterns, s.OnDemand...)
		}
	}
	return names, patterns
}

// plan is the part of a plan that the registrar does. Nothing is in force before apply.
func (r *registrar) plan(p Plan) (*policy, error) {
	names, patterns := p.obtained()
	if len(names)+len(patterns) > 0 && r.storage == nil {
		return nil, errors.New("certificates are to be obtained, and there is nothing to keep them in")
	}
	return newPolicy(p.ACME, names, patterns)
}

// Challenges answers HTTP-01 challenges of CAs, also those of orders that run on
// other nodes, and nothing else but redirects: it is for a listener at port 80.
func (k *Keeper) Challenges() http.Handler { return k.registrar }

// Challenge is the configuration of handshakes with CAs that look for the answer to a
// TLS-ALPN-01 challenge, nil for all other clients. The configurations that
// [Keeper.Config] returns heed it already; it is for a listener at port 443.
func (k *Keeper) Challenge(hello *tls.ClientHelloInfo) *tls.Config {
	return k.registrar.challenge(hello)
}

// renew renews the certificates of a name now, of a kind of key or, if that is
// empty, of all kinds, or obtains those that are missing, and returns when that is done.
// Without force only what would soon be renewed anyway is. The error has the CA's words
// and what to do; without a work of that name it is fs.ErrNotExist.
func (r *registrar) renew(ctx context.Context, name, key string, force bool) error {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, byHand{}, true), renewTime)
	defer cancel()
	var errs []error
	known := false
	for _, kind := range r.policy().keys() {
		if key != "" && !strings.EqualFold(key, string(kind)) {
			continue
		}
		r.mu.Lock()
		w, p := r.works[want{name, kind}], r.presses[kind]
		if w != nil && force {
			w.faults = nil
			for _, ca := range r.tooled.cas {
				r.limit(ca).clear(name)
			}
		}
		r.mu.Unlock()
		if w == nil || p == nil {
			continue
		}
		known = true
		err := r.finish(ctx, w)
		if err == nil {
			err = p.config.RenewCertSync(ctx, name, force) // or obtains, where there is none
		}
		if err == nil {
			_, _, err = r.read(ctx, w)
		}
		r.renewed(w, err)
		if err != nil {
			errs = append(errs, r.explain(w, err))
		}
	}
	if !known {
		return fmt.Errorf("%s: %w among those that usher obtains", name, fs.ErrNotExist)
	}
	return errors.Join(errs...)
}

// renewed has the name looked at again in its turn.
func (r *registrar) renewed(w *work, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		w.fresh = ""
	} else {
		w.err = nil // whatever a look that is under way has met before
	}
	if w.busy {
		w.again = true
		return
	}
	if w.err = err; err == nil {
		w.tries, w.due = 0, later(worksEvery)
	} else if stored(err) { // there may be one to store
		w.due = later(storagePause)
		r.wake()
	}
}

// explain is an error as an administrator reads it.
func (r *registrar) explain(w *work, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	what, do := r.trouble(w, err)
	return &orderError{fmt.Sprintf("%s (%s key): %s: %s", w.name, w.kind, what, do), err}
}

// An orderError has the words for people, and the cause for programs.
type orderError struct {
	text  string
	cause error
}

func (e *orderError) Error() string { return e.text }
func (e *orderError) Unwrap() error { return e.cause }
