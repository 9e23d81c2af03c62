package config

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// CheckWitness is Check for a node that only votes: listeners and pools are left
// alone.
func (c *Config) CheckWitness(ctx context.Context) Problems {
	k := &checker{reporter: reporter{source: c.source}, machine: thisHost, c: c}
	k.admin()
	k.fleet()
	k.peers(ctx)()
	k.found.sort()
	return k.found
}

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
	node := f.Node
	if node == "" {
		node = k.hostname()
	}
	votes := slices.Contains(f.Voters, node)
	switch hint := suggestion(node, f.Voters); {
	case votes:
	case f.Node != "" && hint != "":
		k.note("fleet.node", "node: %q is no voter%s", f.Node, hint)
	case f.Node == "":
		for _, v := range f.Voters {
			if label(v) == label(node) {
				k.note("fleet.voters", "voters: this node is called %q, after its host, which is not the name %q: set node to the one that is meant", node, v)
			}
		}
	}
	if (len(f.Voters) > 1 || !votes) && len(f.Join) == 0 {
		k.note("fleet.join", "join is empty: other nodes have to find this one")
	}
}

// label is the first part of a host's name.
func label(name string) string {
	first, _, _ := strings.Cut(strings.ToLower(name), ".")
	return first
}

// peers looks up the names at which nodes find each other. The returned function
// waits for the answers and tells of them. A name that does not resolve is no error:
// its node may come later, and the others are enough.
func (k *checker) peers(ctx context.Context) (tell func()) {
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	type peer struct {
		path, key, host, risk string
		err                   error
	}
	var list []*peer
	add := func(path, key, address, risk string) {
		host, _, err := net.SplitHostPort(address)
		if _, known := knownAddr(host); err == nil && host != "" && !known {
			list = append(list, &peer{path: path, key: key, host: host, risk: risk})
		}
	}
	if f := k.c.Fleet; f.Name != "" {
		add("fleet.bind", "bind", f.Bind, "usher cannot start before it does")
		add("fleet.advertise", "advertise", f.Advertise, "usher cannot start before it does")
		for i, j := range f.Join {
			add(element("fleet.join", i), "join", j, "nobody is found by it until it does")
		}
	}
	slots := make(chan struct{}, resolvers)
	var looking sync.WaitGroup
	for _, p := range list {
		looking.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			_, p.err = k.resolve(ctx, p.host)
		})
	}
	return func() {
		looking.Wait()
		cancel()
		for _, p := range list {
			var dns *net.DNSError
			switch {
			case errors.As(p.err, &dns) && dns.IsNotFound:
				k.note(p.path, "%s: %q does not exist; %s", p.key, p.host, p.risk)
			case p.err != nil:
				k.note(p.path, "%s: look up %q: %v; %s", p.key, p.host, p.err, p.risk)
			}
		}
	}
}

// At is a problem of the key at path, such as "fleet.secret_file", that somebody
// else has found.
func (c *Config) At(path string, err error) Problem {
	r := reporter{source: c.source}
	r.at(path, "%s: %v", lastKey(path), err)
	return r.found[0]
}
