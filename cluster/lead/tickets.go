package lead

import (
	"fmt"

	"usher.example/cluster/member"
	"usher.example/cluster/table"
)

// TicketEvery is for how long one key seals session tickets. With table.MaxTickets a
// ticket is good for a day to a day and a half; who finds a key reads what was sent by
// clients who came within as long.
const TicketEvery = 12 * 3600 * member.Second

const (
	// ticketRest is the part of TicketEvery that two turns of one leader are apart,
	// whatever clocks show, but for the first to a key that is due: so many keys at most are made by a clock that jumps. It is
	// an hour, and never less than Wait: whoever has a lease by then has a grant that
	// is younger than the coming key, and so the key.
	ticketRest = 12
	// ticketLives is for how many turns a key is good: for one it seals, for two it
	// opens what it has sealed.
	ticketLives = 3
)

// A turning is since when a leader has seen an epoch of tickets.
type turning struct {
	seen  bool
	first bool // the leader was elected in it
	epoch uint64
	at    int64
}

// tickets has nodes use another key in time. When that is, says the key itself by the
// clock on the wall, which goes on over elections and restarts, and may show anything:
// so a key that is to come much later than one ever should is due as well, as is one
// that this leader has waited for by the clock of leases. Where leaders live for less than
// ticketRest, each turns at most once, to a key that is due by what it shows.
func (l *Leader) tickets(now int64) []table.Command {
	if l.o.Ticket == nil || l.o.Wall == nil {
		return nil
	}
	t := &l.t.Tickets
	if s := &l.turned; !s.seen || s.epoch != t.Epoch {
		*s = turning{true, !s.seen, t.Epoch, now}
	}
	wall, every := l.o.Wall(), l.ticketEvery()
	fresh := t.Epoch == 0
	coming, _ := t.Find(t.Last())
	if !fresh {
		waited := now - l.turned.at
		used, _ := t.Find(t.Epoch)
		rest := max(every/ticketRest, member.Longer(member.Wait))
		if l.turned.first && wall >= coming.NotBefore && wall-used.NotBefore >= every/ticketRest/member.Second {
			rest = member.Longer(member.Wait) // leaders before this one have waited; once, as clocks jump
		}
		if waited < rest {
			return nil
		}
		fresh = l.o.Opens != nil && !l.o.Opens(coming)
		early := wall < coming.NotBefore && coming.NotBefore-wall <= 2*every/member.Second
		if early && waited < every && !fresh && (l.o.Opens == nil || l.o.Opens(used)) {
			return nil
		}
	}
	turn := table.Turn{Epoch: t.Epoch, To: t.Last(), At: wall}
	if fresh {
		turn = NewTickets(*t, l.o.Ticket, wall, every, false)
	} else {
		turn.Keys = []table.Ticket{newTicket(t.Last()+1, l.o.Ticket, wall+every/member.Second, every)}
	}
	if turn.Keys[0].Sealed == nil { // our owner has nothing to seal with yet
		return nil
	}
	return l.say(now, fmt.Sprintf("turn %d", t.Epoch), turn)
}

// NewTickets is a turn to keys that nobody has seen, neither the one that seals from
// now on nor the coming one. Ticket makes a sealed key; wall is the time in Unix
// seconds; every is for how many nanoseconds a key seals. With drop all others are
// given up. For a moment, until all nodes have applied it, some have tickets that
// others cannot open.
func NewTickets(now table.Tickets, ticket func(epoch uint64) []byte, wall, every int64, drop bool) table.Turn {
	to := now.Last() + 1
	return table.Turn{Epoch: now.Epoch, To: to, At: wall, Drop: drop, Keys: []table.Ticket{
		newTicket(to, ticket, wall, every), newTicket(to+1, ticket, wall+every/member.Second, every),
	}}
}

// newTicket makes a key.
func newTicket(epoch uint64, ticket func(epoch uint64) []byte, from, every int64) table.Ticket {
	from = max(from, 0) // of a clock that shows a time before 1970
	return table.Ticket{Epoch: epoch, Sealed: ticket(epoch), NotBefore: from, Expiry: from + ticketLives*every/member.Second}
}

func (l *Leader) ticketEvery() int64 {
	if l.o.TicketEvery > 0 {
		return l.o.TicketEvery
	}
	return TicketEvery
}
