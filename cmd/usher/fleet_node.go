package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"usher.example/cluster"
	"usher.example/cmd/internal/config"
)

// joinTime is how long a start waits for the fleet. After it a node serves from the
// table that it has, or refuses logins until it has joined.
const joinTime = 10 * time.Second

// noMove is what sessions are told that leave for another back end's sake.
const noMove = "the user's place has changed"

// openFleet opens what the configuration asks for: a node of a fleet, or a fleet of
// one. That one may be volatile: nothing is kept.
func (n *node) openFleet(c *config.Config) (volatile bool, err error) {
	o, err := fleetOptions(c)
	if err != nil {
		return false, err
	}
	o.Local, o.Prober, o.Hearsay, o.Log = (*local)(n), (*local)(n), hearsay{n.guard}, n.log.Logger
	if o.Fleet != "" {
		o.Events = n.log.events.Answer(o.Node)
		o.Log = n.log.With("fleet", o.Fleet)
	}
	n.fleet, err = cluster.OpenFleet(o)
	if err != nil && o.Fleet == "" && c.Fleet.StateDir == "" && mayForget(o.State, err) {
		// Nobody has asked for it to be kept, and a node alone can do without.
		n.log.Warn("pins, what administrators set, and certificates that are obtained are kept in memory, and lost with the next start; say with fleet.state_dir where to keep them", "event", "state_volatile", "err", err)
		o.State, volatile = "", true
		n.fleet, err = cluster.OpenFleet(o)
	}
	if err != nil {
		return volatile, err
	}
	n.ready.Add("fleet", n.fleet.Reasons)
	n.ready.Add("reach", n.fleet.Unreached)
	n.ready.AddDegraded("fleet lease", n.fleet.Degraded)
	return volatile, nil
}

// mayForget says whether a node that nobody told to keep its state may do without: it
// must not write there, and there is nothing. Whatever else is wrong is for an operator
// to see, for with what is there go pins and back ends that are set down.
func mayForget(dir string, err error) bool {
	if _, there := os.Stat(filepath.Join(dir, "id")); there == nil {
		return false
	}
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOTDIR)
}

// defaultState is where the state of a node is, if neither its configuration nor
// systemd (StateDirectory=) says otherwise.
const defaultState = "/var/lib/usher"

// stateDir is the state directory of a node.
func stateDir(c *config.Config) string {
	if c.Fleet.StateDir != "" {
		return c.Fleet.StateDir
	}
	first, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":")
	return cmp.Or(first, defaultState)
}

// fleetOptions translates [fleet].
func fleetOptions(c *config.Config) (o cluster.FleetOptions, err error) {
	var secrets []cluster.Secret
	if c.Fleet.Name != "" {
		if secrets, err = cluster.ReadSecrets(c.Fleet.SecretFile); err != nil {
			return o, err
		}
	}
	o = cluster.FleetOptions{
		Fleet: c.Fleet.Name, Node: c.Fleet.Node, Secrets: secrets, Bind: c.Fleet.Bind, Advertise: c.Fleet.Advertise,
		Join: c.Fleet.Join, Voters: c.Fleet.Voters, State: stateDir(c), Strict: c.Fleet.WhenIsolated == config.IsolatedRefuse,
		Names: names(c.Users), Retention: c.Fleet.Retention, KickDelay: c.Fleet.KickDelay,
		Flush: c.Fleet.Flush,
	}
	if o.Node == "" {
		o.Node = cluster.Hostname()
	}
	if o.KickDelay == 0 {
		o.KickDelay = -1 // written out as none
	}
	return o, nil
}

// A local is this node as its fleet sees it.
type local node

// Leave implements cluster.Local.
func (l *local) Leave(pool, backend string, holds []uint64) {
	if ended := l.server.LeaveHolds(holds, noMove); ended > 0 {
		l.log.Info("sessions closed so that a user can be moved", "event", "sessions_moved", "pool", pool, "backend", backend, "sessions", ended)
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

// awaitFleet waits a while for the fleet to let this node serve.
func (n *node) awaitFleet(ctx context.Context) {
	ctx, cancel := context.WithTimeoutCause(ctx, joinTime, fmt.Errorf("not within %v", joinTime))
	defer cancel()
	if err := n.fleet.Await(ctx); err != nil {
		n.log.Warn("the node starts without its fleet", "event", "fleet_not_joined", "err", err)
	}
}
