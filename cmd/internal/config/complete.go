package config

import (
	"net"
	"reflect"
)

// complete fills in what the defaults of single keys cannot: what one part of
// the file takes from another. Nobody but the file has to be asked for it
// afterwards.
func (b *binder) complete(c *Config) {
	if !b.has("limits.prelogin") {
		c.Limits.Prelogin = min(c.Limits.Prelogin, c.Limits.Sessions)
	}
	if !b.has("limits.sessions_per_address") {
		c.Limits.SessionsPerAddress = min(c.Limits.SessionsPerAddress, c.Limits.Sessions)
	}
	if !b.has("limits.sessions_per_user") {
		c.Limits.SessionsPerUser = min(c.Limits.SessionsPerUser, c.Limits.Sessions)
	}
	if f := &c.Fleet; isPeer(f.Bind) {
		f.Bind = withPort(f.Bind, DefaultFleetPort)
		_, port, _ := net.SplitHostPort(f.Bind)
		f.Advertise = withPort(f.Advertise, port)
		for i := range f.Join {
			f.Join[i] = withPort(f.Join[i], port)
		}
	}
	b.completeACME(c)
	for i := range c.Listeners {
		l := &c.Listeners[i]
		path := element("listener", i)
		if l.TLS != TLSNone && !b.has(join(path, "certificates")) {
			l.Certificates = c.Certificates
		}
		if !b.has(join(path, "pool")) && len(c.Pools) == 1 {
			l.Pool = c.Pools[0].Name
		}
	}
	for i := range c.Pools {
		p := &c.Pools[i]
		for j := range p.Backends {
			path := element(element("pool", i)+".backend", j)
			b.inherit(path, &p.Backends[j].Link, p.Link)
		}
	}
}

// inherit gives the back end at path those link settings of its pool that the
// file does not set for it.
func (b *binder) inherit(path string, l *Link, pool Link) {
	to, from := reflect.ValueOf(l).Elem(), reflect.ValueOf(pool)
	for _, f := range fields(to.Type()) {
		if !b.has(join(path, f.key)) {
			to.FieldByIndex(f.index).Set(from.FieldByIndex(f.index))
		}
	}
	if l.TLS != TLSNone {
		return
	}
	// The pool's TLS settings are for its other back ends.
	for _, k := range l.tlsKeys() {
		if !b.has(join(path, k.key)) {
			k.clear()
		}
	}
}

// A tlsKey is a setting that says something only where there is TLS.
type tlsKey struct {
	key   string
	set   bool
	clear func()
}

func (l *Link) tlsKeys() []tlsKey {
	text := func(key string, s *string) tlsKey {
		return tlsKey{key, *s != "", func() { *s = "" }}
	}
	return []tlsKey{
		text("tls_ca_file", &l.TLSCAFile),
		text("tls_name", &l.TLSName),
		{"tls_insecure", l.TLSInsecure, func() { l.TLSInsecure = false }},
		text("tls_cert_file", &l.TLSCertFile),
		text("tls_key_file", &l.TLSKeyFile),
	}
}
