package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"usher.example/balancer"
	"usher.example/balancer/admin"
	"usher.example/balancer/forward"
	"usher.example/cluster"
	"usher.example/cmd/internal/config"
	"usher.example/health"
)

// firstProbes is how long a start waits for the first verdicts on back ends:
// they bring the capabilities that greetings list. Back ends that take longer
// are learnt later.
const firstProbes = 3 * time.Second

// A node is all parts of a running usher, joined.
type node struct {
	log    *logger
	engine *forward.Copy
	places *cluster.Single
	server *balancer.Server
	ready  *health.Endpoint

	reloads  *admin.Reloads
	draining atomic.Bool
	started  time.Time

	ctx     context.Context // of everything that runs in the background
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex // guards what follows
	checkers map[checkKey]*running
}

type checkKey struct{ pool, backend string }

// running is a checker and its end.
type running struct {
	*health.Checker
	check check
	stop  context.CancelFunc
}

// newNode joins the parts; nothing listens yet.
func newNode(c *config.Config, log *logger) *node {
	n := &node{log: log, engine: new(forward.Copy), ready: new(health.Endpoint), reloads: new(admin.Reloads), started: time.Now(), checkers: make(map[checkKey]*running)}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.places = cluster.NewSingle(cluster.Options{Names: names(c.Users), Kick: func(pool, user, backend string) {
		ended := n.server.LeaveBackend(pool, user, backend, "the back end cannot serve any more")
		if ended > 0 {
			n.log.Warn("sessions closed so that users can be moved", "pool", pool, "backend", backend, "sessions", ended)
		}
	}})
	n.server = balancer.New(balancer.Deps{
		Log: log.Logger, Engine: n.engine, Placer: n.places,
		Observe: n.observe, LoginFailed: log.loginFailed,
	})
	n.ready.Add("listeners", n.notDraining)
	n.ready.Add("pools", n.poolsUsable)
	n.running.Go(func() { n.engine.Run(n.ctx) })
	return n
}

// start puts the first configuration into force. Back ends are looked at
// before the first client is.
func (n *node) start(ctx context.Context, c *config.Config) error {
	w, err := translate(c)
	if err != nil {
		return err
	}
	n.engine.SetIdle(c.Limits.Idle)
	quiet := w.balancer
	quiet.Listeners = nil
	if err := errors.Join(n.place(w), n.server.Apply(quiet)); err != nil {
		return err
	}
	n.examine(w.checks)
	n.awaitVerdicts(ctx)
	return n.server.Apply(w.balancer)
}

// apply puts a later configuration into force. On an error the one before
// stays, whole.
func (n *node) apply(c *config.Config) error {
	w, err := translate(c)
	if err != nil {
		return err
	}
	if err := n.checkPins(w, c); err != nil {
		return err
	}
	if err := n.server.Apply(w.balancer); err != nil {
		return err
	}
	if err := n.place(w); err != nil {
		return err
	}
	n.engine.SetIdle(c.Limits.Idle)
	n.log.setLevel(c.Log.Level)
	n.examine(w.checks)
	return nil
}

// checkPins reads the pins of a configuration that is not in force yet.
func (n *node) checkPins(w *wiring, c *config.Config) error {
	var errs []error
	for _, p := range w.places {
		if path := w.pins[p.Name]; path != "" {
			_, err := cluster.ReadPins(path, names(c.Users), p)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// place tells the places about pools and pins.
func (n *node) place(w *wiring) error {
	if err := n.places.Update(w.places); err != nil {
		return err
	}
	var errs []error
	for _, p := range w.places {
		errs = append(errs, n.places.LoadPins(p.Name, w.pins[p.Name]))
	}
	return errors.Join(errs...)
}

// examine starts the checkers that are new, ends those that are gone, and
// leaves alone those that stay as they are.
func (n *node) examine(checks []check) {
	n.mu.Lock()
	defer n.mu.Unlock()
	wanted := make(map[checkKey]bool)
	for _, c := range checks {
		key := checkKey{c.pool, c.backend}
		wanted[key] = true
		if r := n.checkers[key]; r != nil {
			if r.check.same(c) {
				continue
			}
			r.stop()
		}
		n.checkers[key] = n.run(c)
	}
	for key, r := range n.checkers {
		if !wanted[key] {
			r.stop()
			delete(n.checkers, key)
		}
	}
}

func (c check) same(o check) bool {
	return c.how.Depth == o.how.Depth && c.how.User == o.how.User && string(c.how.Password) == string(o.how.Password) &&
		c.options.Interval == o.options.Interval && c.options.Timeout == o.options.Timeout &&
		c.options.Rise == o.options.Rise && c.options.Fall == o.options.Fall
}

// run starts a checker.
func (n *node) run(c check) *running {
	o := c.options
	o.OnChange = func(ch health.Change) {
		up := ch.New == health.Up
		if up {
			n.log.Info("back end is up", "pool", c.pool, "backend", c.backend)
		} else {
			n.log.Warn("back end is down", "pool", c.pool, "backend", c.backend, "err", ch.Err)
		}
		n.places.SetHealth(c.pool, c.backend, up)
	}
	ctx, stop := context.WithCancel(n.ctx)
	r := &running{check: c, stop: stop, Checker: health.New(func(ctx context.Context) error {
		return n.server.Probe(ctx, c.pool, c.backend, c.how)
	}, o)}
	n.running.Go(func() { r.Run(ctx) })
	return r
}

// awaitVerdicts waits until every back end has been looked at once, or the
// patience of a start is over.
func (n *node) awaitVerdicts(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstProbes)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n.unexamined() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (n *node) unexamined() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for _, r := range n.checkers {
		if r.Stats().Probes.Load() == 0 {
			count++
		}
	}
	return count
}

// health lists what the checkers know.
func (n *node) health() []admin.BackendHealth {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := make([]admin.BackendHealth, 0, len(n.checkers))
	for key, r := range n.checkers {
		list = append(list, admin.BackendHealth{Pool: key.pool, Backend: key.backend, Status: r.Status(), Stats: r.Stats()})
	}
	return list
}

// observe has a back end looked at when a real connection to it failed.
func (n *node) observe(pool, backend string, err error) {
	if err == nil {
		return
	}
	n.mu.Lock()
	r := n.checkers[checkKey{pool, backend}]
	n.mu.Unlock()
	if r != nil {
		r.Trigger()
	}
}

// notDraining is a condition of readiness.
func (n *node) notDraining() []string {
	if n.draining.Load() {
		return []string{"draining"}
	}
	if len(n.server.Listeners()) == 0 {
		return []string{"no listener open"}
	}
	return nil
}

// poolsUsable is a condition of readiness: each pool has a back end that is up.
func (n *node) poolsUsable() []string {
	up := make(map[string]bool)
	n.mu.Lock()
	for key, r := range n.checkers {
		if r.State() == health.Up {
			up[key.pool] = true
		}
	}
	n.mu.Unlock()
	var reasons []string
	for _, p := range n.server.Pools() {
		if !up[p.Name()] {
			reasons = append(reasons, fmt.Sprintf("pool %s: no back end up", p.Name()))
		}
	}
	return reasons
}

// stop drains until ctx is done, then closes, and returns when nothing runs.
func (n *node) stop(ctx context.Context) {
	n.draining.Store(true)
	n.server.Drain(ctx)
	n.cancel()
	n.running.Wait()
}
