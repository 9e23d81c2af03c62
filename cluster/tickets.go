package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"usher.example/cluster/lead"
	"usher.example/cluster/table"
)

// Keys of TLS session tickets come from the table, where they are sealed with the
// fleet's secret. They are in clear only on their way to whoever asks.

// A TicketKey seals session tickets. It cannot be printed.
type TicketKey [32]byte

// String hides it, as does every other way to print it.
func (TicketKey) String() string { return "[redacted]" }

// GoString hides it.
func (TicketKey) GoString() string { return "[redacted]" }

// LogValue implements slog.LogValuer, and hides it.
func (TicketKey) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// aboutTicket is what a key is sealed as.
func aboutTicket(epoch uint64) string { return fmt.Sprintf("ticket/%d", epoch) }

// ticketNews says when other keys hold.
type ticketNews struct {
	changed      chan struct{} // nil until somebody asks
	epoch, seals uint64
	secrets      *[]Secret
	ownFor       uint64    // the epoch that own is for
	own          TicketKey // this node's own, where the fleet's cannot be opened
	missed, said uint64    // the looker's: epochs that could not be opened at its last look, and of which it was said
	unsealed     bool      // the manager's: it was said that there is nothing to seal with
	seen         ticketSight
}

// A ticketSight is what was found when the keys were opened last: that is not done again
// before they are others, or this node has other secrets.
type ticketSight struct {
	by     *sealing
	keys   []table.Ticket
	epoch  uint64
	opens  map[uint64]bool // by epoch
	stale  bool            // one that opens is not sealed with the secret in use
	closed error           // the one that seals does not open
}

// sightTickets is called with mu held.
func (f *Fleet) sightTickets() *ticketSight {
	seen, now, by := &f.tickets.seen, &f.table.Tickets, f.sealing()
	if seen.by == by && seen.epoch == now.Epoch && slices.EqualFunc(seen.keys, now.Keys, sameTicket) {
		return seen
	}
	*seen = ticketSight{by: by, keys: slices.Clone(now.Keys), epoch: now.Epoch, opens: make(map[uint64]bool)}
	for _, k := range now.Keys {
		key, fresh, err := f.openTicket(k)
		clear(key[:])
		seen.opens[k.Epoch] = err == nil
		seen.stale = seen.stale || err == nil && !fresh
		if k.Epoch == now.Epoch {
			seen.closed = err
		}
	}
	return seen
}

// sameTicket says whether two are the same key, sealed in the same way.
func sameTicket(a, b table.Ticket) bool { return a.Epoch == b.Epoch && bytes.Equal(a.Sealed, b.Sealed) }

// TicketKeys returns the keys that session tickets are sealed and opened with: the
// first seals, all open. All nodes of the fleet have the same, a moment apart. There
// are none before the node has a table. If it cannot open the one that seals, it has one
// of its own for that epoch, as what was given up must not seal any more. Changed is
// closed when others may hold. The caller wipes what he was given.
func (f *Fleet) TicketKeys() (keys []TicketKey, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := &f.tickets
	if n.changed == nil {
		n.changed = make(chan struct{})
	}
	now := f.table.Tickets
	for _, k := range now.InUse() {
		key, _, err := f.openTicket(k)
		switch {
		case err == nil:
			keys = append(keys, key)
		case k.Epoch == now.Epoch:
			if n.ownFor != now.Epoch {
				n.ownFor = now.Epoch
				_, _ = rand.Read(n.own[:]) // never fails
			}
			keys = append(keys, n.own) // InUse has the one that seals first
		}
	}
	return keys, n.changed
}

// missTickets says that the key that seals cannot be opened, if it could not at the look
// before either: a node that starts has not heard yet of what was sealed anew. It is
// keepSealed's own.
func (f *Fleet) missTickets() {
	f.mu.Lock()
	n, epoch := &f.tickets, uint64(0)
	err := f.sightTickets().closed
	if err != nil {
		epoch = f.table.Tickets.Epoch
	}
	again := epoch != 0 && epoch == n.missed && epoch != n.said
	n.missed = epoch
	if again {
		n.said = epoch
	}
	f.mu.Unlock()
	if again {
		f.log.Warn("session tickets are sealed with this node's own keys: other nodes do not resume its sessions until there are new keys, in an hour, or by usher fleet rotate-tickets", "event", "tickets_unread", "err", err)
	}
}

// TicketEpoch tells which keys hold, for logs: it grows with each rotation.
func (f *Fleet) TicketEpoch() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.table.Tickets.Epoch
}

