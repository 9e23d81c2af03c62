package table

import "usher.example/cluster/place"

// A Fate is what a change of a pool's view does with a user who is live on a back end.
type Fate uint8

// Fates.
const (
	Close   Fate = iota // his connections are closed
	Belongs             // he is where he belongs
	Stay                // he belongs elsewhere, and stays until he is gone
)

// Fate is what the change in preparation does with a user who is live on a back end.
func (t *Table) Fate(p *Pool, k place.Key, backend uint16) Fate {
	base := t.Base(p, k)
	switch {
	case t.Loses(p, backend):
		return Close
	case base.Backend == backend && base.Why != "" && t.Present(p, k).Backend == backend, p.Keeps(k, backend):
		return Belongs // who is there against the present view may not be there now
	case t.MayStay(p, k, backend):
		return Stay
	}
	return Close
}
