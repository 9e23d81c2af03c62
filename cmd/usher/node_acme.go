package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"usher.example/balancer/certs"
	"usher.example/cmd/internal/config"
)

// firstCertificates is how long a start waits for the certificates that the fleet has.
// Reading a thousand takes a fraction of it; a fleet that cannot say whether it has them
// takes longer.
const firstCertificates = 3 * time.Second

// awaitCertificates has listeners open with the certificates that there are.
func (n *node) awaitCertificates(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstCertificates)
	defer cancel()
	n.keeper.Await(ctx)
}

// runKeeper starts the keeper, with an end of its own.
func (n *node) runKeeper() {
	ctx, cancel := context.WithCancel(n.ctx)
	done := make(chan struct{})
	n.endKeeper = func() {
		cancel()
		<-done
	}
	n.running.Go(func() {
		defer close(done)
		n.keeper.Run(ctx)
	})
}

// doorsAgain is the time between two tries to open a port that CAs come to.
const doorsAgain = time.Minute

// A doorkeeper has the ports open at which CAs look for the answers to challenges.
// They are not worth a start that fails: mail is served by the certificates that
// there are, for weeks; who took the port may be gone soon. So one that cannot be
// opened is told, and tried again.
//
// They are open before the Keeper obtains anything, and until the node's context ends:
// at a drain they stay open, since other nodes' orders may be answered here.
type doorkeeper struct {
	doors *certs.Doors
	log   *slog.Logger
	again chan struct{} // has one when something is to be tried again

	mu         sync.Mutex // guards what follows
	http, alpn string     // as wanted
	told       string     // the trouble that the log knows of
}

func newDoorkeeper(k *certs.Keeper, log *slog.Logger) *doorkeeper {
	return &doorkeeper{doors: &certs.Doors{Keeper: k, Log: log}, log: log, again: make(chan struct{}, 1)}
}

// apply opens and closes what a configuration wants otherwise than the one before.
func (d *doorkeeper) apply(c config.ACME) {
	d.mu.Lock()
	d.http, d.alpn = acmeDoors(c)
	d.mu.Unlock()
	d.try()
}

// try opens what is not open yet.
func (d *doorkeeper) try() {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.doors.Apply(d.http, d.alpn)
	if err == nil {
		d.told = ""
		return
	}
	if text := err.Error(); text != d.told {
		d.told = text
		d.log.Warn("CAs find no answer here; certificates that are served stay", "event", "acme_port_closed",
			"err", err, "do", "end what has the port, or set another in [acme]; it is tried again every minute")
	}
	select {
	case d.again <- struct{}{}:
	default:
	}
}

// run tries again what failed, until ctx ends. Then it closes the ports.
func (d *doorkeeper) run(ctx context.Context) {
	defer d.doors.Close()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.again:
		}
		pause := time.NewTimer(doorsAgain)
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
			d.try()
		}
	}
}
