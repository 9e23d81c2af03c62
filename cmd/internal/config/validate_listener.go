package config

import "slices"

// listener reports the impossible in one [[listener]].
func (b *binder) listener(path string, l Listener, c *Config) {
	at := func(key string) string { return join(path, key) }

	if l.TLS == TLSNone {
		for _, k := range []struct {
			key string
			set bool
		}{
			{"certificates", len(l.Certificates) > 0},
			{"client_ca_file", l.ClientCAFile != ""},
		} {
			if k.set {
				b.rule(at(k.key), `%s has no meaning with tls = "none"`, k.key)
			}
		}
		if !l.PlaintextLogin && len(l.PlaintextNetworks) == 0 && len(l.ProxyNetworks) == 0 {
			b.rule(at("tls"), `tls = "none" lets nobody log in: set plaintext_login, plaintext_networks or proxy_networks, or tls = "starttls"`)
		}
	} else if len(l.Certificates) == 0 {
		b.rule(at("tls"), "tls = %q needs a certificate: a [[certificate]] table, or certificates here", l.TLS)
	}
	if l.TLS == TLSImplicit {
		for _, k := range []struct {
			key string
			set bool
		}{
			{"plaintext_login", l.PlaintextLogin},
			{"plaintext_networks", len(l.PlaintextNetworks) > 0},
		} {
			if k.set {
				b.rule(at(k.key), `%s has no meaning with tls = "implicit", where all is TLS`, k.key)
			}
		}
	} else if l.PlaintextLogin && len(l.PlaintextNetworks) > 0 {
		b.rule(at("plaintext_networks"), "plaintext_networks narrows nothing with plaintext_login, which lets everybody: set one of them")
	}
	if l.Sessions > c.Limits.Sessions {
		b.rule(at("sessions"), "sessions: %d is more than limits.sessions, %d, which comes first", l.Sessions, c.Limits.Sessions)
	}
	b.mechanisms(path, l)
	b.listenerPool(path, l, c)
}

// mechanisms reports lists that say something twice or that EXTERNAL cannot be
// in.
func (b *binder) mechanisms(path string, l Listener) {
	for i, m := range l.Mechanisms {
		if slices.Contains(l.Mechanisms[:i], m) {
			b.rule(element(join(path, "mechanisms"), i), "mechanisms: %s is there twice", m)
		}
	}
	if len(l.Mechanisms) == 0 {
		return
	}
	external := slices.Index(l.Mechanisms, External)
	if external >= 0 && l.ClientCAFile == "" {
		b.rule(element(join(path, "mechanisms"), external), "mechanisms: EXTERNAL needs client_ca_file")
	}
	if external < 0 && l.ClientCAFile != "" {
		b.rule(join(path, "client_ca_file"), "client_ca_file is for EXTERNAL, which mechanisms leaves out")
	}
}

// listenerPool reports a pool that is not there or cannot serve the listener.
func (b *binder) listenerPool(path string, l Listener, c *Config) {
	var names []string
	var pool *Pool
	at := -1
	for i := range c.Pools {
		if name := c.Pools[i].Name; name != "" && !slices.Contains(names, name) {
			names = append(names, c.Pools[i].Name)
		}
		if c.Pools[i].Name == l.Pool {
			pool, at = &c.Pools[i], i
			break
		}
	}
	switch {
	case len(names) == 0:
		return // told already
	case l.Pool == "":
		b.rule(join(path, "pool"), "pool is missing: want one of %s", quoted(names))
		return
	case pool == nil:
		b.rule(join(path, "pool"), "pool: %q is unknown, want one of %s%s", l.Pool, quoted(names), suggestion(l.Pool, names))
		return
	}
	if l.ClientCAFile != "" && l.TLS != TLSNone && pool.MasterUser == "" {
		b.rule(join(path, "client_ca_file"), "client_ca_file: EXTERNAL logs in with the master user of the pool, and pool %q has none", pool.Name)
	}
	for j, be := range pool.Backends {
		if be.port(l.Protocol) == 0 {
			backend := element(element("pool", at)+".backend", j)
			b.rule(join(backend, string(l.Protocol)+"_port"),
				"%s_port is missing: listener %q sends users of pool %q here over %s", l.Protocol, l.Name, pool.Name, l.Protocol)
		}
	}
}

// serves reports whether a listener has the pool.
func (c *Config) serves(pool string) bool {
	return slices.ContainsFunc(c.Listeners, func(l Listener) bool { return l.Pool == pool })
}

// port is the back end's for a protocol; 0 if it does not serve it.
func (be Backend) port(p Protocol) int {
	switch p {
	case IMAP:
		return be.IMAPPort
	case POP3:
		return be.POP3Port
	default:
		return -1 // the protocol is wrong, not the port
	}
}
