package member

import "math"

// forever is when the lease of a node ends that is alone: never, by any clock.
const forever = math.MaxInt64

// Sole tells the node that it leads its log and is the only voter of it, or not any
// more. Then nothing is decided without this process, not even while it is stopped,
// and as long as it is also the only member with users (table.Only) nobody else acts
// on anything: it has a lease without reports and grants once its life has entered.
// When another member joins, what it has is a lease that began at the last look
// before.
//
// Law of its owner: false comes before a voter is added, and when it stops to lead;
// the leader (lead.Leader.Sole) is told the same under the same lock.
func (n *Node) Sole(on bool) { n.sole = on }

// alone says whether the node needs no grants.
func (n *Node) alone() bool { return n.sole && n.t.Only(n.o.Name) }
