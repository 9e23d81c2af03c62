package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"usher.example/balancer/certs"
	"usher.example/cmd/internal/config"
)

func TestACMEPlan(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	c := config.ACME{Email: "p@example.org", Agreed: true, Keys: []config.KeyKind{config.KeyECDSA, config.KeyRSA}, Issuers: []config.Issuer{{
		Name: "own", Directory: "https://ca.example.org/dir", EABKeyID: "kid", EABKeyFile: write("eab", "c2VjcmV0==\n", 0o600),
		Challenges: []config.Challenge{config.TLSALPN01},
	}}, DNS: config.ACMEDNS{
		Server: "192.0.2.53", TSIGAlgorithm: "hmac-sha256",
		TSIGSecretFile: write("tsig", "key \"acme\" { algorithm hmac-sha512; secret \"dHdlbnR5IG9jdGV0cyBvZiBrZXk=\"; };\n", 0o600),
	}}
	a, err := acmePlan(c)
	if err != nil {
		t.Fatal(err)
	}
	if a.Issuers[0].EABKey != "c2VjcmV0" || !slices.Equal(a.Keys, []certs.KeyKind{certs.ECDSA, certs.RSA}) ||
		!slices.Equal(a.Issuers[0].Challenges, []certs.Challenge{certs.TLSALPN01}) || !a.Agreed ||
		a.DNS.Provider == nil || !slices.Equal(a.DNS.Resolvers, []string{"192.0.2.53"}) || a.DNS.Wait >= 0 {
		t.Errorf("got %+v", a)
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", a, a, a), "c2VjcmV0") {
		t.Error("the key prints itself")
	}
	c.DNS.TSIGSecretFile = write("base64", "dHdlbnR5IG9jdGV0cyBvZiBrZXk=\n", 0o600)
	if _, err := acmePlan(c); err == nil || !strings.Contains(err.Error(), "acme.dns") || strings.Contains(err.Error(), "dHdl") {
		t.Errorf("a key without a name: %v", err)
	}
	c.DNS = config.ACMEDNS{}
	c.Issuers[0].EABKeyFile = write("open", "c2VjcmV0\n", 0o644)
	c.Issuers[0].CAFile = write("ca", "nothing", 0o644)
	if _, err := acmePlan(c); err == nil || !strings.Contains(err.Error(), "issuer own") {
		t.Errorf("files that are no good: %v", err)
	}
	names := write("names", "jane.example.org\n", 0o644)
	got, err := acmeSources(config.Certificate{Names: []string{"mail.example.org"}, OnDemand: []string{"*.c.example.org"}, OnDemandFile: names})
	if err != nil || len(got) != 2 || !slices.Equal(got[1].OnDemand, []string{"*.c.example.org", "jane.example.org"}) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := acmeSources(config.Certificate{CertFile: "/c.pem"}); got != nil || err != nil {
		t.Errorf("of files: %+v, %v", got, err)
	}
}
