package certs

import (
	"testing"
	"time"
)

// Policies are told apart by what makes orders fail, and not by names or pointers.
func TestPolicyFingerprint(t *testing.T) {
	_, one := selfMade(t, time.Now(), time.Now().Add(time.Hour))
	_, two := selfMade(t, time.Now(), time.Now().Add(time.Hour))
	base := func() Issuer {
		return Issuer{Name: "a", Directory: "https://ca.example.org/dir", Roots: one.Clone(), Challenges: []Challenge{HTTP01}, EABKeyID: "kid", EABKey: "c2VjcmV0"}
	}
	of := func(i Issuer, names ...string) string { return (&policy{ACME: acmeOf(i), names: names}).fingerprint() }
	if of(base(), "a.example.org") != of(base(), "b.example.org") {
		t.Error("names make another")
	}
	for what, change := range map[string]func(*Issuer){
		"directory":  func(i *Issuer) { i.Directory += "2" },
		"challenges": func(i *Issuer) { i.Challenges = []Challenge{TLSALPN01} },
		"EAB":        func(i *Issuer) { i.EABKey = "b3RoZXI" },
		"no roots":   func(i *Issuer) { i.Roots = nil },
		"more roots": func(i *Issuer) { i.Roots = two; i.Roots.AddCert(newIssuer(t).cert) },
	} {
		i := base()
		if change(&i); of(i) == of(base()) {
			t.Errorf("%s: the same", what)
		}
	}
}
