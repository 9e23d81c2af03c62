package member

import "usher.example/cluster/place"

// A survey is who is still to be looked at in a change of a pool's view. There may be
// a hundred thousand records and the node looks many times until a change is done, so
// it looks at all of them once, and then at those that something is owed for.
type survey struct {
	epoch, life uint64
	left        []place.Key // some may be gone, and come twice if they came back
}

// surveyOf is the survey of a change in preparation, begun with all records of the
// pool if there is none: also in a new life, in which nothing counts as done.
func (n *Node) surveyOf(pool string, epoch uint64) *survey {
	s := n.surveys[pool]
	if s != nil && s.epoch == epoch && s.life == n.life {
		return s
	}
	s = &survey{epoch: epoch, life: n.life}
	for k, r := range n.records {
		if n.poolOf(r) == pool {
			s.left = append(s.left, k)
		}
	}
	n.surveys[pool] = s
	return s
}

// note has a user looked at who has just come, if the pool's view is changing.
func (n *Node) note(pool string, k place.Key) {
	s := n.surveys[pool]
	if s == nil {
		return
	}
	p := n.t.Pools[pool]
	if p == nil || p.Next == nil || p.Epoch+1 != s.epoch || s.life != n.life {
		delete(n.surveys, pool) // that change is over, or nobody waits for this life in it
		return
	}
	if life, ok := p.Next.Ready[n.o.Name]; ok && life == n.life {
		return // said and written
	}
	s.left = append(s.left, k)
}
