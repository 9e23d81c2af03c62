package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"usher.example/balancer"
	"usher.example/balancer/admin"
	"usher.example/balancer/certs"
	"usher.example/balancer/forward"
	"usher.example/balancer/guard"
	"usher.example/balancer/handshake"
	"usher.example/cluster"
	"usher.example/cluster/certstore"
	"usher.example/cmd/internal/config"
	"usher.example/health"
)

// firstProbes is how long a start waits for the first verdicts on back ends:
// they bring the capabilities that greetings list. Back ends that take longer
// are learnt later.
const firstProbes = 3 * time.Second

// A node is all parts of a running usher, joined.
type node struct {
	log      *logger
	engine   engine
	fleet    *cluster.Fleet // of one without [fleet]
	entrance *turnstile     // to the fleet's places
	server   *balancer.Server
	guard    *guard.Guard  // against those whose logins fail
	keeper   *certs.Keeper // of the listeners' certificates
	doors    *doorkeeper   // at which CAs look for answers
	ready    *health.Endpoint
	web      *web // once it is open

	reloads  *admin.Reloads
	draining atomic.Bool
	started  time.Time

	endKeeper func() // and waits until it has ended

	ctx     context.Context // of everything that runs in the background
	cancel  context.CancelFunc
	running sync.WaitGroup

	applying sync.Mutex              // held while a configuration is put into force, not while the fleet is waited for; guards base and cfg
	base     *wiring                 // of the file in force, without what was added by command
	cfg      *config.Config          // that file
	over     atomic.Pointer[overlay] // what is in force of that
	open     atomic.Bool             // listeners are

	mu       sync.Mutex // guards what follows
	checkers map[checkKey]*running
}

type checkKey struct{ pool, backend string }

// running is a checker and its end.
type running struct {
	*health.Checker
	check check
	stop  context.CancelFunc
	done  chan struct{} // closed when it has stopped

	damped bool // that was said; the checker's own
}

func (r *running) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// An engine is what moves the bytes of established sessions.
type engine interface {
	forward.Engine
	Run(ctx context.Context)
	SetIdle(limit time.Duration)
	Spliced() uint64
	Adopted(path string) uint64
	SetGate(until int64)
}

var kernelModes = map[config.DataPath]forward.KernelMode{
	config.PathAuto: forward.KernelAuto, config.PathKernel: forward.KernelAlways, config.PathUser: forward.KernelOff,
}

// newEngine opens the engine that the configuration asks for.
func newEngine(path config.DataPath, log *logger) engine {
	if path == config.PathCopy {
		return new(forward.Copy)
	}
	r, err := forward.NewReactor(forward.Options{Kernel: kernelModes[path]})
	if err != nil {
		log.Warn("sessions are copied, as by data_path = \"copy\"", "err", err)
		return new(forward.Copy)
	}
	sayKernel(path, r.Kernel(), log)
	return r
}

// fallbacks counts what did not go by the best way that data_path allows.
func (n *node) fallbacks() map[string]uint64 {
	fell := make(map[string]uint64)
	for _, why := range handshake.Reasons() {
		if why != handshake.Covered && why != handshake.Configured {
			fell[why.String()] = n.server.Handshakes().Fell(why)
		}
	}
	if r, ok := n.engine.(*forward.Reactor); ok {
		for _, why := range forward.Fallbacks() {
			fell[why.String()] = r.Fallbacks(why)
		}
	}
	return fell
}

// sayKernel says what became of the wish that the kernel do the TLS.
func sayKernel(path config.DataPath, k forward.Kernel, log *logger) {
	switch {
	case path == config.PathUser:
	case len(k.Suites) > 0:
		log.Info("the kernel can do TLS", "suites", len(k.Suites), "rekey", k.Rekey)
	case path == config.PathKernel:
		log.Warn("sessions go by data_path = \"user\"", "err", k.Err)
	default:
		log.Info("TLS stays with usher's own record layer", "why", k.Err)
	}
}

// newNode joins the parts; nothing listens yet but the port of a fleet.
func newNode(c *config.Config, log *logger) (*node, error) {
	n := &node{log: log, engine: newEngine(c.DataPath, log), ready: new(health.Endpoint), reloads: new(admin.Reloads), started: time.Now(), checkers: make(map[checkKey]*running)}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	// The server first: once the fleet's port is open other nodes may ask for it.
	n.entrance = new(turnstile)
	n.guard = guard.New(guardOptions(c.Guard), time.Now())
	n.server = balancer.New(balancer.Deps{
		Log: log.Logger, Engine: n.engine, Placer: n.entrance, Guard: n.guard,
		Observe: n.observe, LoginFailed: log.loginFailed, Inherited: systemdSockets().find,
	})
	volatile, err := n.openFleet(c)
	if err != nil {
		n.cancel()
		return nil, err
	}
	n.entrance.Placer = n.fleet // before anything listens
	n.answerFleet()
	n.keeper = certs.New(certs.Options{Log: log.Logger, Storage: certstore.New(n.fleet), Volatile: volatile})
	n.doors = newDoorkeeper(n.keeper, log.Logger)
	n.ready.Add("listeners", n.notDraining)
	n.ready.Add("pools", health.As(health.PoolDown, n.poolsUsable))
	n.ready.AddDegraded("certificates", health.As(health.CertificateEnding, n.keeper.Degraded))
	n.ready.AddDegraded("added back ends", health.As(health.AddedUnusable, n.addedUnusable))
	n.runKeeper()
	n.running.Go(func() { n.doors.run(n.ctx) })
	n.running.Go(func() { n.engine.Run(n.ctx) })
	n.running.Go(n.tidy)
	n.running.Go(func() { n.fleet.Run(n.ctx) })
	n.running.Go(n.keepTickets)
	n.running.Go(n.watchReady)
	n.running.Go(n.keepGuard)
	return n, nil
}

