package balancer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"usher.example/balancer/forward"
	"usher.example/balancer/handshake"
	"usher.example/balancer/strand"
)

// A Server is a node. Make it with New, give it its configuration with Apply,
// and end it with Drain. All methods may be called concurrently.
type Server struct {
	deps     Deps
	log      *slog.Logger
	sessions *registry
	done     func(forward.Result) // forwarded, made once

	ctx     context.Context // of all sessions and sockets
	cancel  context.CancelCauseFunc
	stopped <-chan struct{} // closed when nothing is to be accepted any more
	stop    func()
	running sync.WaitGroup // sessions up to the adoption
	loops   *strand.Loops  // run them; guarded by applying

	tickets    handshake.Tickets // of all listeners, over reloads
	handshakes handshake.Stats
	refusals   ration // lines about logins that were not tried

	mu        sync.Mutex           // guards what follows; never held while waiting
	applying  sync.Mutex           // one Apply or Drain at a time
	listeners map[string]*Listener // by address
	pools     map[string]*Pool
	before    map[string]*Pool // of the configuration before: places follow a moment later
	warned    [kindCount]time.Time
	bound     Bound                     // as it was last asked for
	stats     map[string]*ListenerStats // by listener name, of gone ones too
}

// New returns a Server without listeners.
func New(d Deps) *Server {
	srv := &Server{
		deps: d, log: d.Log, sessions: newRegistry(),
		listeners: make(map[string]*Listener), pools: make(map[string]*Pool), stats: make(map[string]*ListenerStats),
	}
	srv.done = srv.forwarded
	if srv.log == nil {
		srv.log = slog.Default()
	}
	srv.ctx, srv.cancel = context.WithCancelCause(context.Background())
	accepting, stop := context.WithCancel(context.Background())
	srv.stopped, srv.stop = accepting.Done(), stop
	return srv
}

// Apply puts options into force: the first ones, or those of a reload. Sockets
// whose address stays are kept, sessions go on under the options they began
// with. On an error nothing has changed. A node that is being stopped takes options
// without listeners only: pools, for those who are on it.
func (srv *Server) Apply(o Options) error {
	srv.applying.Lock()
	defer srv.applying.Unlock()
	select {
	case <-srv.stopped:
		if len(o.Listeners) > 0 {
			return errors.New("the node is being stopped")
		}
	default:
	}
	pools, err := srv.newPools(o.Pools)
	if err != nil {
		return err
	}
	bindings, err := srv.bind(o, pools)
	if err != nil {
		return err
	}
	if srv.loops == nil && len(bindings) > 0 {
		if srv.loops, err = strand.New(strand.Processors(), nudge(srv.deps.Engine)); err != nil {
			return err
		}
	}
	opened, err := srv.openSockets(bindings)
	if err != nil {
		return err
	}

	srv.mu.Lock()
	srv.before, srv.pools = srv.pools, pools
	var closing []*Listener
	for address, l := range srv.listeners {
		if bindings[address] == nil {
			closing = append(closing, l)
			delete(srv.listeners, address)
		}
	}
	for address, b := range bindings {
		b.stats = srv.statsOf(b)
		l := srv.listeners[address]
		if l == nil {
			l = opened[address]
			srv.listeners[address] = l
			l.binding.Store(b)
			srv.log.Info("a listener is open", "event", "listener_opened", "listener", b.Name, "address", l.socket.Addr().String(), "pool", b.Pool)
			continue
		}
		l.binding.Store(b)
	}
	srv.mu.Unlock()
	var errs []error
	for _, l := range opened {
		if err := l.accept(srv); err != nil { // the loops are closed: it is being stopped
			errs = append(errs, fmt.Errorf("listener %s: accept: %w", l.binding.Load().Name, err))
		}
	}
	for _, l := range closing {
		srv.closeListener(l)
	}
	return errors.Join(errs...)
}

// nudge is what busy loops of logins call for an engine that waits where they do not look;
// nil if it does not need that.
func nudge(engine forward.Engine) func() bool {
	if e, ok := engine.(forward.Nudger); ok {
		return e.Nudge
	}
	return nil
}

