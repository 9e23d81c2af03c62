package cluster

import "usher.example/cluster/member"

// verdicts is what a report tells of back ends: what this node has seen, and of which
// it is an observer. Who was told of no Prober cannot say when it has looked, and
// tells all. Of a server that the fleet knows at another address nothing is told. It
// is called with mu held.
func (f *Fleet) verdicts() (verdicts map[string]map[string]bool, observes map[string][]string) {
	verdicts, observes = make(map[string]map[string]bool), make(map[string][]string)
	others := f.others()
	for pool, list := range f.health {
		for backend, up := range list {
			if others[site{pool, backend}] {
				continue
			}
			s := f.sights[site{pool, backend}]
			if f.o.Prober != nil && (s == nil || !s.fresh()) {
				continue
			}
			if verdicts[pool] == nil {
				verdicts[pool] = make(map[string]bool)
			}
			verdicts[pool][backend] = up
			if s != nil && s.observes {
				observes[pool] = append(observes[pool], backend)
			}
		}
	}
	return verdicts, observes
}

// others are the back ends that the fleet knows at another address than this node's
// configuration has.
func (f *Fleet) others() map[site]bool {
	list := make(map[site]bool)
	for _, c := range f.pools {
		p := f.table.Pools[c.Name]
		if p == nil {
			continue
		}
		addresses := make(map[string]string, len(p.Backends))
		for _, b := range p.Backends {
			if !b.Removed {
				addresses[b.Name] = b.Address
			}
		}
		for _, b := range c.Backends {
			if at, known := addresses[b.Name]; known && at != b.Address {
				list[site{c.Name, b.Name}] = true
			}
		}
	}
	return list
}

// ballots are what nodes have reported lately. It is called with mu held.
func (f *Fleet) ballots(now int64) []ballot {
	var list []ballot
	for node, r := range f.extra {
		if now-r.at > 3*member.ReportEvery {
			continue
		}
		b := ballot{node: node, well: r.fit, up: make(map[site]bool), observes: make(map[site]bool)}
		for pool, verdicts := range r.verdicts {
			for backend, up := range verdicts {
				b.up[site{pool, backend}] = up
			}
		}
		for pool, backends := range r.observes {
			for _, backend := range backends {
				b.observes[site{pool, backend}] = true
			}
		}
		list = append(list, b)
	}
	return list
}

// standing counts the back ends that the fleet has. It is called with mu held.
func (f *Fleet) standing() int {
	n := 0
	for _, p := range f.table.Pools {
		for _, b := range p.Backends {
			if !b.Removed {
				n++
			}
		}
	}
	return n
}
