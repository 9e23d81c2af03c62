package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// servers warns of a server that is in two pools: a user has a place in each,
// and they need not be the same. In one pool it is an error.
func (k *checker) servers() {
	first := map[string]int{} // server to pool
	for i, p := range k.c.Pools {
		for j, be := range p.Backends {
			for _, port := range []struct {
				key    string
				number int
			}{{"imap_port", be.IMAPPort}, {"pop3_port", be.POP3Port}} {
				if port.number == 0 {
					continue
				}
				server := net.JoinHostPort(sameHost(be.Host), strconv.Itoa(port.number))
				of, known := first[server]
				switch {
				case !known:
					first[server] = i
				case of != i:
					k.note(join(element(element("pool", i)+".backend", j), port.key),
						"%s: %s is a back end of pool %q too; a user of both pools has a place in each, so he may be on two back ends at once",
						port.key, server, k.c.Pools[of].Name)
				}
			}
		}
	}
}

// sameHost is one spelling of a host's name or address.
func sameHost(host string) string {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().String()
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
