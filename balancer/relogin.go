package balancer

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"usher.example/balancer/strand"
	"usher.example/sniff"
)

const (
	// answerTime is kept back of the time for a login, to write the answer.
	answerTime = 2 * time.Second

	// relayTime is what a client gets for one step of a relayed mechanism. His
	// programme computes the answer; nobody types it.
	relayTime = 10 * time.Second
)

// errCancelled means that the client took his login back.
var errCancelled = errors.New("cancelled by the client")

// An acceptance is a back end's yes and what it sent behind it.
type acceptance struct {
	*sniff.Acceptance
	rest []byte
}

// relogin repeats the client's login at his back end. A back end that cannot be
// reached is tried again, and it is asked anew who serves the user: that stays
// the same as long as the back end counts as up.
func (s *session) relogin(login *sniff.Login) (*link, *acceptance, error) {
	limits := s.b.limits
	defer login.Wipe()
	// The answer has to be written before the connection's own deadline.
	end := s.started.Add(limits.LoginTime - min(answerTime, limits.LoginTime/4))
	ctx, done := context.WithDeadlineCause(s.ctx, end, fail(LoginTimeout, "no answer of a back end before the time for the login was over"))
	defer done()
	for try := 1; ; try++ {
		l, yes, err := s.try(ctx, login)
		if err == nil {
			return l, yes, nil
		}
		s.letGo()
		f := asFailure(err)
		if !kinds[f.Kind].retry || f.sent || try >= limits.DialTries || s.relayed || ctx.Err() != nil {
			return nil, nil, err
		}
		s.srv.log.Debug("back end is tried again", "session", s.id, "try", try, "err", err)
		s.setPhase(PhaseWait)
		s.strand.Leave()
		select {
		case <-time.After(limits.DialWait):
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

// try places the user and logs him in there, once.
func (s *session) try(ctx context.Context, login *sniff.Login) (*link, *acceptance, error) {
	s.setPhase(PhasePlace)
	ctx, giveUp := context.WithCancelCause(ctx)
	b, err := s.route(ctx, giveUp, login.User)
	if err != nil {
		giveUp(nil)
		return nil, nil, err
	}
	s.setPhase(PhaseDial)
	client := s.clientInfo()
	l, err := b.dial(ctx, s.strand, s.b.Protocol, client, s.b.limits.DialTimeout, s.b.limits.BackendLoginTime)
	if err != nil {
		s.observe(b, err)
		s.lack(b, err)
		return nil, nil, err
	}
	handed := false
	defer func() {
		if !handed {
			l.close()
		}
	}()
	s.setPhase(PhaseRelogin)
	yes, err := s.converseBack(ctx, l, b, login, client)
	s.observe(b, err)
	if err != nil {
		return nil, nil, err
	}
	handed = true
	s.srv.deps.Placer.Confirm(s.hold)
	l.stop() // ctx ends with the attempt, the connection goes on
	return l, yes, nil
}

// lack says, once in a while, that a login failed for want of something on this node:
// the session's own line comes when the client has gone, and tells of that.
func (s *session) lack(b *Backend, err error) {
	if f := asFailure(err); f.Kind == Exhausted && s.srv.level(Exhausted) == slog.LevelWarn {
		s.srv.log.Warn("a login fails as this node can open no connection", "event", kinds[Exhausted].event,
			"session", s.id, "pool", b.pool, "backend", b.Name, "err", f.Err)
	}
}

// observe tells health what a real connection has shown.
func (s *session) observe(b *Backend, err error) {
	if s.srv.deps.Observe == nil {
		return
	}
	if err != nil {
		f := asFailure(err)
		if !kinds[f.Kind].fault {
			if f.Kind != AuthFailed && f.Kind != Denied {
				return // says nothing about the back end
			}
			err = nil
		}
	}
	s.srv.deps.Observe(b.pool, b.Name, err)
}

// converseBack talks with the back end up to its verdict.
func (s *session) converseBack(ctx context.Context, l *link, b *Backend, login *sniff.Login, client *clientInfo) (*acceptance, error) {
	known := s.b.pool.options.Capabilities[s.b.Protocol.Name()]
	if len(known) == 0 {
		known = b.capabilities(s.b.Protocol.Name())
	}
	back := s.b.Protocol.Back(sniff.BackOptions{
		Login: login, Master: s.master(login), Capabilities: known,
		StartTLS: b.TLS == TLSStart, TLS: b.TLS == TLSImplicit,
		Announce: b.announcement(client),
	})
	out := sniff.NewDriver(back)
	still := func() error { return s.srv.deps.Placer.Still(s.hold) }
	for {
		ev, err := out.Drive(guarded{l.conn(), still})
		if lost := (*placeLost)(nil); errors.As(err, &lost) {
			return nil, fail(NoBackend, "before the login was sent: %w", lost.err)
		}
		if err != nil {
			return nil, b.classify(ctx, err, out.Spoke())
		}
		switch ev.Kind {
		case sniff.StartTLS:
			if err := l.handshake(ctx, b, s.b.Protocol); err != nil {
				return nil, err
			}
			back.Secured()
		case sniff.Challenge:
			_ = l.raw.SetDeadline(time.Time{}) // it is the client's turn
			answer, err := s.relay(ctx, ev.Data)
			if err != nil {
				return nil, err
			}
			l.limit(ctx, s.b.limits.BackendLoginTime)
			out.Queue(func(dst []byte) []byte { return back.Respond(dst, answer) })
		case sniff.Accepted:
			return &acceptance{ev.Accepted, out.Rest()}, nil
		case sniff.Refused:
			s.srv.deps.Placer.Refused(s.hold)
			return nil, b.refused(ev.Refusal)
		default:
			return nil, b.fault(ctx, fail(BackendProtocol, "back end %s: unexpected %v", b.Name, ev.Kind))
		}
	}
}

// guarded is a connection to a back end during a login: nothing is sent that could
// be a credential once the user's place may be another's to give.
type guarded struct {
	net.Conn
	still func() error
}

// Write implements io.Writer.
func (g guarded) Write(p []byte) (int, error) {
	if err := g.still(); err != nil {
		return 0, &placeLost{err}
	}
	return g.Conn.Write(p)
}

// placeLost is why a guarded connection did not send.
type placeLost struct{ err error }

func (p *placeLost) Error() string { return p.err.Error() }

// relay carries a SASL challenge to the client and his answer back. Until the
// back end has said yes nobody has proved who he is, and the user's place is
// held: so the client's machine has little time.
func (s *session) relay(ctx context.Context, challenge []byte) ([]byte, error) {
	s.relayed = true
	login := s.started.Add(s.b.limits.LoginTime)
	s.within(earlier(login, time.Now().Add(relayTime)), s.raw.SetReadDeadline)
	s.setRelaying(true)
	if context.Cause(ctx) != nil { // given up just before
		_ = s.raw.SetReadDeadline(past)
	}
	s.in.Queue(func(dst []byte) []byte { return s.front.Challenge(dst, challenge) })
	ev, err := s.in.Drive(s.conn())
	s.setRelaying(false)
	s.within(login, s.raw.SetReadDeadline)
	switch {
	case err != nil && s.ctx.Err() == nil && context.Cause(ctx) != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		s.unanswered()
		return nil, s.clientFault(err)
	case ev.Kind == sniff.Response:
		return ev.Data, nil
	case ev.Kind == sniff.Cancelled:
		s.unanswered()
		return nil, errCancelled
	case ev.Kind == sniff.Quit:
		s.unanswered()
		return nil, &Failure{Kind: ClientQuit}
	}
	return nil, fail(Internal, "front: unexpected %v", ev.Kind)
}

// unanswered counts the login of a client that does not answer a challenge. The
// only one that XOAUTH2 and OAUTHBEARER have is their no (RFC 7628 §3.2.2): who
// leaves there has guessed wrong, and must not escape the log by it.
func (s *session) unanswered() {
	s.silent = true
	switch s.login.mechanism {
	case sniff.XOAuth2, sniff.OAuthBearer:
		s.attempts++
		s.guessed = true
		s.countLogin(&Failure{Kind: AuthFailed})
	default:
	}
}

// route finds the user's back end and takes a hold on his place.
func (s *session) route(ctx context.Context, giveUp context.CancelCauseFunc, user string) (*Backend, error) {
	pool := s.b.pool.Name()
	name, why, hold, err := s.place(ctx, pool, user)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, fail(NoBackend, "place: %w", err)
	}
	b := s.srv.backend(s.b.pool, name)
	if b == nil {
		s.srv.deps.Placer.Release(hold)
		return nil, unknownBackend(pool, name)
	}
	if f := b.full(b.state.sessions.Add(1)); f != nil {
		b.state.sessions.Add(-1)
		s.srv.deps.Placer.Release(hold)
		return nil, f
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backend, s.why, s.giveUp, s.abandoned = b, why, giveUp, nil
	s.held, s.hold = true, hold
	return b, nil
}

func unknownBackend(pool, name string) *Failure {
	return fail(NoBackend, "back end %s is not in this node's configuration of pool %s", name, pool)
}

// full says why a back end takes no more sessions than n, if so.
func (b *Backend) full(n int64) *Failure {
	if b.Sessions > 0 && n > int64(b.Sessions) {
		return fail(NoBackend, "back end %s has its %d sessions", b.Name, b.Sessions)
	}
	return nil
}

// place asks the directory, then the places.
func (s *session) place(ctx context.Context, pool, user string) (backend, why string, hold uint64, err error) {
	if s.srv.deps.Directory != nil {
		s.strand.Leave()
	}
	backend, ok, err := s.srv.Lookup(ctx, pool, user)
	if err != nil || ok {
		return backend, byDirectory, 0, err
	}
	return s.srv.deps.Placer.Place(waiting{ctx, s.strand}, pool, user)
}

// waiting is a context that takes a strand off its loop once somebody is about to wait
// for something: who does that asks when he has to give up. Mostly nobody does.
type waiting struct {
	context.Context
	strand *strand.Strand
}

// Done implements context.Context.
func (w waiting) Done() <-chan struct{} {
	w.strand.Leave()
	return w.Context.Done()
}

// byDirectory is why a user is where a directory says.
const byDirectory = "directory"

// Lookup asks the directory, if there is one, for the back end of a user; ok is false if
// it does not know him, or is not there.
func (srv *Server) Lookup(ctx context.Context, pool, user string) (backend string, ok bool, err error) {
	if srv.deps.Directory == nil {
		return "", false, nil
	}
	return srv.deps.Directory.Lookup(ctx, pool, user)
}

// master is who logs in for a user without a password.
func (s *session) master(login *sniff.Login) *sniff.Master {
	if login.Mechanism != sniff.External {
		return nil // whose password it is, the back end decides
	}
	return s.b.pool.options.Master
}

// clientInfo is what the back end is told.
func (s *session) clientInfo() *clientInfo {
	c := &clientInfo{
		client: s.client, local: s.local, serverName: s.serverName, session: s.id,
		secure: s.tls != nil || s.viaTLS, peer: s.peer,
	}
	if s.tls != nil {
		state := s.tls.ConnectionState()
		c.tls = &state
	}
	return c
}

// announcement tells the client's address in the protocol's own way.
func (b *Backend) announcement(c *clientInfo) sniff.Announcement {
	if b.Address != AddressCommand {
		return sniff.Announcement{}
	}
	return sniff.Announcement{
		Form: sniff.AnnounceID, Client: c.client, Local: c.local,
		ServerName: c.serverName, Session: c.session, TLS: c.secure,
	}
}

func (s *session) setRelaying(on bool) {
	s.mu.Lock()
	s.relaying = on
	s.mu.Unlock()
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
