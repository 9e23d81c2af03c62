package cluster

import (
	"errors"
	"fmt"
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
	// Pins are those of a file; see [Fleet.Update]. They must not be changed.
	Pins Pins
	// PinsFile is where Pins are from, for explanations. Empty: not known.
	PinsFile string
	// Keep names back ends that the fleet may have and of which this node does not know
	// enough, such as those that were added by a newer version: as a leader it leaves
	// them what they are. Those that Backends has are not kept.
	Keep []string
	// Mark is what [MarkPins] makes of Pins, or empty: then Update does it.
	Mark string
}

// A Backend is the configuration of one back end.
type Backend struct {
	// Name is what users are hashed to: renaming a back end moves its users.
	Name string
	// Address tells one server from another that has the same name; nobody
	// connects by it. A back end whose address changes is another server: the one
	// before is removed, see [Fleet.Update]. Empty is an address like any other.
	Address string
	// Weight is its share of the users. Zero: it takes no new ones.
	Weight int
	// Pending: this node can reach it, and the fleet is not to place users there, as
	// others may not be so far yet.
	Pending bool
}

// Validate reports everything for which [Fleet.Update] would refuse the pools.
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
