package scenario

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// A Course is a list of parts that share one start of a target.
type Course struct {
	Name        string
	Repetitions int
	Weight      time.Duration // how long one target takes, about: for the estimate of what remains
	Parts       []Part
	// OwnStart says that the parts start their target themselves: a fleet.
	OwnStart bool
	// Only names the one target that the course is for, if it is for one.
	Only string
	// Named says that the course is run only when somebody asks for it by name.
	Named bool
}

// A Part is a scenario: what is done to a target that runs, and counted.
type Part struct {
	Name string // the scenario's, in results
	Doc  string // one line
	// Needs are services that a target must have for this part, as
	// "protocol security"; without them it is passed over, which is no fault.
	Needs []string
	Takes time.Duration // how long it takes by intent, beyond Params.Limit
	Run   func(ctx context.Context, r *Round) error
}

// Catalogue is every course there is, in the order in which they are run: what is
// short comes first, so that a run that somebody ends early has most.
func Catalogue(p Params) []Course {
	courses := []Course{logins(p), bulk(p), trips(p)}
	for i, held := range p.Idle {
		courses = append(courses, idle(p, held, i == 0))
	}
	return append(courses, storm(p), day(p), fleet(p), soak(p))
}

// Select keeps the parts whose name or whose course's name matches one of the
// globs (as in package path), and of no globs all but those that have to be
// named. A glob that matches nothing is an error: it is a slip.
func Select(courses []Course, globs []string) ([]Course, error) {
	for _, glob := range globs {
		if _, err := path.Match(glob, ""); err != nil {
			return nil, fmt.Errorf("scenarios %q: %w", glob, err)
		}
	}
	used := map[string]bool{}
	wanted := func(named bool, names ...string) bool {
		found := len(globs) == 0 && !named
		for _, glob := range globs {
			for _, name := range names {
				if ok, _ := path.Match(glob, name); ok && (!named || glob == name) {
					used[glob], found = true, true
				}
			}
		}
		return found
	}
	var selected []Course
	for _, c := range courses {
		c.Parts = slices.DeleteFunc(slices.Clone(c.Parts), func(p Part) bool { return !wanted(c.Named, p.Name, c.Name) })
		if len(c.Parts) > 0 {
			selected = append(selected, c)
		}
	}
	for _, glob := range globs {
		if !used[glob] {
			return nil, fmt.Errorf("no scenario matches %q; `bench list` names them all", glob)
		}
	}
	return selected, nil
}

// served reports whether a target has all the services that a part needs.
func (p Part) served(serves func(protocol, security string) bool) bool {
	for _, need := range p.Needs {
		protocol, security, _ := strings.Cut(need, " ")
		if !serves(protocol, security) {
			return false
		}
	}
	return true
}
