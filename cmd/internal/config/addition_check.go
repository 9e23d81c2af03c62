package config

import (
	"context"
	"slices"
)

// CheckBackend tries what Check would of one back end that is in the configuration: its
// name is looked up, and it must not be usher itself. Any trouble counts, also that of the
// resolver: nobody waits for this back end. It takes seconds at most.
func (c *Config) CheckBackend(ctx context.Context, pool, name string) Problems {
	return c.checkBackend(ctx, thisHost, pool, name)
}

func (c *Config) checkBackend(ctx context.Context, m machine, pool, name string) Problems {
	one := *c
	one.Pools = nil
	for _, p := range c.Pools {
		if p.Name == pool {
			p.Backends = slices.DeleteFunc(slices.Clone(p.Backends), func(b Backend) bool { return b.Name != name })
			one.Pools = append(one.Pools, p)
		}
	}
	k := &checker{machine: m, c: &one}
	k.hosts(ctx)
	for i := range k.found {
		k.found[i].Warning = false
	}
	return k.found
}

// InTwoPools warns of servers of a back end that are in another pool as well.
func (c *Config) InTwoPools() Problems {
	k := &checker{c: c}
	k.servers()
	return k.found
}
