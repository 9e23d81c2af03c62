package member

import (
	"iter"

	"usher.example/cluster/place"
)

// A Seated is a user who is live on this node.
type Seated struct {
	Key     place.Key
	Backend uint16
	Holds   int
}

// Seat is one user of a pool, if he is live here; see Seats.
func (n *Node) Seat(pool string, k place.Key) (Seated, bool) {
	r := n.records[k]
	if r == nil || r.holds == 0 || n.poolOf(r) != pool {
		return Seated{}, false
	}
	return Seated{k, r.backend, int(r.holds)}, true
}

// Seats yields the users of a pool that are live here, in no order. Those under keys of
// before are left out: they are being closed.
func (n *Node) Seats(pool string) iter.Seq[Seated] {
	return func(yield func(Seated) bool) {
		for k, r := range n.records {
			if r.holds > 0 && n.poolOf(r) == pool && !yield(Seated{k, r.backend, int(r.holds)}) {
				return
			}
		}
	}
}
