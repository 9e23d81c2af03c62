package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
)

// LetsEncrypt is the directory of the CA that is asked when nobody says otherwise.
const LetsEncrypt = certmagic.LetsEncryptProductionCA

// A Challenge is a way to prove to a CA that a name is ours.
type Challenge string

// The challenges.
const (
	HTTP01    Challenge = "http-01"     // RFC 8555 §8.3
	TLSALPN01 Challenge = "tls-alpn-01" // RFC 8737
	DNS01     Challenge = "dns-01"      // RFC 8555 §8.4
)

// A KeyKind is an algorithm of private keys.
type KeyKind string

// The kinds.
const (
	ECDSA KeyKind = "ecdsa" // P-256, which every client of the last ten years takes
	RSA   KeyKind = "rsa"   // 2048 bits, for those that are older
)

// A Secret does not print itself; who needs it converts it to a string.
type Secret string

const redacted = "[redacted]"

// String hides the secret from %s and %v.
func (Secret) String() string { return redacted }

// GoString hides it from %#v.
func (Secret) GoString() string { return redacted }

// LogValue hides it from log/slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// ACME says how certificates are obtained (RFC 8555). The zero value obtains none.
type ACME struct {
	// Email is told to the CAs, which may write when something is wrong. Empty:
	// they get none.
	Email string

	// Agreed says that the operator has agreed to the terms of every issuer.
	Agreed bool

	// Issuers are asked in this order, the next if one fails.
	Issuers []Issuer

	// Keys are the kinds that each name gets a certificate of. Empty: ECDSA.
	Keys []KeyKind

	// DNS answers DNS-01 challenges. Without a provider there are none.
	DNS DNS

	// Redirect is where the HTTP door sends those who ask for anything but a
	// challenge: a URL that their path is put behind. Empty: 404.
	Redirect string
}

// An Issuer is a CA that speaks ACME.
type Issuer struct {
	Name      string         // in logs
	Directory string         // URL; empty: LetsEncrypt
	Roots     *x509.CertPool // of the CA's own HTTPS; nil: the system's

	// EABKeyID and EABKey, base64url, bind the account to one that the CA knows
	// otherwise (RFC 8555 §7.3.4). Empty: there is no such account.
	EABKeyID string
	EABKey   Secret

	// Challenges that may be used. At least one.
	Challenges []Challenge

	// Chain is the common name of a CA above the certificate, if the issuer
	// offers several chains. Empty, or none has it: its first.
	Chain string
}

// DNS is how TXT records come into the zone.
type DNS struct {
	// Provider puts records there and takes them away. Nil: no DNS-01.
	Provider certmagic.DNSProvider

	// Resolvers are asked for the zone of a name and whether the record is there,
	// host:port. Empty: the system's.
	Resolvers []string

	// Wait is how long the record may take to be seen everywhere. Zero:
	// certmagic's default of 2 minutes; negative: nobody looks.
	Wait time.Duration
}

func (a ACME) keys() []KeyKind {
	if len(a.Keys) == 0 {
		return []KeyKind{ECDSA}
	}
	return a.Keys
}

// check finds what keeps the plan from ever working.
func (a ACME) check(names []string, patterns []string) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !a.Agreed {
		bad("certificates are obtained only from CAs whose terms the operator has agreed to")
	}
	if len(a.Issuers) == 0 {
		bad("there is no issuer to obtain certificates from")
	}
	seen := make(map[string]string)
	dns := false
	for _, i := range a.Issuers {
		u, err := url.Parse(i.directory())
		if err != nil || u.Scheme != "https" || u.Host == "" {
			bad("issuer %s: the directory %q is no https URL", i.Name, i.Directory)
			continue
		}
		if first, ok := seen[i.key()]; ok {
			bad("issuers %s and %s have one directory, and so one account", first, i.Name)
		}
		seen[i.key()] = i.Name
		if (i.EABKeyID == "") != (i.EABKey == "") {
			bad("issuer %s: an external account takes a key id and a key", i.Name)
		}
		if len(i.Challenges) == 0 {
			bad("issuer %s: no challenge is allowed, so nothing can be proved to it", i.Name)
		}
		if slices.Contains(i.Challenges, DNS01) {
			dns = true
			if a.DNS.Provider == nil {
				bad("issuer %s: %s takes a DNS server that can be told records", i.Name, DNS01)
			}
		}
	}
	for _, n := range names {
		if !certmagic.SubjectQualifiesForCert(n) || n != canonical(n) {
			bad("%q is no name for a certificate", n)
		}
		if strings.HasPrefix(n, "*.") && !dns {
			bad("%s: a wildcard is proved by %s only, and no issuer may use it", n, DNS01)
		}
	}
	for _, p := range patterns {
		if !certmagic.SubjectQualifiesForCert(p) || p != canonical(p) || p == "*" || strings.Count(strings.TrimPrefix(p, "*."), ".") == 0 {
			bad("%q is no pattern of names that may be obtained: want one such as *.customers.example.org", p)
		}
	}
	return errors.Join(errs...)
}

func (i Issuer) directory() string {
	if i.Directory == "" {
		return LetsEncrypt
	}
	return i.Directory
}

// key is the issuer's place in the storage, the same that certmagic gives it.
func (i Issuer) key() string {
	u, err := url.Parse(i.directory())
	if err != nil {
		return i.directory() // check has refused it
	}
	key := u.Host
	if path := strings.Trim(strings.NewReplacer("/", "-", `\`, "-").Replace(u.Path), "-"); path != "" {
		key += "-" + path
	}
	return key
}

// nameSet are names and patterns, exact or with one label for their star. To look a
// name up takes as long in a set of thousands as in one of two: clients' handshakes do.
type nameSet map[string]bool

// setOf is one of canonical names.
func setOf(names []string) nameSet {
	s := make(nameSet, len(names))
	for _, n := range names {
		s[n] = true
	}
	return s
}

// covers says whether any of the patterns has a name, which is no pattern itself.
func (s nameSet) covers(name string) bool {
	label, parent, ok := strings.Cut(name, ".")
	return label != "*" && (s[name] || ok && label != "" && s["*."+parent])
}
