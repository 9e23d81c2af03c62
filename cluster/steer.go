package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"usher.example/cluster/lead"
	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// Update says what pools this node's configuration has. What the leader's has is
// the fleet's; nodes that disagree are told of.
func (f *Fleet) Update(pools []Pool) error { return f.update(pools, nil) }

func (f *Fleet) update(pools []Pool, laid *Reading) error {
	if err := Validate(pools); err != nil {
		return err
	}
	marks := make(map[string]string, len(pools))
	here := make(map[string]map[string]string, len(pools))
	for _, p := range pools {
		if marks[p.Name] = p.Mark; p.Mark == "" {
			marks[p.Name] = MarkPins(p.Pins)
		}
		here[p.Name] = make(map[string]string, len(p.Backends))
		for _, b := range p.Backends {
			here[p.Name][b.Name] = b.Address
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgetHealth(pools)
	f.file(marks)
	f.here = here
	f.pools, f.laid = append([]Pool{}, pools...), laid
	f.described = describe(f.pools)
	f.tellManager()
	return nil
}

// forgetHealth drops what was seen of servers that are configured no more: another
// may have the name. It is called with mu held.
func (f *Fleet) forgetHealth(pools []Pool) {
	type server struct{ pool, name, address string }
	stays := make(map[server]bool)
	for _, p := range pools {
		if f.health[p.Name] == nil {
			f.health[p.Name] = make(map[string]bool)
		}
		for _, b := range p.Backends {
			stays[server{p.Name, b.Name, b.Address}] = true
		}
	}
	for _, p := range f.pools {
		for _, b := range p.Backends {
			if !stays[server{p.Name, b.Name, b.Address}] {
				delete(f.health[p.Name], b.Name)
				delete(f.sights, site{p.Name, b.Name})
				for _, r := range f.extra {
					delete(r.verdicts[p.Name], b.Name)
				}
			}
		}
	}
}

// Settle waits until what Update said is in force, or for as long as another node
// leads: then it is that one's configuration that counts.
func (f *Fleet) Settle(ctx context.Context) error {
	return f.wait(ctx, "the change of the configuration", func() bool {
		return f.gossip != nil && f.leader == nil || f.inForce()
	})
}

// Pinned waits until the pins that Update told are in force, but for those of other
// nodes' files; or for as long as another node leads.
func (f *Fleet) Pinned(ctx context.Context) error {
	return f.wait(ctx, "the change of pins", func() bool {
		if f.gossip != nil && f.leader == nil {
			return true
		}
		for _, c := range f.pools {
			if p := f.table.Pools[c.Name]; p == nil || !f.inFile(p) {
				return false
			}
		}
		return true
	})
}

// inForce says whether logins are placed by the pools that are configured here. It
// is called with mu held.
func (f *Fleet) inForce() bool {
	for _, c := range f.pools {
		p := f.table.Pools[c.Name]
		if p == nil || p.Active.Storage() != c.Storage {
			return false
		}
		known := make(map[uint16]bool)
		for _, b := range f.kept(c) {
			id, _ := backendOf(p, Backend{Name: b.Name, Address: b.Address})
			known[id] = true
		}
		for _, b := range c.Backends {
			if b.Pending {
				continue
			}
			id, ok := backendOf(p, b)
			v, active := p.Active.Find(id)
			if known[id] = true; !ok || !active || p.Backends[id].Over == nil && v.Weight != b.Weight {
				return false
			}
		}
		for _, v := range p.Active.List() {
			if v.State == place.Up && !known[v.ID] {
				return false
			}
		}
	}
	return true
}

// backendOf finds a configured back end in the table.
func backendOf(p *table.Pool, c Backend) (uint16, bool) {
	for id, b := range p.Backends {
		if b.Name == c.Name && b.Address == c.Address && !b.Removed {
			return id, true
		}
	}
	return 0, false
}

// SetHealth says whether a back end answers this node's probes. What counts is
// what most of those say who observe it.
func (f *Fleet) SetHealth(pool, backend string, up bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.health[pool] == nil {
		f.health[pool] = make(map[string]bool)
	}
	s := f.saw(site{pool, backend})
	if was, ok := f.health[pool][backend]; !ok || was != up {
		f.untold = true
		s.doubt = was // and so down now
	}
	f.health[pool][backend] = up
	f.wake()
}

// Await waits until the node may serve: it has joined its fleet, knows its pools,
// and its word counts. The error says what is missing.
func (f *Fleet) Await(ctx context.Context) error {
	for {
		f.mu.Lock()
		missing := f.missingToServe()
		changed := f.changed
		f.mu.Unlock()
		if missing == "" {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %s", context.Cause(ctx), missing)
		}
	}
}

// missingToServe is called with mu held.
func (f *Fleet) missingToServe() string {
	switch {
	case f.fatal != nil:
		return f.fatal.Error()
	case f.keyer.Load() == nil:
		return "the fleet has not been joined yet"
	case f.unread && f.led == 0:
		return "its log has not been read yet"
	case f.gossip == nil && f.lived():
		return "" // places are what they were before the stop; whose change is held
	case !f.node.Leased(bootTime()):
		return "the node's word does not count yet"
	}
	for _, p := range f.pools {
		if t := f.table.Pools[p.Name]; t == nil || len(t.Active.List()) == 0 && len(p.Backends) > 0 {
			return fmt.Sprintf("the fleet does not know pool %s yet", p.Name)
		}
	}
	return ""
}

// lived says whether the table is of an earlier life of this node. It is called with
// mu held.
func (f *Fleet) lived() bool {
	m := f.table.Members[f.o.Node]
	return m != nil && m.Life > 0 && m.Life != f.node.Life()
}

// SetAdmin sets a back end's admin state, and SetWeight its weight; below zero the
// configuration's holds again. By is shown to others. They return when the pool's
// view is as it should be then.
func (f *Fleet) SetAdmin(ctx context.Context, pool, backend string, state table.Admin, by string) error {
	return f.adjust(ctx, table.Adjust{Pool: pool, Backend: backend, Admin: &state, By: by, At: time.Now().Unix()})
}

// SetWeight is as SetAdmin.
func (f *Fleet) SetWeight(ctx context.Context, pool, backend string, weight int, by string) error {
	return f.adjust(ctx, table.Adjust{Pool: pool, Backend: backend, Weight: &weight, By: by, At: time.Now().Unix()})
}

func (f *Fleet) adjust(ctx context.Context, a table.Adjust) error {
	if err := f.propose(a); err != nil {
		return err
	}
	return f.wait(ctx, "the change", func() bool {
		p := f.table.Pools[a.Pool]
		return p == nil || lead.Settled(p)
	})
}

// wait waits until something has come about; done is called with mu held.
func (f *Fleet) wait(ctx context.Context, what string, done func() bool) error {
	if err := f.until(ctx, done); err != nil {
		return fmt.Errorf("%s goes on, but it was not waited for: %w", what, err)
	}
	return nil
}

// Move pins a user to a back end and moves him there; without a target his pin is
// taken away and he goes home. It returns when he may log in again.
func (f *Fleet) Move(ctx context.Context, pool, user, target, by string) error {
	k := f.keyer.Load()
	if k == nil {
		return ErrIsolated
	}
	name := k.names.Normal(user)
	s := table.Start{Pool: pool, Key: k.keys.Key(pool, name), Keys: k.made, User: name, Target: target, Pin: table.PinSet, By: by}
	if target == "" {
		s.Pin = table.PinClear
	}
	if err := f.propose(s); err != nil {
		return err
	}
	return f.wait(ctx, "the move", func() bool { return f.table.Moving(s.Key) == nil })
}

// Forget takes a node out of the fleet that is gone for good.
func (f *Fleet) Forget(node string) error {
	if _, there := f.alive()[node]; there {
		return fmt.Errorf("node %q is there: stop it first", node)
	}
	err := f.propose(table.Forget{Node: node})
	if err != nil && !errors.Is(err, table.ErrNoMember) {
		return err
	}
	return err
}

// KickAll ends a user's sessions on every node that can be reached and returns
// their number.
func (f *Fleet) KickAll(user, reason string) (int, error) {
	var mu sync.Mutex
	n := 0
	if f.o.Local != nil {
		n = f.o.Local.Kick(user, reason)
	}
	err := f.everywhere(func(address string) error {
		var c counted
		if err := f.send(address, "/v1/kick", asked{user, reason}, &c); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		n += c.Count
		return nil
	})
	return n, err
}

// everywhere asks all other nodes at the same time.
func (f *Fleet) everywhere(ask func(address string) error) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for name, p := range f.alive() {
		if name == f.o.Node || p.Witness {
			continue
		}
		wg.Go(func() {
			if err := ask(p.address); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("node %s: %w", name, err))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Hostname is the node's name when the configuration gives none.
func Hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "node"
	}
	return name
}

// key makes a user's key, and says of which settings it is (table.Settings.Keys).
func (f *Fleet) key(pool, user string) (key place.Key, keys int, name string, ok bool) {
	k := f.keyer.Load()
	if k == nil {
		return 0, 0, user, false
	}
	name = k.names.Normal(user)
	return k.keys.Key(pool, name), k.made, name, true
}
