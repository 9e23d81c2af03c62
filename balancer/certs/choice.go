package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"time"
)

// A front is what one listener chooses from. It never changes.
type front struct {
	shelves []shelf // in order of preference
}

// errNone is what a client's handshake ends with that cannot be shown anything.
var errNone = errors.New("there is no certificate yet")

// choose finds the certificate for a client. It waits for nobody and keeps
// nothing; only a greeter may do otherwise.
func (f *front) choose(hello *tls.ClientHelloInfo, now time.Time) (*tls.Certificate, error) {
	name := canonical(hello.ServerName)
	nameless := *hello
	nameless.ServerName = "" // whether the name fits is found here: SNI may be any
	best, good := f.best(name, &nameless, now)
	if good {
		return best, nil
	}
	if best == nil && name != "" {
		if c, mine, err := f.greet(hello); mine {
			return c, err
		}
	}
	// A client that can do nothing with a certificate of that name is often an
	// old one that does not look at names.
	fallback, good := f.standing(&nameless, now)
	switch {
	case good || best == nil && fallback != nil:
		return fallback, nil
	case best != nil:
		return best, nil // crypto/tls says what is missing
	default:
		return nil, errNone
	}
}

func (f *front) greet(hello *tls.ClientHelloInfo) (*tls.Certificate, bool, error) {
	for _, s := range f.shelves {
		if g, ok := s.(greeter); ok {
			if c, mine, err := g.hello(hello); mine {
				return c, true, err
			}
		}
	}
	return nil, false, nil
}

// maxTried bounds the certificates of a shelf that are tried for a client that
// can use none of the first: a stranger must not make us try thousands.
const maxTried = 32

// standing is the certificate for clients whose SNI fits none: the first of the
// first shelf, or rather the best one for its name, as if the client had asked
// for that. A client that cannot use it gets any that it can.
func (f *front) standing(hello *tls.ClientHelloInfo, now time.Time) (_ *tls.Certificate, good bool) {
	var first *tls.Certificate
	for _, s := range f.shelves {
		all := s.match("")
		for _, c := range all[:min(len(all), maxTried)] {
			if first == nil {
				first = c
				if len(c.Leaf.DNSNames) > 0 {
					if best, good := f.best(canonical(c.Leaf.DNSNames[0]), hello, now); good {
						return best, true
					}
				}
			}
			if hello.SupportsCertificate(c) == nil {
				return c, true
			}
		}
	}
	return first, false
}

// The merits of a certificate for a client, the greatest first: their sum is its
// rank.
const (
	usable   = 16 // the client knows its algorithms
	valid    = 8  // by its dates
	exact    = 4  // its name is there in full, not by wildcard
	shortKey = 2  // ECDSA costs us and the client least
	otherKey = 1  // Ed25519; then RSA
)

// best finds the best certificate for a canonical name. It is good if the client
// can use it. The empty name has none.
func (f *front) best(name string, hello *tls.ClientHelloInfo, now time.Time) (best *tls.Certificate, good bool) {
	if name == "" {
		return nil, false
	}
	top := -1
	for _, s := range f.shelves {
		for _, c := range s.match(name) {
			if r := rank(c, name, hello, now); r > top {
				best, top = c, r
			}
		}
	}
	return best, top >= usable
}

func rank(c *tls.Certificate, name string, hello *tls.ClientHelloInfo, now time.Time) int {
	r := 0
	switch c.Leaf.PublicKeyAlgorithm {
	case x509.ECDSA:
		r += shortKey
	case x509.Ed25519:
		r += otherKey
	default: // RSA
	}
	if current(c.Leaf, now) {
		r += valid
	}
	if slices.ContainsFunc(c.Leaf.DNSNames, func(n string) bool { return strings.EqualFold(n, name) }) {
		r += exact
	}
	if hello.SupportsCertificate(c) == nil {
		r += usable
	}
	return r
}

// current reports whether a certificate is neither expired nor of the future.
func current(leaf *x509.Certificate, now time.Time) bool {
	return !now.Before(leaf.NotBefore) && now.Before(leaf.NotAfter)
}
