package config

import "path/filepath"

const (
	// maxSocketPath is the room for a path in Linux's sockaddr_un, less its NUL.
	maxSocketPath = 107
	// maxSocketDir bounds its directory: a socket is made under a temporary name
	// in a directory of its own and then given its place (package admin).
	maxSocketDir = 92
)

// validate reports what is impossible although each key alone is right.
func (b *binder) validate(c *Config) {
	if n := len(c.Admin.Socket); n > maxSocketPath {
		b.rule("admin.socket", "socket: a path of %d bytes, allowed are %d: the kernel's bound for sockets", n, maxSocketPath)
	}
	if n := len(filepath.Dir(c.Admin.Socket)); n > maxSocketDir {
		b.rule("admin.socket", "socket: a directory of %d bytes, allowed are %d", n, maxSocketDir)
	}
	if c.Users.StripDomain != "" && c.Users.DefaultDomain != "" {
		b.rule("users.default_domain", "default_domain adds what strip_domain takes away: set one of them")
	}
	b.api(c.Admin.API)
	b.limits(c.Limits)
	b.fleet(c)
	b.acme(c)
	if len(c.Listeners) == 0 && !b.witness {
		b.rule("listener", "no [[listener]]: want at least one")
	}
	if len(c.Pools) == 0 && !b.witness {
		b.rule("pool", "no [[pool]]: want at least one")
	}
	names := unique{b: b, kind: "listener"}
	for i, l := range c.Listeners {
		path := element("listener", i)
		names.add(join(path, "name"), l.Name)
		b.listener(path, l, c)
	}
	b.addresses(c)
	b.certificates(c)

	names = unique{b: b, kind: "pool"}
	for i, p := range c.Pools {
		path := element("pool", i)
		names.add(join(path, "name"), p.Name)
		b.pool(path, p, c)
	}
}

func (b *binder) limits(l Limits) {
	for _, part := range []struct {
		key string
		n   int
	}{
		{"prelogin", l.Prelogin},
		{"sessions_per_address", l.SessionsPerAddress},
		{"sessions_per_user", l.SessionsPerUser},
	} {
		path := join("limits", part.key)
		if b.has(path) && part.n > l.Sessions {
			b.rule(path, "%s: %d is more than limits.sessions, %d, which comes first", part.key, part.n, l.Sessions)
		}
	}
}

// unique reports names that were there before.
type unique struct {
	b    *binder
	kind string
	seen map[string]string // name to path
}

func (u *unique) add(path, name string) {
	if name == "" {
		return // told already: a name is required
	}
	if first, ok := u.seen[name]; ok {
		u.b.rule(path, "name: %s %q exists already, at line %d", u.kind, name, u.b.position(first).line)
		return
	}
	if u.seen == nil {
		u.seen = map[string]string{}
	}
	u.seen[name] = path
}