// start puts the first configuration into force. Back ends are looked at
// before the first client is.
func (n *node) start(ctx context.Context, c *config.Config) error {
	w, err := translate(c)
	if err != nil {
		return err
	}
	shown, err := n.keeper.Prepare(w.certs)
	if err != nil {
		return err
	}
	w.shown(n.keeper)
	n.engine.SetIdle(c.Limits.Idle)
	watch := n.fleet.Watch(config.DefinitionDir)
	if err := n.begin(ctx, w, c); err != nil {
		shown.Drop()
		return err
	}
	// From now on, as the fleet may bring more while it is waited for: after a crash this
	// node's table is an old one until its log has been read.
	n.running.Go(func() { n.watchAdded(watch) })
	n.awaitFleet(ctx)
	n.takeTickets() // before the first client comes
	n.doors.apply(c.ACME)
	shown.Commit() // now that there may be a fleet to keep what is obtained
	n.awaitCertificates(ctx)
	n.applying.Lock()
	defer n.applying.Unlock()
	_ = n.takeUp() // what came last; it is logged, and tried again
	if err := n.server.Apply(n.over.Load().balancer); err != nil {
		return err
	}
	n.open.Store(true)
	return nil
}

// begin has the node know its back ends, with no listener open.
func (n *node) begin(ctx context.Context, w *wiring, c *config.Config) error {
	n.applying.Lock()
	defer n.applying.Unlock()
	over := n.layOver(w, c)
	quiet := over.balancer
	quiet.Listeners = nil
	if err := n.server.Apply(quiet); err != nil {
		return err
	}
	n.examine(over.checks)
	n.awaitVerdicts(ctx)
	if err := n.fleet.UpdateOver(over.places, over.reading); err != nil { // when it is known who is down
		return err
	}
	n.base, n.cfg = w, c
	n.noteAdded(over)
	return nil
}

// apply puts a later configuration into force. On an error the one before
// stays, whole: all that can be wrong is found before anything changes, and
// what the kernel may refuse, a new socket, comes first.
func (n *node) apply(c *config.Config) error { return n.applyUntil(n.ctx, c) }

// applyUntil is apply that waits for places and pins no longer than until end is done:
// what it has begun it finishes all the same.
func (n *node) applyUntil(end context.Context, c *config.Config) error {
	open, err := n.exchange(c)
	defer open()
	if err != nil {
		return err
	}
	n.settle(end)
	open() // what is left is nothing that a login has to wait for
	n.engine.SetIdle(c.Limits.Idle)
	n.log.setLevel(c.Log.Level)
	ctx, cancel := context.WithTimeoutCause(end, pinsTime, fmt.Errorf("not within %v", pinsTime))
	defer cancel()
	if err := n.fleet.Pinned(ctx); err != nil {
		n.log.Warn("users are not yet placed by the new pins", "event", "places_late", "err", err)
	}
	return nil
}

// exchange is apply up to where the fleet is waited for: meanwhile back ends may come and
// go by command. Logins wait until open is called, once or more.
func (n *node) exchange(c *config.Config) (open func(), err error) {
	open = func() {}
	n.applying.Lock()
	defer n.applying.Unlock()
	base, err := translate(c)
	if err != nil {
		return open, err
	}
	w := n.layOver(base, c)
	shown, err := n.keeper.Prepare(w.certs)
	if err != nil {
		return open, err
	}
	w.shown(n.keeper)
	open = n.entrance.close()
	// The balancer first: a place must not name a back end that it does not
	// know. One that it knows no longer a login on its way still finds in the
	// pool that it began with.
	if err := n.server.Apply(w.balancer); err != nil {
		shown.Drop()
		return open, err
	}
	n.base, n.cfg = base, c // what is in force of it is another overlay's until noteAdded
	n.doors.apply(c.ACME)
	shown.Commit()
	n.retire(w.checks)
	if err := n.fleet.UpdateOver(w.places, w.reading); err != nil {
		return open, fmt.Errorf("after it was found good: %w", err)
	}
	n.examine(w.checks)
	n.noteAdded(w)
	n.guard.Configure(w.guard)
	return open, nil
}

