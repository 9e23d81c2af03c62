package balancer

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unique"

	"usher.example/balancer/forward"
	"usher.example/balancer/guard"
	"usher.example/sniff"
)

// A Handover is an established session on its way to another node, perhaps in
// another process on the same machine: whose it is, and how it goes on. It is
// secret, as what is in Flow is.
type Handover struct {
	ID        uint64
	User      string // as the client wrote it
	Mechanism sniff.Mechanism
	Listener  string
	Pool      string
	Backend   string
	Why       string // he is there
	Client    netip.AddrPort
	TLS       uint16 // version, 0 for none
	ViaTLS    bool   // a trusted proxy has taken TLS off
	Claimed   bool   // is counted for its client's address
	Started   time.Time
	Flow      *forward.Handover
}

// A mover is an engine whose sessions can move.
type mover interface {
	Export(forward.Flow) (*forward.Handover, error)
	Resume(h *forward.Handover, tag uint64, done func(forward.Result)) forward.Flow
}

var (
	// ErrNoMover: the engine's sessions cannot move.
	ErrNoMover = errors.New("sessions of this data path cannot change hands")
	// ErrElsewhere: the user belongs to another back end than his session is on.
	ErrElsewhere = errors.New("the user has another place by now")
)

// Export hands the established sessions over, one after the other. Until take
// returns, the user's place is held here, so that he can be nowhere else; what it
// returns is called if the session was to be ended meanwhile. If take fails, the
// session goes on here, and Export returns the error. Sessions that end, those that
// crypto/tls carries, and those that the engine is just taking over are left: they
// are not counted in n.
func (srv *Server) Export(take func(*Handover) (end func(reason string), err error)) (n int, err error) {
	engine, ok := srv.deps.Engine.(mover)
	if !ok {
		return 0, ErrNoMover
	}
	srv.sessions.each(nil, func(tag uint64, e *entry, user string) {
		if err != nil {
			return
		}
		flow, ferr := engine.Export(e.flow)
		if ferr != nil {
			return // it has ended, or never moves
		}
		h := &Handover{
			ID: e.id, User: user, Mechanism: mechanisms[e.mech], Listener: e.b.Name, Pool: e.b.pool.Name(), Backend: e.backend.Name,
			Why: e.why.Value(), Client: e.client(), TLS: e.version, ViaTLS: e.flags&viaTLS != 0, Claimed: e.flags&claimed != 0,
			Started: epoch.Add(time.Duration(e.started)), Flow: flow,
		}
		end, terr := take(h)
		if terr != nil {
			err = fmt.Errorf("hand session %s over: %w", idText(e.id), terr)
			if f := engine.Resume(flow, tag, srv.done); srv.sessions.flowing(tag, f) {
				f.Kill()
			}
			return
		}
		n++
		if f := srv.departed(tag); f != nil && end != nil {
			end(f.Error())
		}
	})
	return n, err
}

// departed takes a session that others go on with out of all counts. It returns
// why the session was to be ended, if it was.
func (srv *Server) departed(tag uint64) *Failure {
	e, _, ok := srv.sessions.release(tag)
	if !ok {
		return nil
	}
	e.b.stats.LoggedIn.Add(-1)
	e.b.stats.Open.Add(-1)
	srv.letGo(e.backend, e.hold)
	return srv.sessions.forget(tag)
}

// Resume goes on with a session of another node. The listener, pool and back end
// must be configured here, and the user's place must be where he is. After an
// error, such as ErrElsewhere, the session is still the caller's. End is for
// [Server.Export].
func (srv *Server) Resume(ctx context.Context, h *Handover) (end func(reason string), err error) {
	engine, ok := srv.deps.Engine.(mover)
	if !ok {
		return nil, ErrNoMover
	}
	b, backend := srv.named(h)
	if b == nil || backend == nil {
		return nil, fmt.Errorf("listener %q with back end %q of pool %q: not configured", h.Listener, h.Backend, h.Pool)
	}
	place, _, hold, err := srv.deps.Placer.Place(ctx, h.Pool, h.User)
	if err != nil {
		return nil, err
	}
	if place != h.Backend {
		srv.deps.Placer.Release(hold)
		return nil, fmt.Errorf("%w: %s", ErrElsewhere, place)
	}
	e := entry{
		b: b, backend: backend, why: unique.Make(h.Why), id: h.ID, started: int64(h.Started.Sub(epoch)), hold: hold,
		user: hashName(srv.deps.Placer.Normal(h.User)), addr: h.Client.Addr().As16(), port: h.Client.Port(), version: h.TLS,
		flags: held, mech: uint8(mechanismIndex(h.Mechanism)),
	}
	for flag, set := range map[entryFlags]bool{viaTLS: h.ViaTLS, claimed: h.Claimed, is6: h.Client.Addr().Is6()} {
		if set {
			e.flags |= flag
		}
	}
	tag, f := srv.sessions.resume(e, h.User)
	if f != nil {
		srv.deps.Placer.Release(hold)
		return nil, f
	}
	backend.state.sessions.Add(1)
	b.stats.Open.Add(1)
	b.stats.LoggedIn.Add(1)
	flow := engine.Resume(h.Flow, tag, srv.done)
	if srv.sessions.flowing(tag, flow) {
		flow.Kill()
	}
	return func(reason string) { srv.sessions.kill(tag, fail(Kicked, "%s", reason)) }, nil
}

// named finds what a session is bound to, nil if it is not configured.
func (srv *Server) named(h *Handover) (*binding, *Backend) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	for _, l := range srv.listeners {
		if b := l.binding.Load(); b.Name == h.Listener && b.pool.Name() == h.Pool {
			return b, b.pool.Backend(h.Backend)
		}
	}
	return nil, nil
}

// resume makes an entry of a session that comes from elsewhere. No limit keeps it
// out: it has been let in.
func (r *registry) resume(e entry, user string) (tag uint64, f *Failure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing {
		return 0, fail(ShuttingDown, "the node is being stopped")
	}
	if e.flags&claimed != 0 {
		r.perAddr[guard.AddressOf(e.client().Addr())]++
	}
	if e.b.limits.PerUser > 0 {
		e.flags |= counted
		r.perUser[e.user]++
	}
	return r.insert(e, user), nil
}
