package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"usher.example/balancer"
	"usher.example/balancer/admin"
	"usher.example/cluster"
	"usher.example/cmd/internal/config"
)

// joinTime is how long a start waits for the fleet. After it a node serves from the
// table that it has, or refuses logins until it has joined.
const joinTime = 10 * time.Second

// noMove is what sessions are told that leave for another back end's sake.
const noMove = "the user's place has changed"

// places is who places users: this node by itself, or a fleet.
type places interface {
	balancer.Placer
	admin.Places
	Update(pools []cluster.Pool) error
	SetPins(pool string, pins cluster.Pins) error
	SetHealth(pool, backend string, up bool)
}

// openPlaces opens what the configuration asks for.
func (n *node) openPlaces(c *config.Config) error {
	if c.Fleet.Name == "" {
		n.places = cluster.NewSingle(cluster.Options{Names: names(c.Users), Kick: n.leave})
		return nil
	}
	o, err := fleetOptions(c)
	if err != nil {
		return err
	}
	o.Local, o.Log = (*local)(n), n.log.With("fleet", c.Fleet.Name)
	if n.fleet, err = cluster.OpenFleet(o); err != nil {
		return err
	}
	n.places = n.fleet
	n.ready.Add("fleet", n.fleet.Reasons)
	n.ready.AddDegraded("fleet lease", n.fleet.Degraded)
	return nil
}

// fleetOptions translates [fleet].
func fleetOptions(c *config.Config) (cluster.FleetOptions, error) {
	secrets, err := cluster.ReadSecrets(c.Fleet.SecretFile)
	if err != nil {
		return cluster.FleetOptions{}, err
	}
	o := cluster.FleetOptions{
		Fleet: c.Fleet.Name, Node: c.Fleet.Node, Secrets: secrets, Bind: c.Fleet.Bind, Advertise: c.Fleet.Advertise,
		Join: c.Fleet.Join, Voters: c.Fleet.Voters, State: c.Fleet.StateDir, Strict: c.Fleet.WhenIsolated == config.IsolatedRefuse,
		Names: names(c.Users), Retention: c.Fleet.Retention, KickDelay: c.Fleet.KickDelay,
	}
	if o.Node == "" {
		o.Node = cluster.Hostname()
	}
	if o.KickDelay == 0 {
		o.KickDelay = -1 // written out as none
	}
	return o, nil
}

// leave closes sessions so that users can be moved.
func (n *node) leave(pool, user, backend string) {
	ended := n.server.LeaveBackend(pool, user, backend, "the back end cannot serve any more")
	if ended > 0 {
		n.log.Warn("sessions closed so that users can be moved", "pool", pool, "backend", backend, "sessions", ended)
	}
}

// A local is this node as its fleet sees it.
type local node

// Leave implements cluster.Local.
func (l *local) Leave(pool, backend string, holds []uint64) {
	if ended := l.server.LeaveHolds(holds, noMove); ended > 0 {
		l.log.Info("sessions closed so that a user can be moved", "pool", pool, "backend", backend, "sessions", ended)
	}
}

// Kick implements cluster.Local.
func (l *local) Kick(user, reason string) int { return l.server.KickUser(user, reason) }

// Sessions implements cluster.Local.
func (l *local) Sessions(user string) ([]byte, error) { return json.Marshal(l.server.Sessions(user)) }

// Gate implements cluster.Local.
func (l *local) Gate(until int64) {
	if until == 0 {
		until = 1 // over, whatever the clock says
	}
	l.engine.SetGate(until)
}

func (n *node) runFleet() {
	if n.fleet != nil {
		n.running.Go(func() { n.fleet.Run(n.ctx) })
	}
}

// awaitFleet waits a while for the fleet to let this node serve.
func (n *node) awaitFleet(ctx context.Context) {
	if n.fleet == nil {
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, joinTime, fmt.Errorf("not within %v", joinTime))
	defer cancel()
	if err := n.fleet.Await(ctx); err != nil {
		n.log.Warn("the node starts without its fleet", "err", err)
	}
}

// keepPins brings the pins of files into the fleet. It takes a quorum, and so its
// time.
func (n *node) keepPins(w *wiring) {
	if n.fleet == nil {
		return
	}
	n.running.Go(func() {
		if n.fleet.Await(n.ctx) != nil {
			return // stopped
		}
		for _, p := range w.places {
			if err := n.fleet.SetPins(p.Name, w.pins[p.Name]); err != nil {
				n.log.Warn("not all pins of the file are in force", "pool", p.Name, "err", err)
			}
		}
	})
}

// leaveFleet has the others know that this node takes no logins any more.
func (n *node) leaveFleet() {
	if n.fleet != nil {
		n.fleet.Leave()
	}
}

func (n *node) closeFleet() {
	if n.fleet != nil {
		n.fleet.Close()
	}
}