func (srv *Server) newPools(options []PoolOptions) (map[string]*Pool, error) {
	srv.mu.Lock()
	old := srv.pools
	srv.mu.Unlock()
	pools := make(map[string]*Pool, len(options))
	var errs []error
	for _, po := range options {
		p, err := srv.newPool(po, old[po.Name])
		if pools[po.Name] != nil {
			err = errors.Join(err, fmt.Errorf("two pools %s", po.Name))
		}
		pools[po.Name] = p
		errs = append(errs, err)
	}
	return pools, errors.Join(errs...)
}

// bind joins listeners and pools.
func (srv *Server) bind(o Options, pools map[string]*Pool) (map[string]*binding, error) {
	bindings := make(map[string]*binding, len(o.Listeners))
	var errs []error
	for _, lo := range o.Listeners {
		if err := lo.check(); err != nil {
			errs = append(errs, err)
			continue
		}
		b := &binding{ListenerOptions: lo, hostname: o.Hostname, limits: o.Limits.withDefaults(), pool: pools[lo.Pool]}
		if b.pool == nil {
			errs = append(errs, fmt.Errorf("listener %s: no pool %q", lo.Name, lo.Pool))
		}
		if bindings[lo.Address] != nil {
			errs = append(errs, fmt.Errorf("two listeners on %s", lo.Address))
		}
		if lo.Config != nil {
			cfg := lo.Config.Clone()
			// A client that offers other protocols than ours is meant for
			// somebody else (the ALPACA attacks); one that offers none is fine.
			cfg.NextProtos = []string{lo.Protocol.ALPN()}
			b.secure = srv.prepare(cfg)
		}
		bindings[lo.Address] = b
	}
	return bindings, errors.Join(errs...)
}

// prepare makes a configuration for handshakes.
func (srv *Server) prepare(cfg *tls.Config) *handshake.Config {
	return handshake.Prepare(cfg, handshake.Options{Tickets: &srv.tickets, Copy: !srv.deps.Engine.Secures(), Stats: &srv.handshakes})
}

// Tickets are the keys of the session tickets of all listeners, over reloads. Until
// somebody sets others they are this node's own.
func (srv *Server) Tickets() *handshake.Tickets { return &srv.tickets }

// Handshakes counts the TLS handshakes with clients and back ends by what became
// of their keys.
func (srv *Server) Handshakes() *handshake.Stats { return &srv.handshakes }