// settleTime bounds how long a reload keeps logins waiting for the places to be
// those of the new configuration. Without a leader they will not be.
const settleTime = 5 * time.Second

// pinsTime is how long a reload waits for pins of a file to be in force before it says
// that it is done. Nobody else waits; a million take some seconds.
const pinsTime = 30 * time.Second

// settle waits for the fleet to place by the pools that it was told, until end at most.
func (n *node) settle(end context.Context) {
	ctx, cancel := context.WithTimeoutCause(end, settleTime, fmt.Errorf("not within %v", settleTime))
	defer cancel()
	if err := n.fleet.Settle(ctx); err != nil {
		n.log.Warn("users are not yet placed by the new configuration", "event", "places_late", "err", err)
	}
}

// retire ends the checkers that are not to go on as they are, and returns when
// they have: the last word of one must not come after the first of the next, and
// not be taken for another server's.
func (n *node) retire(checks []check) {
	wanted := make(map[checkKey]check, len(checks))
	for _, c := range checks {
		wanted[c.key()] = c
	}
	var ending []*running
	n.mu.Lock()
	for key, r := range n.checkers {
		if c, ok := wanted[key]; !ok || !r.check.same(c) {
			r.stop()
			ending = append(ending, r)
		}
	}
	n.mu.Unlock()
	for _, r := range ending { // not under the lock: who ends may have news to tell
		<-r.done
	}
}

// examine starts a checker for each back end that has none. Where there was one
// of the same server, the new one knows what it knew.
func (n *node) examine(checks []check) {
	n.mu.Lock()
	defer n.mu.Unlock()
	before := n.checkers
	n.checkers = make(map[checkKey]*running, len(checks))
	for _, c := range checks {
		r := before[c.key()]
		if r == nil || r.ended() {
			r = n.run(c, r)
		}
		n.checkers[c.key()] = r
	}
}

func (c check) key() checkKey { return checkKey{c.pool, c.backend} }

func (c check) same(o check) bool {
	return c.address == o.address && c.how.Depth == o.how.Depth && c.how.User == o.how.User && string(c.how.Password) == string(o.how.Password) &&
		c.options.Interval == o.options.Interval && c.options.Fast == o.options.Fast && c.options.Timeout == o.options.Timeout &&
		c.options.Rise == o.options.Rise && c.options.Fall == o.options.Fall
}

// run starts a checker. The one before it, nil if there was none, has ended.
func (n *node) run(c check, before *running) *running {
	o := c.options
	o.OnChange = func(ch health.Change) {
		up := ch.New == health.Up
		if up {
			n.log.Info("back end is up", "event", "backend_up", "pool", c.pool, "backend", c.backend)
		} else {
			n.log.Warn("back end is down", "event", "backend_down", "pool", c.pool, "backend", c.backend, "err", ch.Err)
		}
		n.fleet.SetHealth(c.pool, c.backend, up)
	}
	ctx, stop := context.WithCancel(n.ctx)
	probe := func(ctx context.Context) error { return n.server.Probe(ctx, c.pool, c.backend, c.how) }
	r := &running{check: c, stop: stop, done: make(chan struct{})}
	o.OnProbe = func(good bool) {
		n.sayDamped(r)
		n.probed(c.pool, c.backend, good)
	}
	if before != nil && before.check.address == c.address {
		r.Checker = health.Continue(before.Checker, probe, o)
	} else {
		r.Checker = health.New(probe, o)
	}
	n.running.Go(func() {
		defer close(r.done)
		r.Run(ctx)
	})
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
		n.doubt(pool, backend)
	}
}

// notDraining is a condition of readiness.
func (n *node) notDraining() []health.Reason {
	if n.draining.Load() {
		return []health.Reason{{Code: health.Draining, Text: "draining"}}
	}
	if len(n.server.Listeners()) == 0 {
		return []health.Reason{{Code: health.NoListener, Text: "no listener open"}}
	}
	return nil
}

// poolsUsable is a condition of readiness: each pool has a back end that logins
// are sent to. Who sends them is asked, so that we never say otherwise.
func (n *node) poolsUsable() []string {
	usable := n.fleet.Usable()
	var reasons []string
	for _, p := range n.server.Pools() {
		if usable[p.Name()] == 0 {
			reasons = append(reasons, fmt.Sprintf("pool %s: no back end up", p.Name()))
		}
	}
	return reasons
}

// stop drains until ctx is done, then closes, and returns when nothing runs.
func (n *node) stop(ctx context.Context) {
	n.draining.Store(true)
	n.fleet.Leave() // the others know that this node takes no logins any more
	n.server.StopAccepting()
	n.log.Info("the listeners are closed now", "event", "node_withdrawn")
	n.server.Drain(ctx)
	n.endKeeper() // while there is a fleet to store what it has obtained
	n.fleet.Close()
	n.cancel()
	n.running.Wait()
}
