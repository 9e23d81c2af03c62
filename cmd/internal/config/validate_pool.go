package config

import (
	"slices"
	"strconv"
)

// maxBackends of a pool is what placement takes: the hash of a login is computed
// for each.
const maxBackends = 1024

// pool reports the impossible in one [[pool]].
func (b *binder) pool(path string, p Pool, c *Config) {
	b.pair(path, "master_user", p.MasterUser, "master_password_file", p.MasterPasswordFile)
	if p.MasterSeparator != "" && p.MasterUser == "" {
		b.rule(join(path, "master_separator"), "master_separator needs master_user")
	}
	b.health(join(path, "health"), p.Health)
	if len(p.Backends) == 0 {
		b.rule(join(path, "backend"), "pool %q has no [[pool.backend]]: want at least one", p.Name)
	}
	if n := len(p.Backends); n > maxBackends {
		b.rule(path, "pool %q has %d back ends, allowed are %d: every login looks at each", p.Name, n, maxBackends)
	}
	weighty := func(be Backend) bool { return be.Weight > 0 }
	if len(p.Backends) > 0 && !slices.ContainsFunc(p.Backends, weighty) {
		b.rule(join(element(join(path, "backend"), 0), "weight"), "weight: all of pool %q are 0, so no user has a place there", p.Name)
	}
	if !c.serves(p.Name) {
		b.portless(path, p)
	}
	b.poolLink(path, p)

	names := unique{b: b, kind: "back end"}
	ports := map[string]string{}
	for j, be := range p.Backends {
		at := element(join(path, "backend"), j)
		names.add(join(at, "name"), be.Name)
		b.backend(at, be, c, ports)
	}
}

// portless reports back ends that serve nothing. With a listener on the pool,
// it has said so already.
func (b *binder) portless(path string, p Pool) {
	for j, be := range p.Backends {
		at := element(join(path, "backend"), j)
		if be.IMAPPort == 0 && be.POP3Port == 0 && !b.bad[join(at, "imap_port")] && !b.bad[join(at, "pop3_port")] {
			b.rule(at, "a port is missing: want imap_port, pop3_port or both")
		}
	}
}

// pair reports one of two keys that is there without the other.
func (b *binder) pair(path, key1, value1, key2, value2 string) {
	switch {
	case value1 != "" && value2 == "":
		b.rule(join(path, key1), "%s needs %s", key1, key2)
	case value1 == "" && value2 != "":
		b.rule(join(path, key2), "%s needs %s", key2, key1)
	}
}

func (b *binder) health(path string, h Health) {
	b.pair(path, "test_user", h.TestUser, "test_password_file", h.TestPasswordFile)
	if h.Depth == DepthLogin && h.TestUser == "" && h.TestPasswordFile == "" {
		b.rule(join(path, "depth"), `depth = "login" needs test_user and test_password_file`)
	}
	if h.Timeout > h.Interval {
		key := "timeout"
		if !b.has(join(path, key)) {
			key = "interval"
		}
		b.rule(join(path, key), "%s: a probe may take %s, which is more than the interval, %s", key, h.Timeout, h.Interval)
	}
}

// poolLink reports TLS settings of a pool that none of its back ends uses.
func (b *binder) poolLink(path string, p Pool) {
	usesTLS := func(be Backend) bool { return be.TLS != TLSNone }
	if p.TLS != TLSNone || slices.ContainsFunc(p.Backends, usesTLS) {
		b.linkRules(path, p.Link)
		return
	}
	b.pointless(path, p.Link)
}

// pointless reports TLS settings where there is no TLS.
func (b *binder) pointless(path string, l Link) {
	for _, k := range l.tlsKeys() {
		if k.set {
			b.rule(join(path, k.key), `%s has no meaning with tls = "none"`, k.key)
		}
	}
}

// linkRules reports link settings that contradict each other. A back end's, that
// come from its pool, are reported there.
func (b *binder) linkRules(path string, l Link) {
	own := b.has
	if l.TLSInsecure && l.TLSCAFile != "" {
		for _, key := range []string{"tls_ca_file", "tls_insecure"} {
			if own(join(path, key)) {
				b.rule(join(path, key), "tls_ca_file verifies what tls_insecure does not: set one of them")
				break
			}
		}
	}
	if own(join(path, "tls_cert_file")) || own(join(path, "tls_key_file")) {
		b.pair(path, "tls_cert_file", l.TLSCertFile, "tls_key_file", l.TLSKeyFile)
	}
}

// backend reports the impossible in one [[pool.backend]]. The ports are the
// servers of the pool so far, with their keys.
func (b *binder) backend(path string, be Backend, c *Config, ports map[string]string) {
	if be.TLS == TLSNone {
		b.pointless(path, be.Link)
	} else {
		b.linkRules(path, be.Link)
	}
	if be.Sessions > c.Limits.Sessions {
		b.rule(join(path, "sessions"), "sessions: %d is more than limits.sessions, %d, which comes first", be.Sessions, c.Limits.Sessions)
	}
	for _, key := range []string{"imap_port", "pop3_port"} {
		port := be.IMAPPort
		if key == "pop3_port" {
			port = be.POP3Port
		}
		if port == 0 || be.Host == "" {
			continue
		}
		at := join(path, key)
		server := be.Host + " " + strconv.Itoa(port)
		switch first, ok := ports[server]; {
		case !ok:
			ports[server] = at
		case first == join(path, "imap_port"):
			b.rule(at, "%s: %d is the port of IMAP", key, port)
		default:
			b.rule(at, "%s: %s port %d is a back end already, at line %d: one server, one name", key, be.Host, port, b.position(first).line)
		}
		if addr, ok := knownAddr(be.Host); ok {
			b.circle(at, c, addr, port)
		}
	}
}