// openSockets listens where nobody listens yet.
func (srv *Server) openSockets(bindings map[string]*binding) (map[string]*Listener, error) {
	opened := make(map[string]*Listener)
	var errs []error
	for address, b := range bindings {
		srv.mu.Lock()
		have := srv.listeners[address] != nil
		srv.mu.Unlock()
		if have {
			continue
		}
		socket, err := srv.listen(b.Name, address)
		if err != nil {
			errs = append(errs, fmt.Errorf("listener %s: %w", b.Name, err))
			continue
		}
		l := &Listener{socket: socket}
		opened[address] = l
		if err := l.prepare(srv.loops); err != nil {
			errs = append(errs, fmt.Errorf("listener %s: %w", b.Name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		for _, l := range opened {
			l.close()
		}
		return nil, err
	}
	return opened, nil
}

// statsOf is called with mu held. A listener that comes back under its name
// goes on counting, unless it speaks another protocol now.
func (srv *Server) statsOf(b *binding) *ListenerStats {
	st := srv.stats[b.Name]
	if st == nil || st.Protocol != b.Protocol.Name() {
		st = &ListenerStats{Protocol: b.Protocol.Name()}
		srv.stats[b.Name] = st
	}
	return st
}

// serve starts a session.
func (srv *Server) serve(b *binding, c *strand.Conn) {
	id := newID()
	s := &session{
		srv: srv, b: b, number: id, id: idText(id), started: time.Now(),
		client: unmap(c.Remote()), raw: c, local: unmap(c.Local()), strand: c.Strand(),
	}
	s.turn = s.started
	s.ctx, s.cancel = context.WithCancelCause(srv.ctx)
	b.stats.Accepted.Add(1)
	b.stats.Open.Add(1)
	defer srv.running.Done()
	s.run()
}

// run is the session's strand.
func (s *session) run() {
	defer func() {
		if p := recover(); p != nil {
			s.srv.log.Error("a session panicked", "event", "session_panicked", "session", s.id, "panic", p, "stack", string(debug.Stack()))
			s.broken()
		}
	}()
	roomForHandshake()
	if err := s.serve(); err != nil {
		f := asFailure(err)
		s.farewell(f)
		s.strand.Leave() // the log may block
		s.refused(f)
	}
}

// handshakeStack is what a handshake needs of a stack. A goroutine begins with 2 KiB
// and would double that three times on the way, each time copying and walking what is
// there, dozens of calls deep. Without TLS to find the user's place takes half of it. The
// collector takes from those that wait what they do not use.
const handshakeStack = 9 << 10

// roomForHandshake makes the goroutine's stack as large as a handshake will make it, in one
// step and while there is next to nothing to copy.
//
//go:noinline
func roomForHandshake() {
	var room [handshakeStack]byte
	touch(&room)
}

//go:noinline
func touch(room *[handshakeStack]byte) { room[0] = 1 }

// Drain stops accepting, waits for the sessions to end until ctx is done, ends
// those that are left, and returns when nothing runs any more.
func (srv *Server) Drain(ctx context.Context) {
	srv.StopAccepting()
	empty := srv.sessions.close()
	select {
	case <-empty:
	case <-ctx.Done():
		early, established := srv.everybody()
		srv.kick(early, established, fail(ShuttingDown, "the node is being stopped"))
		<-empty
	}
	srv.running.Wait()
	srv.cancel(nil)
	srv.applying.Lock()
	defer srv.applying.Unlock()
	if srv.loops != nil {
		srv.loops.Close()
		srv.loops = nil
	}
}

// StopAccepting closes the sockets for good.
func (srv *Server) StopAccepting() {
	srv.applying.Lock()
	defer srv.applying.Unlock()
	srv.stop()
	srv.mu.Lock()
	listeners := srv.listeners
	srv.listeners = make(map[string]*Listener)
	srv.mu.Unlock()
	for _, l := range listeners {
		srv.closeListener(l)
	}
}

// closeListener closes a listener for good.
func (srv *Server) closeListener(l *Listener) {
	l.close()
	srv.log.Info("a listener is closed", "event", "listener_closed", "listener", l.binding.Load().Name, "address", l.socket.Addr().String())
}

// Addr is where the listener of that name listens, nil if it does not. It
// tells the port where the configuration says 0.
func (srv *Server) Addr(name string) net.Addr {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	for _, l := range srv.listeners {
		if l.binding.Load().Name == name {
			return l.socket.Addr()
		}
	}
	return nil
}

// Pool finds a pool of the configuration in force, nil if there is none.
func (srv *Server) Pool(name string) *Pool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.pools[name]
}

// backend finds the back end that a place names: in the configuration in force,
// which may be newer than the session's, else in the session's own, else in the
// one before, which places may still follow.
func (srv *Server) backend(own *Pool, name string) *Backend {
	srv.mu.Lock()
	pools := []*Pool{srv.pools[own.Name()], own, srv.before[own.Name()]}
	srv.mu.Unlock()
	for _, p := range pools {
		if p != nil && p.Backend(name) != nil {
			return p.Backend(name)
		}
	}
	return nil
}

// warnEvery is the least time between two warnings of one kind; the lines in
// between are of level info, so that a flood does not cry wolf.
const warnEvery = 10 * time.Second

// level is the log level of a session that ended with k.
func (srv *Server) level(k Kind) slog.Level {
	level := kinds[k].level
	if level != slog.LevelWarn {
		return level
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if time.Since(srv.warned[k]) < warnEvery {
		return slog.LevelInfo
	}
	srv.warned[k] = time.Now()
	return level
}

// Pools lists the pools of the configuration in force, by name.
func (srv *Server) Pools() []*Pool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	pools := make([]*Pool, 0, len(srv.pools))
	for _, p := range srv.pools {
		pools = append(pools, p)
	}
	slices.SortFunc(pools, func(a, b *Pool) int { return strings.Compare(a.Name(), b.Name()) })
	return pools
}
