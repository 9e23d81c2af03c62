package place

import (
	"errors"
	"strings"
)

// AnyDomain as Names.StripDomain strips every domain.
const AnyDomain = "*"

// Names is how a site writes its users' names: the rules that turn what a
// client sent into the one name that is hashed, pinned and compared. It is the
// only place where that happens. The name sent to the back end is not changed.
//
// The zero value changes nothing.
//
// Law: Normal is idempotent.
type Names struct {
	// LowerCase says that Joe and joe are one user. Only A to Z change. Case
	// beyond ASCII depends on language (the Turkish dotless i) and on the
	// edition of Unicode that a program was built with: two nodes built a year
	// apart could place one user twice. So JÖRG and jörg are two names here,
	// and a site that has such users pins them, or has them write it one way.
	LowerCase bool
	// DefaultDomain is added to a name without @, so that joe and
	// joe@example.org are one user. Empty: nothing is added.
	DefaultDomain string
	// StripDomain removes a domain, with its @: AnyDomain removes every one,
	// another value only itself, in upper or lower case. Empty: none is
	// removed. It excludes DefaultDomain.
	StripDomain string
}

// Validate reports everything that is wrong with the rules.
func (n Names) Validate() error {
	var errs []error
	if n.DefaultDomain != "" && n.StripDomain != "" {
		errs = append(errs, errors.New("a default domain and a domain to strip exclude each other"))
	}
	if strings.ContainsAny(n.DefaultDomain, "@* \t\r\n\x00") {
		errs = append(errs, errors.New("a default domain is a domain, without @, * or white space"))
	}
	if n.StripDomain != AnyDomain && strings.ContainsAny(n.StripDomain, "@* \t\r\n\x00") {
		errs = append(errs, errors.New(`a domain to strip is a domain, or "*" for any`))
	}
	return errors.Join(errs...)
}

// Normal returns the normalised name. The domain begins after the first @, as
// it does for Dovecot. A name that is all domain keeps it: stripping would make
// one user of many. Where both domain rules are set, against Validate, only
// the stripping is done.
func (n Names) Normal(user string) string {
	if n.LowerCase {
		user = lowerASCII(user)
	}
	at := strings.IndexByte(user, '@')
	switch {
	case n.StripDomain != "":
		if at > 0 && (n.StripDomain == AnyDomain || equalFoldASCII(user[at+1:], n.StripDomain)) {
			user = user[:at]
		}
	case n.DefaultDomain != "" && at < 0 && user != "":
		domain := n.DefaultDomain
		if n.LowerCase {
			domain = lowerASCII(domain)
		}
		user += "@" + domain
	}
	return user
}

// lowerASCII allocates only if something changes. strings.ToLower would fold
// beyond ASCII, and replaces bytes that are not UTF-8.
func lowerASCII(s string) string {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				b[i] = lowerByte(b[i])
			}
			return string(b)
		}
	}
	return s
}

func equalFoldASCII(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lowerByte(a[i]) != lowerByte(b[i]) {
			return false
		}
	}
	return true
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}
