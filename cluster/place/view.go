package place

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxWeight bounds a weight: times the largest score (46 bits) it stays within
// 62 bits, so two back ends are compared by multiplication, without rounding.
const MaxWeight = 1<<16 - 1

// MaxBackends bounds a view. The hash looks at every back end of a pool; at a
// thousand that costs 5-10 µs a login, and pools have tens.
const MaxBackends = 1024

// A Backend is one mail server as placement sees it.
type Backend struct {
	// ID is the stable short number of tables and logs. It is carried, it has
	// no part in the score: renumbering moves nobody.
	ID uint16
	// Name is what the score depends on, byte by byte, so a renamed back end
	// is another back end. Not empty, unique in the view.
	Name string
	// Weight is this back end's share of the users, in proportion to the sum
	// of all. Zero: no user has his home here, only pins and stays lead to it.
	// At most MaxWeight.
	Weight int
	// State is zero for Up.
	State State
}

// A View is the back ends of one pool, ready to be hashed over. It is
// immutable and safe for concurrent use. The zero View is a pool with shared
// storage and no back ends.
type View struct {
	storage  Storage
	backends []Backend   // by name
	homes    []candidate // by name; those that may be a home
}

// A candidate is what the inner loop of Home reads.
type candidate struct {
	hash   uint64 // of the name
	weight uint64
	index  int // in View.backends
}

// NewView prepares back ends for hashing. It copies the list, whose order does
// not matter, and reports everything that is wrong with it.
func NewView(storage Storage, backends []Backend) (View, error) {
	if len(backends) > MaxBackends {
		return View{}, fmt.Errorf("%d back ends, at most %d are possible", len(backends), MaxBackends)
	}
	v := View{storage: storage, backends: slices.Clone(backends)}
	slices.SortFunc(v.backends, func(a, b Backend) int { return strings.Compare(a.Name, b.Name) })
	var errs []error
	for i, b := range v.backends {
		switch {
		case b.Name == "":
			errs = append(errs, errors.New("a back end has no name"))
		case i > 0 && v.backends[i-1].Name == b.Name:
			errs = append(errs, fmt.Errorf("back end %q appears twice", b.Name))
		}
		if b.Weight < 0 || b.Weight > MaxWeight {
			errs = append(errs, fmt.Errorf("back end %q: weight %d is not within 0 and %d", b.Name, b.Weight, MaxWeight))
		}
		if b.Weight > 0 && (storage == Local || b.State == Up) {
			v.homes = append(v.homes, candidate{hash: nameHash(b.Name), weight: uint64(b.Weight), index: i})
		}
	}
	if len(errs) > 0 {
		return View{}, errors.Join(errs...)
	}
	return v, nil
}

// Storage returns the kind of storage that the view was made for.
func (v View) Storage() Storage { return v.storage }

// Len returns the number of back ends, whatever their states.
func (v View) Len() int { return len(v.backends) }

// All yields the back ends by name, whatever their states.
func (v View) All(yield func(Backend) bool) {
	for _, b := range v.backends {
		if !yield(b) {
			return
		}
	}
}

// Find returns the back end of that name, whatever its state.
func (v View) Find(name string) (Backend, bool) {
	i, found := slices.BinarySearchFunc(v.backends, name, func(b Backend, name string) int {
		return cmp.Compare(b.Name, name)
	})
	if !found {
		return Backend{}, false
	}
	return v.backends[i], true
}

// nameHash spreads the names of back ends, which differ in one digit, over 64
// bits. It is computed once per view, so it may be a good one.
func nameHash(name string) uint64 {
	sum := sha256.Sum256([]byte(name))
	return binary.BigEndian.Uint64(sum[:8])
}
