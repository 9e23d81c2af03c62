package main

import (
	"usher.example/balancer/handshake"
)

// keepTickets has all listeners seal session tickets with the fleet's keys, so that
// clients resume their sessions at any node, and after a restart. As long as the fleet
// has brought none the node has its own, as for those that it cannot open, and what it
// has had last if it is isolated.
func (n *node) keepTickets() {
	for {
		changed := n.takeTickets()
		select {
		case <-n.ctx.Done():
			return
		case <-changed:
		}
	}
}

// takeTickets puts the keys into force that hold now, and returns what is closed when
// others do.
func (n *node) takeTickets() (changed <-chan struct{}) {
	keys, changed := n.fleet.TicketKeys()
	defer clear(keys)
	list := make([]handshake.TicketKey, len(keys))
	defer clear(list)
	for i, k := range keys {
		list[i] = handshake.TicketKey(k)
	}
	if n.server.Tickets().Set(list) {
		n.log.Info("session tickets are sealed with another key", "event", "tickets_changed", "epoch", n.fleet.TicketEpoch(), "keys", len(list))
	}
	return changed
}
