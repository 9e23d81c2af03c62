package sim

import (
	"usher.example/cluster/lead"
	"usher.example/cluster/table"
)

// ticketEvery is for how long a key of session tickets seals in a run: of a run's
// length, so that it is turned in each.
const ticketEvery = 24 * second

// wallStep is for how long a clock on the wall is wrong in one way.
const wallStep = 7 * second

// tickets are the options of a leader that has keys of session tickets, in fleets that
// have some. What a key is made of is of no account.
func (h *host) tickets(o lead.Options) lead.Options {
	if h.w.plan.Tickets {
		o.Ticket = func(uint64) []byte { return []byte{1} }
		o.Wall, o.TicketEvery = h.wall, ticketEvery
	}
	return o
}

// wall is what a host's clock on the wall shows: now and then it is years off.
func (h *host) wall() int64 {
	const years = 10 * 365 * 24 * 3600
	wall := 1_000_000_000 + h.w.now/second
	r := stream(h.w.plan.Seed, 5000+1000*uint64(h.index)+uint64(h.w.now/wallStep))
	switch r.IntN(6) {
	case 0:
		return wall + years
	case 1:
		return wall - years
	case 2:
		return wall + r.Int64N(60) - 30
	default:
		return wall
	}
}

// turns holds a turn to a key against what nodes have: whose word counts can open what
// the others seal from now on. Of keys that are made by the turn, the first ones,
// nobody has any yet.
func (w *world) turns(c table.Turn, before table.Tickets) {
	w.Turns++
	if _, there := before.Find(c.To); !there {
		return
	}
	for _, h := range w.hosts {
		if !h.up || h.witness || w.now >= h.leaseEnd() {
			continue
		}
		if _, ok := h.t.Tickets.Find(c.To); !ok {
			w.fail(ErrTicket, "key %d is used, and %s does not have it", c.To, h.name)
		}
	}
}
