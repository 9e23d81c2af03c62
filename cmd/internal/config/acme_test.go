package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// automatic is a file whose certificates are obtained; more goes before its tables.
func automatic(more, certificate string) string {
	return more + "\n[[certificate]]\n" + certificate + "\n" + small[strings.Index(small, "[[listener]]"):]
}

// With a name and a yes there is nothing else to say.
func TestACMEDefaults(t *testing.T) {
	c := mustParse(t, automatic("[acme]\nagreed = true", `names = ["mail.example.org"]`))
	if len(c.ACME.Issuers) != 1 || c.ACME.Issuers[0].Name != "letsencrypt" || !slices.Equal(c.ACME.Issuers[0].Challenges, []Challenge{HTTP01}) {
		t.Errorf("issuers: %+v", c.ACME.Issuers)
	}
	again := mustParse(t, c.Dump())
	if len(again.ACME.Issuers) != 1 || again.ACME.Issuers[0].Directory != c.ACME.Issuers[0].Directory {
		t.Errorf("after a dump: %+v", again.ACME.Issuers)
	}
	c = mustParse(t, automatic(`[acme]
agreed = true
http = ""
tls_alpn = ":443"
keys = ["ecdsa", "rsa"]
[acme.dns]
server = "192.0.2.53"
tsig_secret_file = "/tsig.key"
[[acme.issuer]]
name = "own"
directory = "https://ca.example.org/dir"
[[acme.issuer]]
name = "letsencrypt"
challenges = ["tls-alpn-01"]`, `names = ["*.example.org"]`))
	if got := c.ACME.Issuers[0].Challenges; !slices.Equal(got, []Challenge{TLSALPN01, DNS01}) {
		t.Errorf("challenges of the first: %v", got)
	}
	if got := c.ACME.Issuers[1].Challenges; !slices.Equal(got, []Challenge{TLSALPN01}) {
		t.Errorf("challenges of the second: %v", got)
	}
}

func TestACMEProblems(t *testing.T) {
	for _, tt := range []struct {
		name, acme, certificate string
		want                    []string
	}{
		{"no yes", "", `names = ["mail.example.org"]`, []string{
			`1:1: agreed: certificates are to be obtained: read the terms of the CAs, and set agreed = true`,
		}},
		{"wildcard", "[acme]\nagreed = true", `names = ["*.example.org"]`, []string{
			`4:10: names: *.example.org is a wildcard, which CAs give by dns-01 only: set [acme.dns], and allow dns-01 for an issuer`,
		}},
		{"no name", "[acme]\nagreed = true", `names = ["mail", "*.org", "a b.example.org"]`, []string{
			`4:10: names: want a name such as "mail.example.org" or "*.example.org", got "mail"`,
			`4:18: names: want a name such as "mail.example.org" or "*.example.org", got "*.org"`,
			`4:27: names: want a name such as "mail.example.org" or "*.example.org", got "a b.example.org"`,
		}},
		{"two kinds", "[acme]\nagreed = true", "names = [\"mail.example.org\"]\ncert_file = \"/c.pem\"", []string{
			`3:3: names or on_demand: a certificate has one source, and this has cert_file as well: make it two of them`,
		}},
		{"no kind", "", "", []string{`2:3: a certificate comes from nowhere: want one of cert_file, cert_dir, names or on_demand, imported`}},
		{"no way", "[acme]\nagreed = true\nhttp = \"\"", `names = ["mail.example.org"]`, []string{
			`1:2: issuer "letsencrypt" has no challenge to prove names by: set http, tls_alpn or [acme.dns]`,
		}},
		{"unsigned", "[acme]\nagreed = true\n[acme.dns]\nserver = \"192.0.2.53\"", `names = ["*.example.org"]`, []string{
			`3:7: tsig_secret_file is missing: updates are signed, and so are the answers to them`,
		}},
		{"no server", "[acme]\nagreed = true\n[acme.dns]\ntsig_name = \"usher-key\"", `names = ["mail.example.org"]`, []string{
			`3:7: server is missing: want ` + forms["peer"].want + `, which updates are sent to`,
		}},
		{"issuers", `[acme]
agreed = true
http = ""
http_redirect = "https://www.example.org"
[[acme.issuer]]
name = "a"
directory = "http://ca.example.org/dir"
eab_key_id = "kid"
challenges = ["http-01", "dns-01", "dns-01"]
[[acme.issuer]]
name = "a"
challenges = ["tls-alpn-01"]
[[acme.issuer]]
name = "b"
challenges = ["tls-alpn-01"]`, `on_demand = ["*.customers.example.org"]`, []string{
			`4:1: http_redirect has no meaning without http`,
			`7:1: directory: want a URL such as "https://ca.example.org/directory", got "http://ca.example.org/dir"`,
			`8:1: eab_key_id and eab_key_file go together`,
			`9:15: challenges: http-01 needs http`,
			`9:26: challenges: dns-01 needs [acme.dns]`,
			`9:36: challenges: dns-01 is there twice`,
			`11:1: name: issuer "a" exists already, at line 6`,
			`13:8: directory: https://acme-v02.api.letsencrypt.org/directory is asked already, as issuer "a"`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) { check(t, automatic(tt.acme, tt.certificate), tt.want...) })
	}
}

func TestACMEFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	names := write("names", "# customers\njoe.example.org\n\n Jane.example.org # new\n*.sub.example.org\n")
	got, err := ReadNames(names)
	if want := []string{"joe.example.org", "jane.example.org", "*.sub.example.org"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	bad := write("bad", "joe.example.org\nnot a name\n")
	c := mustParse(t, automatic(`[acme]
agreed = true
[[acme.issuer]]
name = "own"
ca_file = "`+write("ca", "nothing")+`"
eab_key_id = "kid"
eab_key_file = "`+write("eab", "?!")+`"`, `on_demand_file = "`+bad+`"`))
	text := c.Check(t.Context()).Errors().Error()
	for _, want := range []string{"line 2: \"not a name\" is no", "holds no certificate in PEM", "holds no key in base64url"} {
		if !strings.Contains(text, want) {
			t.Errorf("got\n%s\nwant %q in it", text, want)
		}
	}
}

// FuzzNames holds the law that what a file says is names, or refused.
func FuzzNames(f *testing.F) {
	f.Add([]byte("# x\nmail.example.org\n*.example.org #y\n"))
	f.Add([]byte("*.*.example.org\n..\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		names, err := parseNames(data)
		if err != nil && names != nil {
			t.Errorf("names and an error: %q, %v", names, err)
		}
		for _, n := range names {
			if !isCertName(n) || n != strings.ToLower(n) {
				t.Errorf("got %q", n)
			}
		}
	})
}
