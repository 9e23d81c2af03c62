package table

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Tickets are the keys that all nodes seal TLS session tickets with, so that each
// resumes the sessions of the others. The table says which one that is: nodes look at
// no clock. Exactly one key is coming: it is there for an epoch before it is used, and
// nobody has tickets that others cannot open. The zero value has none.
//
// Slices in it do not change once they are there.
type Tickets struct {
	Epoch uint64 `json:"epoch"` // whose key seals; 0: there is none yet
	// Seals is how often keys have been sealed anew.
	Seals uint64   `json:"seals,omitempty"`
	Keys  []Ticket `json:"keys"` // by epoch; those before Epoch open old tickets
}

// A Ticket is one of the keys. Who has it in clear reads what clients sent, so the
// table has it sealed.
type Ticket struct {
	Epoch  uint64 `json:"epoch"`
	Sealed []byte `json:"sealed"`
	// NotBefore is when it is to be used, and Expiry when it is to open nothing any
	// more: in Unix seconds of who made it. The leader goes by them, with its own
	// clock beside them; see lead.TicketEvery.
	NotBefore int64 `json:"not_before"`
	Expiry    int64 `json:"expiry"`
}

// String says which one it is.
func (k Ticket) String() string { return fmt.Sprintf("ticket key %d", k.Epoch) }

const (
	// MaxTickets is how many keys there are: the coming one, the one in use, and two
	// that open the tickets of a day.
	MaxTickets = 4
	// maxSealed has room for a sealed key, of 60 octets.
	maxSealed = 256
)

// Commands about tickets. They name no term: they are about an epoch or a seal, which
// only another such command ends, and what the leader waits for before a Turn, that a
// key has been there for long, is only more true when it comes late.
type (
	// Turn has nodes use another key, and adds those that follow on the last one.
	Turn struct {
		Epoch uint64   `json:"epoch"` // the present one
		To    uint64   `json:"to"`    // from now on; the last but one of all
		Keys  []Ticket `json:"keys"`
		At    int64    `json:"at"` // what has expired by then goes
		// Drop: all keys before To are given up.
		Drop bool `json:"drop,omitempty"`
	}
	// ResealTickets brings keys under another secret of the fleet.
	ResealTickets struct {
		Seals uint64   `json:"seals"` // the present number
		Keys  []Sealed `json:"keys"`
	}
	// Sealed is a key, sealed anew.
	Sealed struct {
		Epoch  uint64 `json:"epoch"`
		Sealed []byte `json:"sealed"`
	}
)

func (Turn) kind() string          { return "turn" }
func (ResealTickets) kind() string { return "reseal tickets" }

var errTicket = errors.New("keys of tickets that no node can have meant")

// Last is the newest epoch that has a key, also in future; 0 if none has.
func (t Tickets) Last() uint64 {
	if len(t.Keys) == 0 {
		return t.Epoch
	}
	return t.Keys[len(t.Keys)-1].Epoch
}

// Find returns the key of an epoch.
func (t Tickets) Find(epoch uint64) (Ticket, bool) {
	for _, k := range t.Keys {
		if k.Epoch == epoch {
			return k, true
		}
	}
	return Ticket{}, false
}

// InUse lists the keys in the order in which nodes use them: the one that seals, the
// coming one, which others may use a moment before this node, and old ones.
func (t Tickets) InUse() []Ticket {
	var list, old []Ticket
	for _, k := range slices.Backward(t.Keys) {
		switch {
		case k.Epoch == t.Epoch:
			list = slices.Insert(list, 0, k)
		case k.Epoch > t.Epoch:
			list = append(list, k)
		default:
			old = append(old, k)
		}
	}
	return append(list, old...)
}

// check reports what no table has.
func (t Tickets) check() error {
	if t.Epoch == 0 && len(t.Keys) == 0 {
		return nil
	}
	for i, k := range t.Keys {
		if err := k.check(); err != nil {
			return err
		}
		if i > 0 && k.Epoch <= t.Keys[i-1].Epoch {
			return fmt.Errorf("%w: out of order", errTicket)
		}
	}
	if n := len(t.Keys); n < 2 || n > MaxTickets || t.Keys[n-2].Epoch != t.Epoch {
		return fmt.Errorf("%w: %d of them, in epoch %d", errTicket, n, t.Epoch)
	}
	return nil
}

func (k Ticket) check() error {
	if k.Epoch == 0 || len(k.Sealed) == 0 || len(k.Sealed) > maxSealed || k.NotBefore < 0 || k.Expiry < k.NotBefore {
		return fmt.Errorf("%w: %v, %d octets, from %d until %d", errTicket, k, len(k.Sealed), k.NotBefore, k.Expiry)
	}
	return nil
}

func (c Turn) apply(t *Table, _ uint64) error {
	now := t.Tickets
	last := now.Last()
	if c.Epoch != now.Epoch || len(c.Keys) == 0 || c.Keys[0].Epoch != last+1 {
		return ErrLate
	}
	if last > math.MaxUint64-MaxTickets {
		return errTicket // nobody has turned so often
	}
	next := Tickets{Epoch: c.To, Seals: now.Seals}
	for _, k := range now.Keys {
		if k.Epoch <= now.Epoch && !c.Drop && k.Expiry > c.At || k.Epoch >= c.To { // what lies between has sealed nothing
			next.Keys = append(next.Keys, k)
		}
	}
	for i, k := range c.Keys {
		if k.Epoch != last+1+uint64(i) {
			return errTicket
		}
		if k.Epoch >= c.To {
			next.Keys = append(next.Keys, k)
		}
	}
	if c.To <= now.Epoch || len(c.Keys) > 2 {
		return errTicket
	}
	next.Keys = next.Keys[max(0, len(next.Keys)-MaxTickets):]
	if err := next.check(); err != nil {
		return err
	}
	t.Tickets = next
	return nil
}

func (c ResealTickets) apply(t *Table, _ uint64) error {
	if c.Seals != t.Tickets.Seals || len(c.Keys) == 0 {
		return ErrLate
	}
	next := t.Tickets
	next.Keys = slices.Clone(next.Keys)
	for _, s := range c.Keys {
		i := slices.IndexFunc(next.Keys, func(k Ticket) bool { return k.Epoch == s.Epoch })
		if i < 0 {
			return ErrLate
		}
		next.Keys[i].Sealed = s.Sealed
	}
	next.Seals++
	if err := next.check(); err != nil {
		return err
	}
	t.Tickets = next
	return nil
}
