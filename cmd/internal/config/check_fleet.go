package config

import (
	"net"
	"os"
	"slices"
	"strconv"
)

// fleet checks what [fleet] needs of this host. Its secret is for whoever knows
// what one looks like; see [Config.At].
func (k *checker) fleet() {
	f := k.c.Fleet
	if f.Name == "" {
		return
	}
	if _, port, err := net.SplitHostPort(f.Bind); err == nil {
		n, _ := strconv.Atoi(port) // of a port, by its form
		k.port("fleet.bind", n)
	}
	if len(f.Flush) > 0 {
		if info, err := os.Stat(f.Flush[0]); err != nil {
			k.fail("fleet.flush", "flush: %v", err)
		} else if !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
			k.fail("fleet.flush", "flush: %s is no program: chmod +x it", f.Flush[0])
		}
	}
	if f.Node != "" && !slices.Contains(f.Voters, f.Node) {
		if hint := suggestion(f.Node, f.Voters); hint != "" {
			k.note("fleet.node", "node: %q is no voter%s", f.Node, hint)
		}
	}
	if len(f.Voters) > 1 && len(f.Join) == 0 {
		k.note("fleet.join", "join is empty: other nodes have to find this one")
	}
}

// At is a problem of the key at path, such as "fleet.secret_file", that somebody
// else has found.
func (c *Config) At(path string, err error) Problem {
	r := reporter{source: c.source}
	r.at(path, "%s: %v", lastKey(path), err)
	return r.found[0]
}
