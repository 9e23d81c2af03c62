package balancer

import (
	"container/list"
	"net/netip"

	"usher.example/balancer/guard"
)

// Queues hold the connections that have not logged in, by who may be behind them:
// when one has to make room it is one of those who have most. A flood from one
// address then drowns itself, one from the many addresses of a network that network,
// and one from everywhere the oldest.
type queues struct {
	addresses, networks crowd
	all                 list.List // of *session, but for many
	many                list.List // those of networks that many users are behind
	n                   int
}

// A place is where a session waits.
type place struct {
	all, address, network *list.Element
	of                    netip.Addr // by which it was grouped; the zero one in no group
}

// A crowd is sessions in groups, and the groups by size. All of it takes constant
// time.
type crowd struct {
	groups map[netip.Prefix]*group
	sizes  []list.List // of *group, by number of sessions
	most   int
}

type group struct {
	who      netip.Prefix
	sessions list.List // of *session, oldest first
	at       *list.Element
}

func (c *crowd) add(who netip.Prefix, s *session) *list.Element {
	g := c.groups[who]
	if g == nil {
		if c.groups == nil {
			c.groups = make(map[netip.Prefix]*group)
		}
		g = &group{who: who}
		c.groups[who] = g
	}
	e := g.sessions.PushBack(s)
	c.resize(g, g.sessions.Len()-1)
	return e
}

func (c *crowd) remove(who netip.Prefix, e *list.Element) {
	if g := c.groups[who]; g != nil {
		g.sessions.Remove(e)
		c.resize(g, g.sessions.Len()+1)
	}
}

func (c *crowd) toBack(who netip.Prefix, e *list.Element) {
	if g := c.groups[who]; g != nil {
		g.sessions.MoveToBack(e)
	}
}

// resize moves a group that had so many sessions.
func (c *crowd) resize(g *group, had int) {
	n := g.sessions.Len()
	if had > 0 {
		c.sizes[had].Remove(g.at)
	}
	if n == 0 {
		delete(c.groups, g.who)
	} else {
		for len(c.sizes) <= n {
			c.grow()
		}
		g.at = c.sizes[n].PushBack(g)
	}
	c.most = max(c.most, n)
	for c.most > 0 && c.sizes[c.most].Len() == 0 {
		c.most--
	}
}

// grow makes room for larger groups. Lists are moved while they are empty or by
// their elements, as an element knows its list.
func (c *crowd) grow() {
	larger := make([]list.List, max(16, 2*len(c.sizes)))
	for i := range c.sizes {
		for e := c.sizes[i].Front(); e != nil; e = e.Next() {
			g, _ := e.Value.(*group)
			g.at = larger[i].PushBack(g)
		}
	}
	c.sizes = larger
}

// top is the group that has most, nil if there is none.
func (c *crowd) top() *group {
	if c.most == 0 {
		return nil
	}
	g, _ := c.sizes[c.most].Front().Value.(*group)
	return g
}

// push adds a session, in the groups of its address unless many users are behind it.
func (q *queues) push(s *session, many bool) {
	q.n++
	q.put(s, many)
}

func (q *queues) put(s *session, many bool) {
	if many {
		s.queued.all = q.many.PushBack(s)
		return
	}
	s.queued.all = q.all.PushBack(s)
	q.group(s)
}

func (q *queues) group(s *session) {
	p := &s.queued
	p.of = s.client.Addr()
	p.address = q.addresses.add(guard.AddressOf(p.of), s)
	p.network = q.networks.add(guard.NetworkOf(p.of), s)
}

func (q *queues) ungroup(s *session) {
	if p := &s.queued; p.of.IsValid() {
		q.addresses.remove(guard.AddressOf(p.of), p.address)
		q.networks.remove(guard.NetworkOf(p.of), p.network)
		p.of, p.address, p.network = netip.Addr{}, nil, nil
	}
}

// remove takes a session out, if it is there.
func (q *queues) remove(s *session) {
	if s.queued.all == nil {
		return
	}
	q.take(s)
	q.n--
}

func (q *queues) take(s *session) {
	q.ungroup(s)
	q.all.Remove(s.queued.all) // the one of the two that has it
	q.many.Remove(s.queued.all)
	s.queued.all = nil
}

// toBack puts a session behind those that only wait.
func (q *queues) toBack(s *session) {
	p := &s.queued
	if p.all == nil {
		return
	}
	q.all.MoveToBack(p.all) // the one of the two that has it
	q.many.MoveToBack(p.all)
	if p.of.IsValid() {
		q.addresses.toBack(guard.AddressOf(p.of), p.address)
		q.networks.toBack(guard.NetworkOf(p.of), p.network)
	}
}

// floodShare is the part of all that a group has to have before it counts as a flood:
// an office that comes at nine has twenty, and must not go for it while those who are
// many have three each.
const floodShare = 64

// victim is who makes room: of the network that has most, the oldest of the address
// that has most if that is there, else the oldest. Where nobody has much more than
// others it is the oldest of all; those with many users behind them go when nobody
// else is left.
func (q *queues) victim() *session {
	flood := max(2, q.n/floodShare)
	from := &q.all
	if n := q.networks.top(); n != nil && q.networks.most >= flood {
		from = &n.sessions
		if a := q.addresses.top(); a != nil && q.addresses.most >= flood && guard.NetworkOf(a.who.Addr()) == n.who {
			from = &a.sessions
		}
	}
	if from.Len() == 0 {
		from = &q.many
	}
	s, _ := from.Front().Value.(*session)
	return s
}
