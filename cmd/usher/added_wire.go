package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"usher.example/balancer/admin"
	"usher.example/cluster"
	"usher.example/cmd/internal/config"
)

// An overlay is a configuration with the back ends that were added by command.
type overlay struct {
	*wiring
	base *wiring        // without them
	file *config.Config // which says that
	// taken are the definitions that are in use, as the fleet has them, by key.
	taken map[string]string
	// reading is what it was made with.
	reading cluster.Reading
	// problems say by key why others are not.
	problems map[string]string
	// shadowed are those that the file has as well.
	shadowed map[string]bool
	// differ say by key how the file has it otherwise.
	differ map[string]string
}

// lay puts definitions over what a file says. What cannot be used is left out, and said:
// others have written it, and their word must not keep this node from serving.
func lay(base *wiring, c *config.Config, reading cluster.Reading) *overlay {
	o := &overlay{
		wiring: base, base: base, file: c, reading: reading,
		taken: make(map[string]string), problems: make(map[string]string), shadowed: make(map[string]bool), differ: make(map[string]string),
	}
	values := reading.Values
	for key, err := range reading.Unopened {
		o.problems[key] = err.Error()
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		d, err := config.ParseDefinition(key, values[key])
		if err == nil && c.Backend(d.Pool, d.Name) != nil && base.has(d.Pool, d.Name) {
			o.shadowed[key] = true
			o.taken[key] = string(values[key])
			if how := differs(*c.Backend(d.Pool, d.Name), d.Addition); how != "" {
				o.differ[key] = how
			}
			continue
		}
		if err == nil && len(o.taken) >= config.MaxDefinitions {
			err = fmt.Errorf("there are more than %d: put some into the file of every node", config.MaxDefinitions)
		}
		more := c
		if err == nil {
			more, err = c.With(d.Addition)
		}
		w := o.wiring
		if err == nil {
			w, err = w.plus(*more.Backend(d.Pool, d.Name), d)
		}
		if err != nil {
			o.problems[key] = err.Error()
			continue
		}
		o.wiring, c, o.taken[key] = w, more, string(values[key])
	}
	o.wiring = o.keeping(sorted(o.problems))
	return o
}

// keeping is the wiring that leaves back ends what they are to the fleet of which this
// node cannot use the definition: it may be of a newer version, and users are there.
func (w *wiring) keeping(keys []string) *wiring {
	if len(keys) == 0 {
		return w
	}
	n := *w
	n.places = slices.Clone(w.places)
	for _, key := range keys {
		pool, name, _ := strings.Cut(short(key), "/")
		for i := range n.places {
			if p := &n.places[i]; p.Name == pool {
				p.Keep = append(slices.Clip(p.Keep), name)
			}
		}
	}
	return &n
}

// differs says how a file has a back end otherwise than an order has added it. What tells
// servers apart is the address as it is written, so that a file which spells it otherwise
// has another server, and the users move.
func differs(file config.Backend, a config.Addition) string {
	added := config.Backend{Host: a.Host, IMAPPort: a.IMAPPort, POP3Port: a.POP3Port, Weight: admin.DefaultWeight}
	if a.Weight != nil {
		added.Weight = *a.Weight
	}
	switch {
	case identity(file) != identity(added):
		return fmt.Sprintf("the file has it at %q, and it was added at %q", identity(file), identity(added))
	case file.Weight != added.Weight:
		return fmt.Sprintf("the file gives it weight %d, and it was added with %d", file.Weight, added.Weight)
	}
	return ""
}

// same says whether two overlays are of one base and say the same.
func (o *overlay) same(p *overlay) bool {
	return o.base == p.base && o.reading.Same(p.reading) && maps.Equal(o.taken, p.taken) && maps.Equal(o.problems, p.problems)
}

// has says whether a pool has a back end of that name.
func (w *wiring) has(pool, name string) bool {
	return slices.ContainsFunc(w.checks, func(c check) bool { return c.pool == pool && c.backend == name })
}

// plus is the wiring with one back end more. The receiver stays as it is.
func (w *wiring) plus(b config.Backend, d config.Definition) (*wiring, error) {
	bo, err := backendOptions(b)
	if err != nil {
		return nil, err
	}
	n := *w
	n.balancer.Pools, n.places = slices.Clone(w.balancer.Pools), slices.Clone(w.places)
	for i := range n.balancer.Pools {
		if p := &n.balancer.Pools[i]; p.Name == d.Pool {
			p.Backends = append(slices.Clip(p.Backends), bo)
		}
	}
	for i := range n.places {
		if p := &n.places[i]; p.Name == d.Pool {
			p.Backends = append(slices.Clip(p.Backends), cluster.Backend{Name: b.Name, Address: identity(b), Weight: b.Weight, Pending: !d.Live})
		}
	}
	for _, c := range w.checks { // of another back end of the pool: they are examined alike
		if c.pool == d.Pool {
			c.backend, c.address = b.Name, identity(b)
			n.checks = append(slices.Clip(w.checks), c)
			return &n, cluster.Validate(n.places)
		}
	}
	return nil, fmt.Errorf("pool %s has no back end in the file", d.Pool) // With has seen one
}

// short is a definition's key as people know it.
func short(key string) string { return strings.TrimPrefix(key, config.DefinitionDir+"/") }
