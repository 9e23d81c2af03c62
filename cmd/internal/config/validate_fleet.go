package config

import (
	"net"
	"net/netip"
	"path/filepath"
	"slices"
)

// fleet reports the impossible in [fleet].
func (b *binder) fleet(c *Config) {
	f := c.Fleet
	if f.Retention < f.KickDelay {
		key := "retention"
		if !b.has(join("fleet", key)) {
			key = "kick_delay"
		}
		b.rule(join("fleet", key), "%s: retention, %s, is less than kick_delay, %s", key, formatDuration(f.Retention), formatDuration(f.KickDelay))
	}
	if len(f.Flush) > 0 && !filepath.IsAbs(f.Flush[0]) {
		b.rule("fleet.flush", "flush: %q is no path from the root: want the program, and each argument by itself, as in [\"/usr/local/sbin/flush-user\", \"--quick\"]", f.Flush[0])
	}
	if f.Name == "" {
		b.nameless(f)
		return
	}
	if f.SecretFile == "" {
		b.rule("fleet.secret_file", "secret_file is missing: a fleet needs one, and usher fleet secret makes it")
	}
	host, _, err := net.SplitHostPort(f.Bind)
	if addr, notAddr := netip.ParseAddr(host); err == nil && f.Advertise == "" && (host == "" || notAddr == nil && addr.IsUnspecified()) {
		b.rule("fleet.bind", "bind: %s is every address of the host: say in advertise at which of them other nodes find this one", f.Bind)
	}
	host, _, err = net.SplitHostPort(f.Advertise)
	if addr, notAddr := netip.ParseAddr(host); err == nil && (host == "" || notAddr == nil && addr.IsUnspecified()) {
		b.rule("fleet.advertise", "advertise: %s is no address that other nodes could connect to", f.Advertise)
	}
	b.voters(f)
	if f.WhenIsolated == IsolatedRefuse && c.DataPath == PathCopy {
		b.rule("fleet.when_isolated", `when_isolated = "refuse" needs another data_path than "copy": a node that must refuse has to be able to stop what it forwards`)
	}
}

// nameless reports keys that say that a fleet was meant.
func (b *binder) nameless(f Fleet) {
	if b.witness {
		b.rule("fleet.name", "name is missing: a witness votes in a fleet, [fleet] says in which")
		return
	}
	for _, k := range []struct {
		key string
		set bool
	}{{"secret_file", f.SecretFile != ""}, {"join", len(f.Join) > 0}, {"voters", len(f.Voters) > 0}, {"flush", len(f.Flush) > 0}} {
		if k.set {
			b.rule(join("fleet", k.key), "%s has no meaning without fleet.name", k.key)
		}
	}
}

func (b *binder) voters(f Fleet) {
	switch n := len(f.Voters); {
	case n == 0:
		b.rule("fleet.voters", "voters is missing: want the names of 1, 3 or 5 nodes")
	case n != 1 && n != 3 && n != 5:
		b.rule("fleet.voters", "voters: %d of them, want 1, 3 or 5: an even number bears no more losses than the odd one below it", n)
	}
	for i, v := range f.Voters {
		if slices.Contains(f.Voters[:i], v) {
			b.rule(element("fleet.voters", i), "voters: %q is there twice", v)
		}
	}
	if b.witness && f.Node != "" && !slices.Contains(f.Voters, f.Node) {
		b.rule("fleet.node", "node: a witness only votes, and %q is not among voters%s", f.Node, suggestion(f.Node, f.Voters))
	}
}
