package cluster

import (
	"errors"
	"fmt"

	"usher.example/cluster/place"
)

// Update replaces the configuration of all pools. If anything is wrong with it
// everything is reported and nothing changes.
//
// Pins are kept by pool, health and live users by the name and the address of
// the back end. A back end's admin state is set only where the configuration of
// it changed since the last Update, so that a reload does not undo what SetAdmin
// did.
//
// Nobody has looked at a new back end yet. Where others can take its users
// meanwhile it counts as down until SetHealth says otherwise. Where none can, as
// at a start and with local storage, it counts as up: logins need not wait for
// the first probe.
//
// Live sessions are left alone, also those on a back end that is no longer
// configured; a user of such a one is moved when he logs in again. Only a back
// end that is set down loses its sessions, as by SetAdmin.
func (s *Single) Update(pools []Pool) error {
	if err := Validate(pools); err != nil {
		return err
	}
	for _, e := range s.apply(pools) {
		s.empty(e)
	}
	return nil
}

// Validate reports everything for which Update would refuse the pools.
func Validate(pools []Pool) error {
	var errs []error
	seen := make(map[string]bool)
	for _, p := range pools {
		if err := p.check(); err != nil {
			errs = append(errs, err)
		}
		if seen[p.Name] {
			errs = append(errs, fmt.Errorf("pool %q appears twice", p.Name))
		}
		seen[p.Name] = true
	}
	return errors.Join(errs...)
}

// apply does Update's work and returns what has to be emptied.
func (s *Single) apply(pools []Pool) []eviction {
	s.mu.Lock()
	defer s.mu.Unlock()
	var evictions []eviction
	configured := make(map[string]bool)
	for _, c := range pools {
		configured[c.Name] = true
		p := s.pools[c.Name]
		if p == nil {
			p = &pool{name: c.Name, backends: make(map[string]*backend), gone: make(map[*backend]struct{})}
			s.pools[c.Name] = p
		}
		before := p.serving()
		p.removed = false
		p.storage = c.Storage
		p.configure(c.Backends)
		p.look()
		for _, b := range before {
			if e, ok := p.evict(b); ok && !b.removed {
				evictions = append(evictions, e)
			}
		}
		s.sweep(p)
	}
	for name, p := range s.pools {
		if !configured[name] {
			p.removed = true
			p.pins = nil
			p.configure(nil)
			p.look()
			s.sweep(p)
		}
	}
	return evictions
}

// configure brings the back ends in line with the configuration.
func (p *pool) configure(list []Backend) {
	before := p.backends
	p.backends = make(map[string]*backend, len(list))
	var added []*backend
	others := false // can take the users of those that are new
	for _, c := range list {
		b := before[c.Name]
		if b == nil || b.address != c.Address {
			b = p.revive(c)
		}
		if b == nil {
			b = &backend{name: c.Name, address: c.Address, pool: p, admin: c.Admin, configured: c.Admin}
			added = append(added, b)
		}
		p.backends[c.Name] = b
		b.weight = c.Weight
		if c.Admin != b.configured {
			b.admin, b.configured = c.Admin, c.Admin
		}
		others = others || b.state() == place.Up && b.weight > 0
	}
	for _, b := range added {
		b.up = !others || p.storage == place.Local
	}
	for name, b := range before {
		if p.backends[name] != b {
			b.removed = true
			p.gone[b] = struct{}{}
		}
	}
}

// revive brings a removed back end back that users are still live on, if there
// is one.
func (p *pool) revive(c Backend) *backend {
	for b := range p.gone {
		if b.name == c.Name && b.address == c.Address {
			delete(p.gone, b)
			b.removed = false
			return b
		}
	}
	return nil
}

// SetHealth says whether a back end answers its probes. One that goes down in
// a pool with shared storage loses its sessions, if another back end can take
// them: if none can, closing them would help nobody, and the fault may be our
// own. Unknown names are ignored: the last word of a probe may come after its
// back end was removed.
func (s *Single) SetHealth(pool, backend string, up bool) {
	s.mu.Lock()
	b := s.find(pool, backend)
	if b == nil {
		s.mu.Unlock()
		return
	}
	e, evicted := b.change(func() { b.up = up })
	s.mu.Unlock()
	if evicted {
		s.empty(e)
	}
}

// SetAdmin sets a back end's admin state until the next change: Drain keeps
// live users and takes no new ones (with local storage it has no effect:
// nobody else could serve them), Down closes them as SetHealth does. The error
// is ErrNoPool or ErrUnknownBackend.
func (s *Single) SetAdmin(pool, backend string, state Admin) error {
	if state > Down {
		return fmt.Errorf("unknown %v", state)
	}
	s.mu.Lock()
	if p := s.pools[pool]; p == nil || p.removed {
		s.mu.Unlock()
		return fmt.Errorf("pool %q: %w", pool, ErrNoPool)
	}
	b := s.find(pool, backend)
	if b == nil {
		s.mu.Unlock()
		return fmt.Errorf("pool %q: %w: %q", pool, ErrUnknownBackend, backend)
	}
	e, evicted := b.change(func() { b.admin = state })
	s.mu.Unlock()
	if evicted {
		s.empty(e)
	}
	return nil
}

// find returns a configured back end.
func (s *Single) find(pool, name string) *backend {
	if p := s.pools[pool]; p != nil {
		return p.backends[name]
	}
	return nil
}

// An eviction is a back end whose sessions have to be closed.
type eviction struct{ pool, backend string }

// change applies a change of state to a back end.
func (b *backend) change(set func()) (eviction, bool) {
	served := b.serves()
	set()
	b.pool.look()
	if !served {
		return eviction{}, false
	}
	return b.pool.evict(b)
}

// evict says whether a back end that served until now has to be emptied.
func (p *pool) evict(b *backend) (eviction, bool) {
	if b.serves() || b.users == 0 || p.storage == place.Local || p.usable() == 0 {
		return eviction{}, false
	}
	return eviction{p.name, b.name}, true
}

// empty closes all sessions on a back end. Not under the lock.
func (s *Single) empty(e eviction) {
	s.stats.Kicks.Add(1)
	s.kick(e.pool, "", e.backend)
}

// serving lists the back ends that serve now.
func (p *pool) serving() []*backend {
	var list []*backend
	for _, b := range p.backends {
		if b.serves() {
			list = append(list, b)
		}
	}
	return list
}

// sweep forgets what is removed and has no users.
func (s *Single) sweep(p *pool) {
	for b := range p.gone {
		s.forget(b)
	}
	if p.removed && len(p.gone) == 0 {
		delete(s.pools, p.name)
	}
}

// forget drops a removed back end without users, and its pool after the last.
func (s *Single) forget(b *backend) {
	if !b.removed || b.users > 0 {
		return
	}
	delete(b.pool.gone, b)
	if b.pool.removed && len(b.pool.gone) == 0 {
		delete(s.pools, b.pool.name)
	}
}
