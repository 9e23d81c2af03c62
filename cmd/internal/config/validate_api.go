package config

import "strings"

// api reports the impossible in [admin.api].
func (b *binder) api(a API) {
	at := func(key string) string { return join("admin.api", key) }
	files := []struct{ key, file string }{
		{"cert_file", a.CertFile}, {"key_file", a.KeyFile}, {"client_ca_file", a.ClientCAFile}, {"token_file", a.TokenFile},
	}
	if a.Address == "" {
		for _, f := range files {
			if f.file != "" && !b.bad[at("address")] {
				b.rule(at(f.key), "%s is for nothing, since admin.api has no address: set address, or take it out", f.key)
			}
		}
		return
	}
	for _, f := range files[:2] {
		if f.file == "" && !b.bad[at(f.key)] {
			b.rule(at("address"), "%s is missing in [admin.api]: the API is served with TLS only", f.key)
		}
	}
	if a.ClientCAFile == "" && a.TokenFile == "" && !b.bad[at("client_ca_file")] && !b.bad[at("token_file")] {
		b.rule(at("address"), "nobody could use the API: want client_ca_file or token_file in [admin.api]")
	}
	b.subjects(at("operators"), a.Operators)
	b.subjects(at("readers"), a.Readers)
}

// subjects wants rules about the subjects of certificates.
func (b *binder) subjects(path string, rules []string) {
	for _, r := range rules {
		kind, value, ok := strings.Cut(r, "=")
		if r == "" || ok && (value == "" || kind != "CN" && kind != "OU" && kind != "O") {
			b.rule(path, `%s: %q is about no subject: want "CN=…", "OU=…" or "O=…", a common name alone, or "*"`, lastKey(path), r)
		}
	}
}
