package certs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// A Change is a plan that was found good and is not in force yet. Exactly one of
// Commit and Drop has to be called; until then no other change is begun.
type Change struct {
	k       *Keeper
	shelves map[string]*placed
	fronts  map[string]*front
	policy  *policy
	adopt   []func()
}

// importTime bounds the wait for certificates of the fleet before a new listener's
// socket opens. What is not here by then comes with Commit.
const importTime = 2 * time.Second

// Prepare reads what a plan names and changes nothing, but that listeners which
// the plan in force does not have can do handshakes, with the certificates of files
// and those that were imported, and with names that the plan in force obtains, too:
// their sockets may be opened before Commit. Names that are new in the plan are
// obtained, or found in the storage, after it.
func (k *Keeper) Prepare(p Plan) (*Change, error) {
	k.applying.Lock()
	c := &Change{k: k, shelves: make(map[string]*placed), fronts: make(map[string]*front, len(p.Listeners))}
	policy, err := k.registrar.plan(p)
	c.policy = policy
	errs := []error{err}
	for _, name := range slices.Sorted(maps.Keys(p.Listeners)) {
		f := new(front)
		for _, s := range p.Listeners[name].Sources {
			shelf, err := c.place(s, name)
			errs = append(errs, err)
			f.shelves = append(f.shelves, shelf)
		}
		if len(f.shelves) == 0 {
			errs = append(errs, fmt.Errorf("listener %s has no certificate", name))
		}
		c.fronts[name] = f
	}
	if err := errors.Join(errs...); err != nil {
		k.applying.Unlock()
		return nil, err
	}
	both := maps.Clone(c.fronts)
	maps.Copy(both, *k.serving.Load())
	k.serving.Store(&both)
	return c, nil
}

// place finds the shelf of a source, or makes one. Listeners share them. An error
// is returned once.
func (c *Change) place(s Source, listener string) (shelf, error) {
	key := s.key()
	if p, ok := c.shelves[key]; ok {
		if p != nil && p.listeners[len(p.listeners)-1] != listener {
			p.listeners = append(p.listeners, listener)
		}
		if p == nil {
			return nil, nil // told already
		}
		return p.shelf, nil
	}
	c.shelves[key] = nil
	c.k.mu.Lock()
	old := c.k.shelves[key]
	c.k.mu.Unlock()
	p := &placed{listeners: []string{listener}}
	if old == nil {
		made, err := c.k.shelf(s)
		if err != nil {
			return nil, err
		}
		p.shelf = made
		if i, ok := made.(*imported); ok && len(*c.k.serving.Load()) > 0 { // at a start there may be no fleet yet: see Await
			ctx, cancel := context.WithTimeout(context.Background(), importTime)
			_, _ = i.read(ctx) // what fails is in its list, and tried again
			cancel()
		}
	} else {
		p.shelf = old.shelf // how it runs, Commit takes over: Run may begin meanwhile
	}
	if r, ok := p.shelf.(rereader); ok {
		adopt, err := r.reread()
		if err != nil {
			return nil, err
		}
		if old == nil {
			adopt() // nothing is shown but to listeners of this plan
		} else {
			c.adopt = append(c.adopt, adopt)
		}
	}
	c.shelves[key] = p
	return p.shelf, nil
}

// Commit puts the plan into force. What the one before had and this has not is
// stopped when Commit returns.
func (c *Change) Commit() {
	for _, adopt := range c.adopt {
		adopt()
	}
	c.k.registrar.apply(c.policy)
	c.k.serving.Store(&c.fronts)
	c.k.mu.Lock()
	old := c.k.shelves
	c.k.shelves = c.shelves
	for key, p := range c.shelves {
		if was := old[key]; was != nil { // Run may have begun since Prepare
			p.stop, p.done = was.stop, was.done
		}
		c.k.start(p)
	}
	running := c.k.ctx != nil
	c.k.mu.Unlock()
	for key, p := range old {
		if c.shelves[key] == nil && p.done != nil {
			p.stop()
			<-p.done
		}
	}
	select {
	case c.k.changed <- struct{}{}:
	default: // it is known that there is something new
	}
	if running { // else Run does it
		c.k.warn(time.Now())
	}
	c.k.applying.Unlock()
}

// Drop gives the plan up; the one before stays in force.
func (c *Change) Drop() {
	before := maps.Clone(*c.k.serving.Load())
	c.k.mu.Lock()
	planned := make(map[string]bool)
	for _, p := range c.k.shelves {
		for _, name := range p.listeners {
			planned[name] = true
		}
	}
	c.k.mu.Unlock()
	maps.DeleteFunc(before, func(name string, _ *front) bool { return !planned[name] })
	c.k.serving.Store(&before)
	c.k.applying.Unlock()
}

// Try tells what Apply would, and what List would after it, of a Keeper that has
// nothing. It reads files, and asks nobody: of what is obtained it sees only what keeps
// a plan from ever working, and of what was imported nothing.
func Try(p Plan) ([]Status, error) {
	k := New(Options{Log: slog.New(slog.DiscardHandler)})
	files := Plan{Listeners: make(map[string]Listener, len(p.Listeners))}
	for name, l := range p.Listeners {
		l.Sources = slices.DeleteFunc(slices.Clone(l.Sources), func(s Source) bool { return s.CertFile == "" && s.Directory == "" })
		if len(l.Sources) > 0 || len(p.Listeners[name].Sources) == 0 {
			files.Listeners[name] = l
		}
	}
	names, patterns := p.obtained()
	_, wrong := newPolicy(p.ACME, names, patterns)
	c, err := k.Prepare(files)
	if err != nil {
		return nil, errors.Join(wrong, err)
	}
	c.Commit()
	return k.List(), wrong
}
