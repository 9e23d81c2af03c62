package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"usher.example/cluster/place"
)

// A Pool is the configuration of one pool.
type Pool struct {
	// Name is not empty and has no NUL.
	Name string
	// Storage is zero for place.Shared.
	Storage place.Storage
	// Backends in any order; see [place.NewView] for what is refused.
	Backends []Backend
}

// A Backend is the configuration of one back end.
type Backend struct {
	// Name is what users are hashed to: renaming a back end moves its users.
	Name string
	// Address tells one server from another that has the same name; nobody
	// reads it. A back end whose address changes is another server: the one
	// before is removed, and its users are those of a removed back end. Empty is
	// an address like any other.
	Address string
	// Weight is its share of the users. Zero: it takes no new ones.
	Weight int
	// Admin is zero for Active.
	Admin Admin
}

// pool and backend are the live side; Single.mu guards them.
type pool struct {
	name     string
	storage  place.Storage
	view     place.View
	backends map[string]*backend   // configured, by name
	gone     map[*backend]struct{} // removed; each stays while users are live on it
	pins     Pins
	removed  bool // from the configuration; it stays while users are live in it
}

type backend struct {
	name       string
	address    string
	pool       *pool
	weight     int
	configured Admin // by the last Update
	admin      Admin // in force
	up         bool  // by health, or by [Single.Update] until health has spoken
	removed    bool  // from the configuration; it stays while users are live on it
	users      int   // live here
	holds      int
}

// serves says whether users who are here may stay.
func (b *backend) serves() bool { return !b.removed && b.state() != place.Down }

func (b *backend) state() place.State {
	switch {
	case !b.up || b.admin == Down:
		return place.Down
	case b.admin == Drain:
		return place.Drain
	}
	return place.Up
}

// base is place.Base with an error that explains. Where the user is live does not
// serve; it is nil if he is not.
func (p *pool) base(name string, key place.Key, live *backend) (*backend, string, error) {
	if live != nil && p.storage == place.Local && !live.removed {
		return nil, "", p.noBackend(live.name) // wherever his pin leads now: he is here
	}
	pin := p.pins[name]
	b, why, ok := place.Base(p.view, pin, key)
	if ok {
		return p.backends[b.Name], why, nil
	}
	own := b.Name
	if own == "" && p.storage == place.Local {
		own = pin
	}
	return nil, "", p.noBackend(own)
}

// look makes the view anew after a change of a back end.
func (p *pool) look() {
	list := make([]place.Backend, 0, len(p.backends))
	for _, b := range p.backends {
		list = append(list, place.Backend{Name: b.name, Weight: b.weight, State: b.state()})
	}
	v, err := place.NewView(p.storage, list)
	if err != nil {
		panic(fmt.Sprintf("cluster: back ends that were checked are refused: %v", err))
	}
	p.view = v
}

// usable counts the back ends that may serve somebody.
func (p *pool) usable() int {
	n := 0
	for b := range p.view.All {
		if b.State == place.Up || p.storage == place.Local && b.State != place.Down {
			n++
		}
	}
	return n
}

func (p Pool) check() error {
	var errs []error
	if p.Name == "" || strings.Contains(p.Name, "\x00") {
		errs = append(errs, errors.New("the name of a pool is empty or has a NUL"))
	}
	if p.Storage != place.Shared && p.Storage != place.Local {
		errs = append(errs, fmt.Errorf("unknown %v", p.Storage))
	}
	list := make([]place.Backend, 0, len(p.Backends))
	for _, b := range p.Backends {
		if b.Admin > Down {
			errs = append(errs, fmt.Errorf("back end %q: unknown %v", b.Name, b.Admin))
		}
		list = append(list, place.Backend{Name: b.Name, Weight: b.Weight})
	}
	if _, err := place.NewView(p.Storage, list); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("pool %q: %w", p.Name, err)
	}
	return nil
}

// sorted returns the configured back ends by name.
func (p *pool) sorted() []*backend {
	list := make([]*backend, 0, len(p.backends))
	for _, b := range p.backends {
		list = append(list, b)
	}
	slices.SortFunc(list, func(a, b *backend) int { return strings.Compare(a.name, b.name) })
	return list
}
