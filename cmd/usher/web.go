package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"sync"

	"usher.example/balancer/admin"
	"usher.example/cluster"
	"usher.example/cmd/internal/config"
)

// A web answers operators on the unix socket and monitoring on a loopback
// address.
type web struct {
	log     *logger
	ctx     context.Context // of the servers
	cancel  context.CancelFunc
	running sync.WaitGroup
	health  net.Addr // where /healthz is; nil if nowhere
	agent   net.Addr // of HAProxy's agent-check; nil if nowhere

	ready http.Handler // /healthz and its like
	gate  *admin.Gate  // of the API over TCP; nil: there is none
}

// openWeb opens what the configuration asks for.
func (n *node) openWeb(c config.Admin) (*web, error) {
	o := admin.Options{
		Version: version(), Started: n.started, Log: n.log.Logger, Node: n.server, Places: n.fleet, Fleet: n.fleet,
		Health: n.health, Spliced: n.engine.Spliced, Adopted: n.engine.Adopted, Fallbacks: n.fallbacks, Draining: n.draining.Load, Reasons: n.ready.Reasons, Degraded: n.ready.Degraded, Reloads: n.reloads,
		Keeper: n.keeper, Guard: n.guard, ClearPenalties: n.fleet.ClearHearsay,
		Events: n.log.events, EventPeers: n.fleet, Verdict: n.ready.Verdict,

		Additions: (*adder)(n), Names: n.names, Search: n.search,
	}
	w, err := openWeb(c, n.log, o, n.ready.Handler())
	if err != nil {
		return nil, err
	}
	if err := w.openAgent(c.Agent, n.ready); err != nil {
		w.close()
		return nil, err
	}
	n.web = w
	return w, nil
}

// openWeb opens what the configuration asks for, or nothing if any of it fails.
func openWeb(c config.Admin, log *logger, o admin.Options, health http.Handler) (*web, error) {
	gate, err := openGate(c.API, log)
	if err != nil {
		return nil, err
	}
	o.Gate, o.Board, o.Hosts = gate, admin.Page(), ownNames(c.HTTP)
	f, inFleet := o.Fleet.(*cluster.Fleet)
	if inFleet {
		o.Parts, o.Placed = f.Parts, f.Placed
	}
	server := admin.New(o)
	if inFleet {
		f.Present(server.Part)
	}
	w := &web{log: log, ready: health}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	if c.Socket != "" {
		gid, err := groupID(c.SocketGroup)
		if err != nil {
			w.close()
			return nil, err
		}
		l, err := admin.Listen(c.Socket, c.SocketMode, gid)
		if errors.Is(err, admin.ErrInUse) {
			err = fmt.Errorf("%w: is another usher running? usher status --socket %s", err, c.Socket)
		}
		if err != nil {
			w.close()
			return nil, err
		}
		w.serve(l, server.Handler())
	}
	if c.HTTP != "" {
		l, err := net.Listen("tcp", c.HTTP)
		if err != nil {
			w.close()
			return nil, fmt.Errorf("admin.http: %w", err)
		}
		w.health = l.Addr()
		w.serve(l, server.Public(health))
	}
	if err := w.openAPI(c.API, server, gate); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// ownNames are the names in DNS that are this machine's for sure: what it calls itself, and
// the one that the configuration has it listen on.
func ownNames(address string) (names []string) {
	if name, err := os.Hostname(); err == nil {
		names = append(names, name)
	}
	if name, _, err := net.SplitHostPort(address); err == nil && name != "" {
		names = append(names, name)
	}
	return names
}

func (w *web) serve(l net.Listener, h http.Handler) {
	w.running.Go(func() {
		if err := admin.Serve(w.ctx, l, h, w.log.Logger); err != nil {
			w.log.Error("an admin listener has ended", "event", "admin_listener_failed", "err", err)
		}
	})
}

// close ends the servers and waits for them.
func (w *web) close() {
	w.cancel()
	w.running.Wait()
}

// groupID finds a group by name or number; -1 for none.
func groupID(name string) (int, error) {
	if name == "" {
		return -1, nil
	}
	if id, err := strconv.Atoi(name); err == nil {
		return id, nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return -1, fmt.Errorf("admin.socket_group: %w", err)
	}
	return strconv.Atoi(g.Gid)
}