// learnTickets tells who asked for keys that they may be others. It is called with mu
// held.
func (f *Fleet) learnTickets() {
	n, now, secrets := &f.tickets, &f.table.Tickets, f.secrets.Load()
	if n.epoch == now.Epoch && n.seals == now.Seals && n.secrets == secrets {
		return
	}
	n.epoch, n.seals, n.secrets = now.Epoch, now.Seals, secrets
	if n.changed != nil {
		close(n.changed)
		n.changed = make(chan struct{})
	}
}

// newTicket makes the key of an epoch, sealed for the table; nil while there is nothing
// to seal with, which a node that is alone makes for itself.
func (f *Fleet) newTicket(epoch uint64) []byte {
	list := f.sealers()
	if len(list) == 0 {
		return nil
	}
	var key TicketKey
	defer clear(key[:])
	_, _ = rand.Read(key[:]) // never fails
	return seal(list, aboutTicket(epoch), key[:])
}

// openTicket also says whether a key is sealed with the secret in use.
func (f *Fleet) openTicket(k table.Ticket) (key TicketKey, fresh bool, err error) {
	plain, fresh, err := open(f.sealers(), aboutTicket(k.Epoch), k.Sealed)
	if err == nil && len(plain) != len(key) {
		err = errors.New("a ticket key of a wrong length")
	}
	if err != nil {
		return key, false, err
	}
	copy(key[:], plain)
	clear(plain)
	return key, fresh, nil
}

// opensTicket is asked at each look of a leader for most of the time. It is called with
// mu held.
func (f *Fleet) opensTicket(k table.Ticket) bool {
	seen := f.sightTickets()
	if slices.ContainsFunc(seen.keys, func(have table.Ticket) bool { return sameTicket(have, k) }) {
		return seen.opens[k.Epoch]
	}
	_, _, err := f.openTicket(k) // none of the table's
	return err == nil
}

func wallClock() int64 { return time.Now().Unix() }

// sealTickets brings the keys under the secret in use, while we lead. It is the
// manager's.
func (f *Fleet) sealTickets() {
	if err := f.needSealer(); err != nil { // the leader makes no keys until then
		if !f.tickets.unsealed {
			f.log.Warn("session tickets are sealed with keys that are gone after a restart", "event", "tickets_volatile", "err", err)
		}
		f.tickets.unsealed = true
		return
	}
	f.tickets.unsealed = false
	f.mu.Lock()
	c, leads := f.resealedTickets(), f.leader != nil
	f.mu.Unlock()
	if !leads || len(c.Keys) == 0 {
		return
	}
	if err := f.propose(c); err != nil { // is tried again at the next look
		f.log.Debug("keys of session tickets are not sealed anew", "err", err)
	}
}

// resealedTickets is called with mu held.
func (f *Fleet) resealedTickets() table.ResealTickets {
	c := table.ResealTickets{Seals: f.table.Tickets.Seals}
	if !f.sightTickets().stale {
		return c
	}
	for _, k := range f.table.Tickets.Keys {
		key, fresh, err := f.openTicket(k)
		if err == nil && !fresh {
			c.Keys = append(c.Keys, table.Sealed{Epoch: k.Epoch, Sealed: seal(f.sealers(), aboutTicket(k.Epoch), key[:])})
		}
		clear(key[:])
	}
	return c
}

// losesTickets says whether keys that one list of secrets opens would be opened by
// another one no more. It is called with mu held.
func (f *Fleet) losesTickets(before, now []Secret) bool {
	for _, k := range f.table.Tickets.Keys {
		_, _, was := open(before, aboutTicket(k.Epoch), k.Sealed)
		if _, _, is := open(now, aboutTicket(k.Epoch), k.Sealed); was == nil && is != nil {
			return true
		}
	}
	return false
}

// turnTries bounds the attempts to give an order that another turn has overtaken.
const turnTries = 3

// RotateTickets makes two new keys of session tickets, of which one seals from now on.
// With drop the old ones open nothing any more, so that all clients have to do a full
// handshake once: that is for when a key may have leaked. Nodes that the fleet does not
// reach follow when they are back.
func (f *Fleet) RotateTickets(drop bool) error {
	if err := f.needSealer(); err != nil {
		return err
	}
	for try := 1; ; try++ {
		f.mu.Lock()
		now := f.table.Tickets
		f.mu.Unlock()
		index, err := f.commit(lead.NewTickets(now, f.newTicket, wallClock(), lead.TicketEvery, drop))
		if index > 0 { // also if it is late: the next try is to know why
			ctx, cancel := context.WithTimeout(f.ctx, applyTime)
			if e := f.follow(ctx, index); e != nil && err == nil {
				err = e
			}
			cancel()
		}
		if try == turnTries || !errors.Is(err, table.ErrLate) {
			return err
		}
	}
}
