package certs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A renewer is a shelf that can be told to have a certificate anew: by an order at
// its CA, or by reading it again.
type renewer interface {
	// renew does that for a certificate of its list, given by its first name, and
	// returns when it is served or the try has failed. Without force one whose
	// time has not come stays, which is no error. key is the kind of its key, as in
	// its status; empty: those of all kinds.
	renew(ctx context.Context, name, key string, force bool) error
}

// Renew has the certificates that a name stands for renewed, and returns when they
// are served or the try has failed: minutes, at a slow CA. The name is one of a
// certificate's, or its ID. Without force nothing happens to those whose time has
// not come. The error says what to do; it is ErrUnknown if there is none, and
// ErrNotHere if none of them comes from where usher could get another.
func (k *Keeper) Renew(ctx context.Context, name string, force bool) error {
	all, err := k.find(name)
	if err != nil {
		return err
	}
	// Certificates of one name are renewed together, those with another key too, if
	// it was not an ID that was given.
	type errand struct {
		shelf     shelf
		name, key string
	}
	done := map[errand]bool{}
	var errs []error
	for _, f := range all {
		r, ok := f.shelf.(renewer)
		if !ok || len(f.status.Names) == 0 {
			continue
		}
		e := errand{shelf: f.shelf, name: f.status.Names[0]}
		if f.status.identified(name) {
			e.key = algorithm(f.status.Key)
		}
		if done[e] {
			continue
		}
		done[e] = true
		if err := r.renew(ctx, e.name, e.key, force); err != nil {
			errs = append(errs, fmt.Errorf("renew %s: %w", e.name, err))
		}
	}
	if len(done) == 0 {
		return fmt.Errorf("%w: %s has source %q", ErrNotHere, name, all[0].status.Source)
	}
	return errors.Join(errs...)
}

// identified reports whether a word that the certificate was found by is its ID, and
// none of its names.
func (s *Status) identified(word string) bool {
	word = strings.ToLower(strings.TrimSuffix(word, "."))
	nameless := Status{ID: s.ID, Fingerprint: s.Fingerprint}
	return nameless.means(word) && !slices.ContainsFunc(s.Names, func(n string) bool { return strings.EqualFold(n, word) })
}
