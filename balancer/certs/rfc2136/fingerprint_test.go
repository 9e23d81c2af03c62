package rfc2136

import (
	"strings"
	"testing"
)

// Another secret is another provider, the same one is the same.
func TestFingerprint(t *testing.T) {
	of := func(secret string) string {
		p, err := New(Options{Server: "192.0.2.1:53", Key: Key{Name: "acme", Secret: NewSecret([]byte(secret))}})
		if err != nil {
			t.Fatal(err)
		}
		return p.Fingerprint()
	}
	one := strings.Repeat("a", minSecret)
	first, again := of(one), of(one)
	if first != again || first == of(strings.Repeat("b", minSecret)) {
		t.Error("it does not tell secrets apart, or tells the same ones apart")
	}
}
