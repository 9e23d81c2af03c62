package cluster

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"usher.example/cluster/lead"
	"usher.example/cluster/member"
	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// learn takes up what the fleet has settled. It is called with mu held.
func (f *Fleet) learn() {
	f.learnTickets()
	s := f.table.Settings
	if k := f.keyer.Load(); s.Number == 0 || k != nil && k.number == s.Number {
		return
	}
	key, fresh, err := f.openMapKey(s.MapKey)
	f.reseal = err == nil && !fresh
	f.unkeyed = err // a node that catches up meets keys that have been sealed anew since
	if err != nil {
		return
	}
	f.keyer.Store(&keyer{s.Number, s.MapKey, s.Keys, s.Names, place.NewKeyer(key)})
	f.differs()
}

// unplaced logs, once, that the map key cannot be opened and that this lasts: not by
// the next entry of the log, nor a second later. It is the manager's own.
func (f *Fleet) unplaced() {
	f.mu.Lock()
	err := f.unkeyed
	f.mu.Unlock()
	if err != nil && f.closed && !f.saidClosed {
		f.saidClosed = true
		f.log.Error("users cannot be placed: give this node the versions of the fleet's secret that the others have, and restart it", "event", "map_key_closed", "err", err)
	}
	f.closed = err != nil
	f.saidClosed = f.saidClosed && f.closed
}

// aboutMapKey is what the map key is sealed as.
const aboutMapKey = "settings/map_key"

// newMapKey makes the secret that users are hashed with, sealed for the table. A
// fleet of one has no secret to seal it with, and nobody who listens.
func (f *Fleet) newMapKey() string {
	key := NewSecret()
	secrets := *f.secrets.Load()
	if f.dir.path == "" && f.o.Fleet == "" {
		key = Secret{} // what is forgotten with each start must not give other places
	}
	if len(secrets) == 0 {
		return base64.StdEncoding.EncodeToString(key[:])
	}
	return base64.StdEncoding.EncodeToString(seal(secrets, aboutMapKey, key[:]))
}

// openMapKey also says whether the key is sealed with the secret in use.
func (f *Fleet) openMapKey(text string) (key []byte, fresh bool, err error) {
	return openMapKey(*f.secrets.Load(), text)
}

func openMapKey(secrets []Secret, text string) (key []byte, fresh bool, err error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, false, err
	}
	if len(b) == SecretLen { // of when the node was alone; in a fleet it gets sealed
		return b, len(secrets) == 0, nil
	}
	return open(secrets, aboutMapKey, b)
}

// resealed is the settings with the map key under the secret in use, so that the
// one before can be given up. It is called with mu held.
func (f *Fleet) resealed() *table.Settings {
	s := f.table.Settings
	key, _, err := f.openMapKey(s.MapKey)
	if err != nil {
		return nil
	}
	s.Number++
	s.MapKey = base64.StdEncoding.EncodeToString(seal(*f.secrets.Load(), aboutMapKey, key))
	return &s
}

// Place says which back end of the pool serves the user now, and why: "stay",
// "pin" or "home". The name is as the client sent it.
//
// With the answer comes a hold: until Release, the user is live on that back end,
// and whatever changes places waits for him. Take it before dialling, and release
// it when the connection to the back end is closed.
//
// While the user's place is changing, Place waits. The error is then ErrHeld if it
// was in vain; else ErrNoPool, ErrNoBackend or ErrIsolated, at once.
func (f *Fleet) Place(ctx context.Context, pool, user string) (backend, why string, hold uint64, err error) {
	k := f.keyer.Load()
	if k == nil {
		if k, err = f.awaitSettings(ctx); err != nil {
			return "", "", 0, err
		}
	}
	a := f.try(k, pool, user)
	if a.changed == nil {
		return a.backend, a.why, a.hold, a.err
	}
	f.stats.Held.Add(1)
	if !f.enter() {
		f.stats.Expired.Add(1)
		return "", "", 0, fmt.Errorf("pool %q: too many logins wait: %w", pool, ErrHeld)
	}
	defer f.leave()
	limit := time.NewTimer(f.o.Hold)
	defer limit.Stop()
	brought := false
	for {
		// Who waits for his turn is not woken by what others are moved by.
		var turn chan<- struct{}
		changed := a.changed
		if a.removed && !brought {
			turn, changed = f.away, nil
		}
		select {
		case turn <- struct{}{}:
			brought = f.bringAway(ctx, pool, user)
			<-f.away
		case <-changed:
		case <-limit.C:
			f.stats.Expired.Add(1)
			return "", "", 0, fmt.Errorf("pool %q: after %v: %w", pool, f.o.Hold, ErrHeld)
		case <-ctx.Done():
			f.stats.Expired.Add(1)
			return "", "", 0, fmt.Errorf("pool %q: %w: %w", pool, ErrHeld, context.Cause(ctx))
		}
		if a = f.try(f.keyer.Load(), pool, user); a.changed == nil {
			if a.err == nil {
				f.stats.Moves.Add(1)
			}
			return a.backend, a.why, a.hold, a.err
		}
	}
}

