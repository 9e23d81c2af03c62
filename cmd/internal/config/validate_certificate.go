package config

import "strings"

// certificates reports the impossible in the [[certificate]] tables and in the
// listeners' own lists.
func (b *binder) certificates(c *Config) {
	paths, all := b.everyCertificate(c)
	for i, crt := range all {
		b.certificate(paths[i], crt)
	}
}

// everyCertificate lists those of the tables and those of listeners, with their
// paths.
func (b *binder) everyCertificate(c *Config) (paths []string, all []Certificate) {
	add := func(path string, list []Certificate) {
		for i, crt := range list {
			paths, all = append(paths, element(path, i)), append(all, crt)
		}
	}
	add("certificate", c.Certificates)
	for i, l := range c.Listeners {
		if path := join(element("listener", i), "certificates"); b.has(path) {
			add(path, l.Certificates)
		}
	}
	return paths, all
}

// certificate wants exactly one kind.
func (b *binder) certificate(path string, c Certificate) {
	var all, set []string
	for _, k := range c.kinds() {
		all = append(all, k.key)
		if k.set || b.bad[join(path, k.key)] {
			set = append(set, k.key)
		}
	}
	switch {
	case len(set) == 0:
		b.rule(path, "a certificate comes from nowhere: want one of %s", strings.Join(all, ", "))
		return
	case len(set) > 1:
		b.rule(join(path, set[1]), "%s: a certificate has one source, and this has %s as well: make it two of them", set[1], set[0])
		return
	}
	at := func(key string) string { return join(path, key) }
	switch {
	case c.CertFile != "" && c.KeyFile == "":
		b.rule(at("key_file"), "key_file is missing: want the path of a file, that of cert_file if the key is in it")
	case c.CertFile == "" && c.KeyFile != "":
		b.rule(at("cert_file"), "cert_file is missing: want the path of a file")
	}
}
