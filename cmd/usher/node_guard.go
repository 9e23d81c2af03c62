package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"usher.example/balancer/admin"
	"usher.example/balancer/guard"
	"usher.example/cluster"
	"usher.example/cmd/internal/config"
)

const (
	// guardEvery is how often nodes tell each other of failed logins.
	guardEvery = time.Second
	// askTries is how often a node that starts asks another one what it remembers:
	// with each beat, until one answers. Who is alone gives up.
	askTries = 30
	// maxGuardEvents bounds the lines about penalties: a spray makes
	// some a second, and a count tells the rest.
	maxGuardEvents = 5
)

// thisHost is never slowed: who is on it is a webmail, or an administrator.
var thisHost = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func guardOptions(c config.Guard) guard.Options {
	return guard.Options{Off: !c.Enabled, Exempt: slices.Concat(thisHost, c.ExemptNetworks)}
}

// keepGuard has the memory of failed logins forget, tells other nodes what is new in
// it and the log what began and ended.
func (n *node) keepGuard() {
	every := n.restBeat()
	beat := time.NewTimer(cluster.Beat(every))
	defer beat.Stop()
	asked := 0
	for {
		select {
		case <-n.ctx.Done():
			return
		case now := <-beat.C:
			beat.Reset(cluster.Beat(every))
			events, more := n.guard.Tick(now)
			for range every/guardEvery - 1 { // it forgets as fast
				others, unsaid := n.guard.Tick(now)
				events, more = append(events, others...), more+unsaid
			}
			n.sayPenalties(events, more)
			n.fleet.Tell(n.guard.News(now))
		}
		if asked < askTries {
			if asked++; n.fleet.AskHearsay() {
				asked = askTries
			}
		}
	}
}

func (n *node) sayPenalties(events []guard.Event, more int) {
	for i, e := range events {
		if i == maxGuardEvents {
			more += len(events) - i
			break
		}
		if e.Ended {
			n.log.Info("logins are not slowed any more", "event", "penalty_ended", "kind", e.Kind.String(), "subject", e.Subject)
			continue
		}
		n.log.Info("logins are slowed because many have failed", "event", "penalty_begun", "kind", e.Kind.String(), "subject", e.Subject, "pause", e.Pause)
	}
	if more > 0 {
		n.log.Info("more penalties began or ended", "event", "penalties_changed", "count", more)
	}
}

// hearsay is the memory of failed logins as the fleet sees it.
type hearsay struct{ *guard.Guard }

// Learn implements cluster.Hearsay.
func (h hearsay) Learn(word []byte) error { return h.Guard.Learn(time.Now(), word) }

// Snapshot implements cluster.Hearsay.
func (h hearsay) Snapshot() []byte { return h.Guard.Snapshot(time.Now()) }

// Clear implements cluster.Hearsay.
func (h hearsay) Clear(order []byte) (int, error) {
	var o admin.ClearOrder
	if err := json.Unmarshal(order, &o); err != nil {
		return 0, fmt.Errorf("an order to clear penalties: %w", err)
	}
	where, user, err := o.Subject()
	if err != nil {
		return 0, err
	}
	return h.Guard.Clear(where, user), nil
}