// maxAway is how many users a node brings away at a time from back ends that were
// removed: a machine that is switched off sends all of its users at once, and the
// others' logins need the fleet port as well. The rest are held until it is their turn.
const maxAway = 8

// bringAway moves a user off a back end that the configuration has no more. He was
// left there until he, or somebody who says that he is, came again. It says whether it
// has tried.
func (f *Fleet) bringAway(ctx context.Context, pool, user string) bool {
	ctx, cancel := context.WithTimeout(ctx, sayTime)
	defer cancel()
	if f.wait(ctx, "another move", func() bool { return len(f.table.Moves) < lead.MaxMoves }) != nil {
		return false
	}
	key, keys, name, ok := f.key(pool, user)
	if !ok {
		return false
	}
	err := f.proposeWithin(table.Start{Pool: pool, Key: key, Keys: keys, User: name, Pin: table.PinKeep, By: "a back end that was removed"}, sayTime)
	if err != nil && !errors.Is(err, table.ErrMoving) {
		f.log.Debug("a user cannot leave a back end that was removed", "pool", pool, "err", err)
	}
	return true
}

// A placement is an answer to a login. A channel says that it is not known yet: it
// is closed when it may be.
type placement struct {
	backend, why string
	hold         uint64
	err          error
	changed      <-chan struct{}
	removed      bool // he is where nobody is let in any more: he has to leave first
}

// try asks once. Keys may change between the making of one and the lock.
func (f *Fleet) try(k *keyer, pool, user string) placement {
	key := k.keys.Key(pool, k.names.Normal(user))
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.node.Keyed(k.made) {
		if k = f.keyer.Load(); !f.node.Keyed(k.made) {
			return placement{changed: f.changed} // the map key cannot be read: learn says why
		}
		key = k.keys.Key(pool, k.names.Normal(user))
	}
	return f.decide(pool, key, nil)
}

// decide answers a login, and registers it if it has a place. With a Trace it does not:
// it is asked for an explanation then, notes what each rule said, and changes nothing. It
// is called with mu held.
func (f *Fleet) decide(pool string, key place.Key, tr *place.Trace) placement {
	if f.leaving {
		tr.Note(ByStop, place.Refuses, 0, "", "the node is being stopped")
		return placement{err: fmt.Errorf("pool %q: %w: it is being stopped", pool, ErrIsolated)}
	}
	p := f.table.Pools[pool]
	if p != nil && removed(p) && !f.pending(pool) {
		tr.Note(member.ByPool, place.Refuses, 0, "", "the pool is configured no more")
		return placement{err: fmt.Errorf("pool %q: %w", pool, ErrNoPool)}
	}
	var d member.Decision
	if tr == nil {
		d = f.node.Place(bootTime(), pool, key)
	} else {
		d = f.node.Explain(bootTime(), pool, key, tr)
	}
	switch d.Verdict {
	case member.Placed:
		if !f.reaches(p, d.Backend) {
			f.node.Release(bootTime(), d.Hold)
			tr.Note(ByServer, place.Waits, d.Backend, "", "this node's configuration has no back end of that name at that address: logins wait until it has, or until he is brought away")
			return placement{changed: f.changed, removed: f.mayLeave(p, d.Backend)}
		}
		tr.Note(ByServer, place.Passed, d.Backend, "", "this node's configuration has it, at the address that the fleet knows")
		if tr != nil {
			return placement{backend: nameOf(p, d.Backend), why: d.Why}
		}
		switch d.Why {
		case place.ByStay:
			f.stats.Stays.Add(1)
		case place.ByPin:
			f.stats.Pins.Add(1)
		default:
			f.stats.Homes.Add(1)
		}
		return placement{backend: nameOf(p, d.Backend), why: d.Why, hold: d.Hold}
	case member.Held:
		return placement{changed: f.changed}
	case member.NoPool:
		if f.pending(pool) {
			tr.Note(member.ByPool, place.Waits, 0, "", "it is configured here, and the fleet will know it in a moment")
			return placement{changed: f.changed}
		}
		return placement{err: fmt.Errorf("pool %q: %w", pool, ErrNoPool)}
	case member.Isolated:
		return placement{err: fmt.Errorf("pool %q: %w", pool, ErrIsolated)}
	case member.NoPlace:
	}
	if tr == nil {
		f.stats.Refused.Add(1)
	}
	return placement{err: f.noBackend(pool, key, nameOf(p, d.Backend))}
}

