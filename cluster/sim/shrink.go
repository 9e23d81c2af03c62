package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Shrink returns a plan that fails like p with as few actions as can be found by
// leaving out kinds of them and then parts of the rest, in at most so many runs.
func Shrink(p *Plan, o Options, err error, runs int) *Plan {
	o.Trace = nil
	fails := func(list []Action) bool {
		if runs--; runs < 0 {
			return false
		}
		q := *p
		q.Actions = list
		_, got := Run(&q, o)
		return got != nil && errors.Is(got, errors.Unwrap(err))
	}
	list := p.Actions
	for k := range kinds {
		if less := slices.DeleteFunc(slices.Clone(list), func(a Action) bool { return a.Kind == k }); len(less) < len(list) && fails(less) {
			list = less
		}
	}
	for n := (len(list) + 1) / 2; n > 0; n /= 2 {
		for i := 0; i < len(list); {
			if less := slices.Delete(slices.Clone(list), i, min(i+n, len(list))); fails(less) {
				list = less
			} else {
				i += n
			}
		}
	}
	q := *p
	q.Actions = list
	return &q
}

// String lists what happens in a plan.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d nodes, %d voters, %d users, %d back ends, %d pools, strict %v, kick delay %s, retention %s\n",
		p.Seed, p.Nodes, p.Voters, p.Users, p.Backends, p.Pools, p.Strict, seconds(p.KickDelay), seconds(p.Retention))
	for _, a := range p.Actions {
		fmt.Fprintf(&b, "%9s %s n%d, user or back end %d, %d, for %s\n", seconds(a.At), a.Kind, a.Host, a.User, a.N, seconds(a.Long))
	}
	return b.String()
}
