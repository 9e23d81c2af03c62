package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// minID is how much of an ID has to be given: fewer digits could be a word.
const minID = 4

// Errors that callers tell apart.
var (
	// ErrUnknown means that there is no such certificate.
	ErrUnknown = errors.New("there is no such certificate")
	// ErrSeveral means that a name stands for more than one.
	ErrSeveral = errors.New("there are several such certificates")
	// ErrUnfit means that what was brought is nothing to serve.
	ErrUnfit = errors.New("the certificate is not fit to be served")
	// ErrNotHere means that usher cannot do that with certificates of this kind.
	ErrNotHere = errors.New("not with certificates of this kind")
)

// A found certificate is one that was asked for.
type found struct {
	shelf  shelf
	status Status
}

// inUse are the shelves of the plan in force, each once.
func (k *Keeper) inUse() []shelf {
	serving := k.serving.Load()
	if serving == nil {
		return nil
	}
	var all []shelf
	for _, f := range *serving {
		for _, s := range f.shelves {
			if !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
	}
	return all
}

// find returns the certificates that a name stands for: a name that is in them, or
// their ID or its beginning; if there is none, those whose wildcard covers it.
func (k *Keeper) find(name string) ([]found, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	var exact, covering []found
	for _, s := range k.inUse() {
		for _, st := range s.list() {
			switch {
			case st.means(name):
				exact = append(exact, found{s, st})
			case slices.ContainsFunc(st.Names, func(pattern string) bool { return covers(pattern, name) }):
				covering = append(covering, found{s, st})
			}
		}
	}
	if len(exact) == 0 {
		exact = covering
	}
	if len(exact) == 0 {
		return nil, fmt.Errorf("%w: %q", ErrUnknown, name)
	}
	return exact, nil
}

// means reports whether a name is one of a certificate's, or its ID.
func (s *Status) means(name string) bool {
	return slices.Contains(s.Names, name) ||
		len(name) >= minID && s.ID != "" && (strings.HasPrefix(s.ID, name) || s.Fingerprint == name)
}

// certificate takes a certificate that was listed off its shelf; nil: it is not
// there any more, or there was none yet.
func (f found) certificate() *tls.Certificate {
	if f.status.Fingerprint == "" {
		return nil
	}
	// Shelves answer to names, with wildcards for a host that they cover.
	names := []string{""}
	for _, n := range f.status.Names {
		names = append(names, n, strings.Replace(n, "*", "any", 1))
	}
	for _, n := range names {
		for _, c := range f.shelf.match(n) {
			if len(c.Certificate) > 0 && fingerprint(c.Certificate[0]) == f.status.Fingerprint {
				return c
			}
		}
	}
	return nil
}

// ids lists what to choose from.
func ids(all []found) string {
	var list []string
	for _, f := range all {
		list = append(list, fmt.Sprintf("%s (%s, %s)", f.status.ID, f.status.Key, f.status.Source))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}
