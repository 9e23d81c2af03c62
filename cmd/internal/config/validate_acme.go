package config

import (
	"encoding/base64"
	"slices"
	"strings"
)

// completeACME fills in an issuer, and what its challenges are.
func (b *binder) completeACME(c *Config) {
	a := &c.ACME
	_, all := b.everyCertificate(c)
	if len(a.Issuers) == 0 && slices.ContainsFunc(all, Certificate.automatic) && !b.bad["acme.issuer"] {
		a.Issuers = []Issuer{{Name: "letsencrypt", Directory: "https://acme-v02.api.letsencrypt.org/directory"}}
	}
	for i := range a.Issuers {
		if b.has(join(element("acme.issuer", i), "challenges")) {
			continue
		}
		for _, way := range []struct {
			challenge Challenge
			set       bool
		}{
			{HTTP01, a.HTTP != ""},
			{TLSALPN01, a.TLSALPN != ""},
			{DNS01, a.DNS.Server != ""},
		} {
			if way.set {
				a.Issuers[i].Challenges = append(a.Issuers[i].Challenges, way.challenge)
			}
		}
	}
}

// acme reports what is impossible about certificates that are obtained.
func (b *binder) acme(c *Config) {
	a := c.ACME
	paths, all := b.everyCertificate(c)
	var first string
	for i, crt := range all {
		if crt.automatic() && first == "" {
			first = paths[i]
		}
		for j, name := range crt.Names {
			if strings.HasPrefix(name, "*.") && !a.may(DNS01) {
				b.rule(element(join(paths[i], "names"), j), "names: %s is a wildcard, which CAs give by dns-01 only: set [acme.dns], and allow dns-01 for an issuer", name)
			}
		}
	}
	if first != "" && !a.Agreed {
		b.rule("acme.agreed", "agreed: certificates are to be obtained: read the terms of the CAs, and set agreed = true")
	}
	names := unique{b: b, kind: "issuer"}
	var directories []string
	for i, is := range a.Issuers {
		path := element("acme.issuer", i)
		names.add(join(path, "name"), is.Name)
		if b.bad[join(path, "directory")] {
			is.Directory = path // the default stands in for it
		}
		if at := slices.Index(directories, is.Directory); at >= 0 {
			b.rule(join(path, "directory"), "directory: %s is asked already, as issuer %q", is.Directory, a.Issuers[at].Name)
		}
		directories = append(directories, is.Directory)
		b.issuer(path, is, a)
	}
	switch d := a.DNS; {
	case d.Server == "" && d.TSIGName+d.TSIGSecretFile != "":
		b.rule("acme.dns.server", "server is missing: want %s, which updates are sent to", forms["peer"].want)
	case d.Server != "" && d.TSIGSecretFile == "":
		b.rule("acme.dns.tsig_secret_file", "tsig_secret_file is missing: updates are signed, and so are the answers to them")
	}
	if a.HTTPRedirect != "" && a.HTTP == "" {
		b.rule("acme.http_redirect", "http_redirect has no meaning without http")
	}
	if a.HTTP != "" && a.HTTP == a.TLSALPN {
		b.rule("acme.tls_alpn", "tls_alpn: %s is the port of http already", a.TLSALPN)
	}
}

// may says whether any issuer may use a challenge.
func (a ACME) may(c Challenge) bool {
	return slices.ContainsFunc(a.Issuers, func(i Issuer) bool { return slices.Contains(i.Challenges, c) })
}

func (b *binder) issuer(path string, i Issuer, a ACME) {
	if (i.EABKeyID == "") != (i.EABKeyFile == "") {
		b.rule(join(path, "eab_key_id"), "eab_key_id and eab_key_file go together")
	}
	if len(i.Challenges) == 0 {
		b.rule(join(path, "challenges"), "issuer %q has no challenge to prove names by: set http, tls_alpn or [acme.dns]", i.Name)
	}
	for j, c := range i.Challenges {
		at := element(join(path, "challenges"), j)
		switch {
		case slices.Contains(i.Challenges[:j], c):
			b.rule(at, "challenges: %s is there twice", c)
		case c == HTTP01 && a.HTTP == "":
			b.rule(at, "challenges: http-01 needs http")
		case c == DNS01 && a.DNS.Server == "":
			b.rule(at, "challenges: dns-01 needs [acme.dns]")
		}
	}
	for j, k := range a.Keys {
		if path == element("acme.issuer", 0) && slices.Contains(a.Keys[:j], k) {
			b.rule(element("acme.keys", j), "keys: %s is there twice", k)
		}
	}
}

// acme tries what [acme] names.
func (k *checker) acme() {
	a := k.c.ACME
	if a.may(HTTP01) {
		k.doorPort("acme.http", a.HTTP)
	}
	if a.may(TLSALPN01) {
		k.doorPort("acme.tls_alpn", a.TLSALPN)
	}
	if file := a.DNS.TSIGSecretFile; file != "" { // what is in it is for whoever signs
		if _, err := ReadPrivate(file); err != nil {
			k.fail("acme.dns.tsig_secret_file", "tsig_secret_file: %v", err)
		}
	}
	for i, is := range a.Issuers {
		path := element("acme.issuer", i)
		k.authorities(join(path, "ca_file"), is.CAFile)
		if is.EABKeyFile == "" {
			continue
		}
		key, err := ReadSecret(is.EABKeyFile)
		if err == nil {
			if _, bad := base64.RawURLEncoding.DecodeString(strings.TrimRight(string(key), "=")); bad != nil {
				k.fail(join(path, "eab_key_file"), "eab_key_file: %s holds no key in base64url", is.EABKeyFile)
			}
			continue
		}
		k.fail(join(path, "eab_key_file"), "eab_key_file: %v", err)
	}
}

func (k *checker) doorPort(path, address string) {
	if addr, err := parseListen(address); err == nil {
		k.port(path, int(addr.Port()))
	}
}

// demanded tries the file of a certificate that is obtained on demand.
func (k *checker) demanded(path, file string) {
	if file == "" {
		return
	}
	if _, err := ReadNames(file); err != nil {
		k.fail(path, "%s: %v", lastKey(path), err)
	}
}
