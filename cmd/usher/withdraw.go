package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"usher.example/health"
)

// withdraw says to whoever asks that the node is draining, and changes nothing else
// for as long as it may take them to notice, or until ctx is done. A node that closed
// its listeners at once would refuse those who are sent to it until then.
func (n *node) withdraw(ctx context.Context, patience time.Duration) {
	n.draining.Store(true)
	if patience == 0 {
		return
	}
	noticed := time.NewTimer(patience)
	defer noticed.Stop()
	select {
	case <-noticed.C:
	case <-ctx.Done():
	}
}

// openAgent answers HAProxy at an address, if there is one.
func (w *web) openAgent(address string, ready *health.Endpoint) error {
	if address == "" {
		return nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("admin.agent: %w", err)
	}
	w.agent = l.Addr()
	w.running.Go(func() {
		if err := ready.Agent(w.ctx, l, w.log.Logger); err != nil {
			w.log.Error("the agent has ended", "err", err)
		}
	})
	return nil
}
