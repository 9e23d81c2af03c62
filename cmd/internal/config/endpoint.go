package config

import "net/netip"

// An endpoint is an address that usher listens on.
type endpoint struct {
	path, name string
	addr       netip.AddrPort
}

// endpoints are those of the file that are right in themselves.
func (c *Config) endpoints() []endpoint {
	var eps []endpoint
	add := func(path, name, text string) {
		addr, err := parseListen(text)
		if err == nil && addr.Port() != 0 { // 0 lets the kernel choose a free one
			eps = append(eps, endpoint{path, name, netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())})
		}
	}
	add("admin.http", "admin.http", c.Admin.HTTP)
	add("admin.api.address", "admin.api", c.Admin.API.Address)
	add("admin.agent", "admin.agent", c.Admin.Agent)
	for i, l := range c.Listeners {
		add(join(element("listener", i), "address"), "listener "+l.Name, l.Address)
	}
	return eps
}

// addresses reports endpoints that the kernel would not let us have together.
// One without an address has all, of IPv4 and IPv6.
func (b *binder) addresses(c *Config) {
	eps := c.endpoints()
	for i, e := range eps {
		for _, first := range eps[:i] {
			if e.addr.Port() != first.addr.Port() {
				continue
			}
			if e.addr == first.addr || e.addr.Addr().IsUnspecified() || first.addr.Addr().IsUnspecified() {
				b.rule(e.path, "address: %s is taken by %s (%s)", e.addr, first.name, first.addr)
				break
			}
		}
	}
}

// circle reports a back end, whose port is the key at path, that is one of our
// own endpoints: a session to it would open the next one.
func (r *reporter) circle(path string, c *Config, addr netip.Addr, port int) {
	addr = addr.Unmap()
	for _, ep := range c.endpoints() {
		if int(ep.addr.Port()) != port {
			continue
		}
		if ep.addr.Addr() == addr || addr.IsLoopback() && ep.addr.Addr().IsUnspecified() {
			r.at(path, "%s: %s leads back to %s, so sessions would run in a circle",
				lastKey(path), netip.AddrPortFrom(addr, ep.addr.Port()), ep.name)
			return
		}
	}
}

// knownAddr is the address of a host for which nobody has to be asked.
func knownAddr(host string) (netip.Addr, bool) {
	if host == "localhost" { // RFC 6761 §6.3
		return netip.IPv6Loopback(), true
	}
	addr, err := netip.ParseAddr(host)
	return addr, err == nil
}