// reaches says whether a login may go to a back end by its name: it is in the
// configuration, and here it is the same server. While the files of nodes differ a
// name may be two servers', and a user must not be on both. It is called with mu held.
func (f *Fleet) reaches(p *table.Pool, id uint16) bool {
	b := p.Backends[id]
	if b == nil || b.Removed {
		return false
	}
	here := f.here[p.Name]
	address, known := here[b.Name]
	return here == nil || known && address == b.Address
}

// mayLeave says whether a user should be brought away from a back end that has been
// removed: the view has it no more for others.
func (f *Fleet) mayLeave(p *table.Pool, id uint16) bool {
	b, v := p.Backends[id], place.Backend{}
	if b != nil && b.Removed {
		v, _ = p.Active.Find(id)
	}
	return v.State == place.Drain && f.node.Leased(bootTime())
}

// pending says whether a pool is configured here that the fleet has not heard of:
// a matter of moments. It is called with mu held.
func (f *Fleet) pending(pool string) bool {
	for _, p := range f.pools {
		if p.Name == pool {
			return true
		}
	}
	return false
}

// noBackend explains why nobody serves a user. It is called with mu held.
func (f *Fleet) noBackend(pool string, key place.Key, own string) error {
	p := f.table.Pools[pool]
	e := &NoBackendError{Pool: pool}
	if p.Active.Storage() == place.Local {
		if e.Own = own; own == "" {
			e.Own = f.table.Pins.Backend(key)
		}
	}
	if e.Own != "" && own == "" {
		e.Unusable = []Unusable{{e.Own, "unknown"}}
		return e
	}
	for _, id := range sortedIDs(p.Backends) {
		b := p.Backends[id]
		if v, ok := p.Active.Find(id); !b.Removed && (e.Own == "" || b.Name == e.Own) {
			e.Unusable = append(e.Unusable, Unusable{b.Name, unusable(b, v, ok)})
		}
	}
	return e
}

// awaitSettings waits for a fleet that has just been joined or started.
func (f *Fleet) awaitSettings(ctx context.Context) (*keyer, error) {
	limit := time.NewTimer(f.o.Hold)
	defer limit.Stop()
	for {
		f.mu.Lock()
		changed := f.changed
		f.mu.Unlock()
		if k := f.keyer.Load(); k != nil {
			return k, nil
		}
		select {
		case <-changed:
		case <-limit.C:
			return nil, fmt.Errorf("%w: it has not been joined yet", ErrIsolated)
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrIsolated, context.Cause(ctx))
		}
	}
}

// enter counts a login that waits, unless there are too many.
func (f *Fleet) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held >= f.o.MaxHeld {
		return false
	}
	f.held++
	return true
}

func (f *Fleet) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held--
}

// Still says whether a login may send its credentials: between its place and that
// moment this node may have lost its fleet.
func (f *Fleet) Still(hold uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if hold == 0 {
		return nil // a directory's answer, which the fleet has no part in
	}
	if !f.node.Still(bootTime(), hold) {
		return ErrIsolated
	}
	return nil
}

// Confirm notes that a login has succeeded.
func (f *Fleet) Confirm(hold uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.node.Confirm(hold)
}

// Refused notes that the back end has refused a login: nothing of the user can reach
// it any more.
func (f *Fleet) Refused(hold uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.node.Refused(hold)
}

// Release gives a hold back: the connection to the back end is closed. Again, or
// of 0, it does nothing.
func (f *Fleet) Release(hold uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var now int64 // of no account to a hold that leaves nothing: most logins of a storm
	if f.node.Leaves(hold) {
		now = bootTime()
	}
	if f.node.Release(now, hold) {
		f.news()
	}
}
