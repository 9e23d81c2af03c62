package lead_test

import (
	"fmt"
	"testing"

	"usher.example/cluster/lead"
	"usher.example/cluster/table"
)

const hour = 3600 * second

// A ticketFleet is a leader with keys of tickets, and clocks to turn.
type ticketFleet struct {
	*fleet
	wall  int64 // in seconds
	made  int   // keys
	lost  map[uint64]bool
	turns int
}

func newTicketFleet(t *testing.T) *ticketFleet {
	t.Helper()
	f := &ticketFleet{fleet: newFleet(t), wall: 1_000_000, lost: make(map[uint64]bool)}
	f.elect(1)
	return f
}

// elect makes a new leader.
func (f *ticketFleet) elect(term uint64) {
	f.l = lead.New(lead.Options{
		Ticket: func(epoch uint64) []byte { f.made++; return fmt.Appendf(nil, "%d.%d", epoch, f.made) },
		Opens:  func(k table.Ticket) bool { return !f.lost[k.Epoch] },
		Wall:   func() int64 { return f.wall },
	}, f.tab, term, f.now)
}

// pass lets time pass, on both clocks, with a look each minute.
func (f *ticketFleet) pass(d int64) {
	f.t.Helper()
	for end := f.now + d; f.now < end; {
		f.now += 60 * second
		f.wall += 60
		f.tick()
	}
}

// tick looks once, and applies what is about tickets.
func (f *ticketFleet) tick() {
	f.t.Helper()
	for _, c := range f.l.Look(f.now) {
		if turn, ok := c.(table.Turn); ok {
			f.turns++
			f.apply(turn)
		}
	}
}

// want wants so many turns since the last question, and keys in order.
func (f *ticketFleet) want(what string, turns int, epoch uint64) {
	f.t.Helper()
	t := f.tab.Tickets
	if f.turns != turns || t.Epoch != epoch || len(t.Keys) > table.MaxTickets {
		f.t.Errorf("%s: %d turns, epoch %d of %v; want %d, epoch %d", what, f.turns, t.Epoch, t.Keys, turns, epoch)
	}
	if _, ok := t.Find(t.Epoch); !ok || t.Last() != t.Epoch+1 {
		f.t.Errorf("%s: no key to use, or none that is coming: %v", what, t.Keys)
	}
	f.turns = 0
}

func TestTickets(t *testing.T) {
	f := newTicketFleet(t)
	f.tick()
	f.want("the first", 1, 1)
	f.pass(12*hour - 60*second)
	f.want("before its time", 0, 1)
	f.pass(60 * second)
	f.want("the second", 1, 2)
	f.pass(7 * 24 * hour)
	f.want("a week", 14, 16)
	if f.made != 17 {
		t.Errorf("%d keys were made, each is said once", f.made)
	}
}

// A wait that was begun under one leader ends under the next, an hour later at most.
func TestTicketsOverElections(t *testing.T) {
	f := newTicketFleet(t)
	f.tick()
	f.want("the first", 1, 1)
	for term := range uint64(10) {
		f.elect(term + 2)
		f.pass(72 * 60 * second)
	}
	f.want("twelve hours of ten leaders", 1, 2)
	f.elect(20)
	f.pass(11 * hour)
	f.want("eleven more", 0, 2)
}

// Where no leader lives for an hour, or a lone node is restarted as often, keys turn too.
func TestTicketsOfShortLeaders(t *testing.T) {
	f := newTicketFleet(t)
	f.tick()
	f.want("the first", 1, 1)
	for term := range uint64(48) {
		f.elect(term + 2)
		f.pass(hour / 2)
	}
	f.want("a day of leaders of half an hour", 2, 3)
}

// What the clock on the wall shows may be anything.
func TestTicketsByWrongClocks(t *testing.T) {
	const years = 10 * 365 * 24 * 3600
	t.Run("jumps ahead and back", func(t *testing.T) {
		f := newTicketFleet(t)
		f.tick()
		f.want("the first", 1, 1)
		f.pass(2 * hour)
		f.wall += years
		f.pass(2 * hour)
		f.want("ahead", 1, 2)
		f.wall -= years
		f.pass(2 * hour)
		f.want("back", 1, 3)
		f.pass(24 * hour)
		f.want("and as ever", 2, 5)
	})
	t.Run("is set back", func(t *testing.T) {
		f := newTicketFleet(t)
		f.pass(2 * hour)
		f.want("the first", 1, 1)
		f.wall -= 6 * 3600
		f.pass(12 * hour)
		f.want("a little", 1, 2)
		f.wall = -5
		f.pass(12 * hour)
		f.want("to before 1970", 1, 3)
	})
	t.Run("stands", func(t *testing.T) {
		f := newTicketFleet(t)
		f.tick()
		for range 25 * 60 {
			f.now += 60 * second
			f.tick()
		}
		f.want("a day and an hour", 3, 3)
	})
	t.Run("jumps all the time", func(t *testing.T) {
		f := newTicketFleet(t)
		f.tick()
		for i := range int64(24 * 60) {
			f.wall += (i%2*2 - 1) * years * i
			f.pass(60 * second)
		}
		if f.turns > 25 {
			t.Errorf("%d turns in a day", f.turns)
		}
		if k := f.tab.Tickets.Keys; len(k) < 2 || len(k) > table.MaxTickets {
			t.Errorf("keys %v", k)
		}
	})
	t.Run("differs from leader to leader", func(t *testing.T) {
		f := newTicketFleet(t)
		f.tick()
		for i := range uint64(48) {
			f.wall += int64(i%2*2-1) * years
			f.elect(i + 2)
			f.pass(hour / 2)
		}
		if f.turns > 25 {
			t.Errorf("%d turns in a day", f.turns)
		}
	})
}

// Keys that nobody can open any more, as their secret is gone, are replaced.
func TestTicketsThatAreLost(t *testing.T) {
	f := newTicketFleet(t)
	f.tick()
	f.want("the first", 1, 1)
	f.lost[1], f.lost[2] = true, true
	f.pass(hour - 60*second)
	f.want("within the hour", 0, 1)
	f.pass(120 * second)
	f.want("after it", 1, 3)
	f.lost[3] = true // the coming one is good
	f.pass(2 * hour)
	f.want("one of two", 1, 4)
	f.pass(2 * hour)
	f.want("none", 0, 4)
}
