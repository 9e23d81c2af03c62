package config

import "strings"

// api reports the impossible in [admin.api].
func (b *binder) api(a API) {
	at := func(key string) string { return join("admin.api", key) }
	if a.Address == "" {
		for key, v := range map[string]string{"cert_file": a.CertFile, "key_file": a.KeyFile, "client_ca_file": a.ClientCAFile, "token_file": a.TokenFile} {
			if v != "" {
				b.rule(at(key), "%s: admin.api has no address, so it is for nothing: set address, or take it out", key)
			}
		}
		return
	}
	for key, v := range map[string]string{"cert_file": a.CertFile, "key_file": a.KeyFile} {
		if v == "" && !b.bad[at(key)] {
			b.rule(at("address"), "%s is missing in [admin.api]: the API is served with TLS only", key)
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
	for i, r := range rules {
		kind, value, ok := strings.Cut(r, "=")
		if r == "" || ok && (value == "" || kind != "CN" && kind != "OU" && kind != "O") {
			b.rule(element(path, i), `%s: %q is about no subject: want "CN=…", "OU=…" or "O=…", a common name alone, or "*"`, lastKey(path), r)
		}
	}
}
