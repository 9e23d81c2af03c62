package balancer

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"usher.example/balancer/forward"
)

// A Phase is where a session stands. It exists to report, not to drive.
type Phase string

// Phases of a session, in order.
const (
	PhaseProxy   Phase = "proxy"   // waits for a PROXY header
	PhaseTLS     Phase = "tls"     // handshake with the client
	PhaseLogin   Phase = "login"   // waits for credentials
	PhasePlace   Phase = "place"   // the user's back end is looked for
	PhaseDial    Phase = "dial"    // connects to it
	PhaseRelogin Phase = "relogin" // waits for its verdict
	PhaseAnswer  Phase = "answer"  // the back end has said yes; the client is told
	PhaseWait    Phase = "wait"    // pauses before another try
	PhaseForward Phase = "forward" // established
)

func (s *session) setPhase(p Phase) {
	s.mu.Lock()
	s.phase = p
	s.mu.Unlock()
}

// forwarded is called by the engine when both connections of an established
// session are closed.
func (srv *Server) forwarded(r forward.Result) {
	e, user, ok := srv.sessions.release(r.Tag)
	if !ok {
		return
	}
	st := e.b.stats
	st.LoggedIn.Add(-1)
	st.Ends[r.End].Add(1)
	st.BytesIn.Add(r.In)
	st.BytesOut.Add(r.Out)
	reason := r.End.String()
	err := r.Err
	if r.End == forward.Killed && e.ended != nil {
		reason, err = e.ended.Kind.String(), e.ended.Err
	}
	srv.letGo(e.backend, e.hold)
	st.Ended[None].Add(1) // before the log has it: who reads that finds it counted
	st.Open.Add(-1)
	if logs(srv.log, slog.LevelInfo) {
		srv.logSession(e.info(user), slog.LevelInfo, "ok", []slog.Attr{
			slog.String("end", reason), slog.String("path", r.Path),
			slog.Uint64("in", r.In), slog.Uint64("out", r.Out),
		}, err)
	}
	srv.sessions.forget(r.Tag) // last of all: a drain waits for it
}

// logs tells whether a line that is no event goes anywhere. A handler that takes events out
// of the lines wants to see those of any level, and says by a method of its own what
// becomes of the others: the line of a session takes long to make.
func logs(log *slog.Logger, level slog.Level) bool {
	ctx := context.Background()
	if h, ok := log.Handler().(interface {
		Logs(ctx context.Context, level slog.Level) bool
	}); ok {
		return h.Logs(ctx, level)
	}
	return log.Enabled(ctx, level)
}

// letGo gives a user's place back.
func (srv *Server) letGo(b *Backend, hold uint64) {
	b.state.sessions.Add(-1)
	srv.deps.Placer.Release(hold)
}

// broken ends a session whose goroutine panicked.
func (s *session) broken() {
	s.mu.Lock()
	tag := s.tag
	s.mu.Unlock()
	f := fail(Internal, "panic")
	if tag == 0 {
		s.forgo()
		s.refused(f)
	} else if !s.srv.sessions.flows(tag) { // the engine has not taken it
		s.srv.forwarded(forward.Result{Tag: tag, End: forward.Killed, Err: f})
	} else {
		s.srv.sessions.kill(tag, f) // its end is accounted for as every other
		return
	}
	_ = s.raw.Close()
}

// refused accounts for a session that was never forwarded.
func (s *session) refused(f *Failure) {
	s.letGo()
	result := "refused"
	if f.Kind == ClientQuit || f.Kind == ClientGone || f.Kind == Challenge {
		result = "closed"
	}
	i, _ := s.shown()
	level, more := s.srv.level(f.Kind), []slog.Attr{
		slog.String("failure", f.Kind.String()), slog.String("phase", string(s.phase)),
		slog.Int("attempts", s.attempts),
	}
	if s.unsaid > 0 {
		more = append(more, slog.Int("unsaid", s.unsaid))
	}
	if code := kinds[f.Kind].event; code != "" && level == slog.LevelWarn { // once in a while
		more = append(more, slog.String("event", code))
	}
	if !s.quiet {
		s.srv.logSession(i, level, result, more, f.Err)
	}
	s.leave(f.Kind)
}

// leave takes a session that was never forwarded out of every count, last of
// all: a drain waits for it.
func (s *session) leave(k Kind) {
	if !s.left.CompareAndSwap(false, true) {
		return
	}
	s.b.stats.Ended[k].Add(1)
	s.b.stats.Open.Add(-1)
	s.srv.sessions.remove(s)
	s.cancel(nil)
}

// logSession writes the one line of a session.
func (srv *Server) logSession(i SessionInfo, level slog.Level, result string, more []slog.Attr, err error) {
	attrs := []slog.Attr{
		slog.String("session", i.ID), slog.String("listener", i.Listener), slog.String("proto", i.Protocol),
		slog.String("client", i.Client), slog.String("tls", i.TLS), slog.String("user", i.User),
		slog.String("mech", i.Mechanism), slog.String("pool", i.Pool), slog.String("backend", i.Backend),
		slog.String("why", i.Why), slog.String("result", result),
	}
	attrs = append(attrs, more...)
	attrs = append(attrs, slog.Duration("duration", time.Since(i.Since).Round(time.Millisecond)))
	if err != nil {
		attrs = append(attrs, slog.Any("err", err))
	}
	srv.log.LogAttrs(context.Background(), level, "session", attrs...)
}

// countLogin counts a login attempt and reports a refused one; f is nil for a
// successful one.
func (s *session) countLogin(f *Failure) {
	s.mu.Lock()
	login, at := s.login, s.backend
	s.mu.Unlock()
	counts := &s.b.stats.Logins[mechanismIndex(login.mechanism)]
	switch {
	case f == nil:
		counts[LoginOK].Add(1)
		if at != nil {
			at.state.logins.Add(1)
		}
		s.b.stats.LoginTime.Observe(time.Since(s.turn) - s.heldFor)
		return
	case f.Kind == AuthFailed:
		counts[LoginFailed].Add(1)
	default:
		counts[LoginError].Add(1)
	}
	if f.Kind == Guarded {
		var said bool
		if said, s.unsaid = s.srv.refusals.take(time.Now()); !said {
			s.quiet = true
			return
		}
	}
	if s.srv.deps.LoginFailed != nil {
		s.srv.deps.LoginFailed(FailedLogin{
			Time: time.Now(), Protocol: s.b.Protocol.Name(), User: login.user, Mechanism: login.mechanism,
			Client: s.client, Local: s.local, TLS: s.version != 0 || s.viaTLS, Session: s.id,
			Kind: f.Kind, Attempts: s.attempts, After: time.Since(s.started),
		})
	}
}

// Stats shows the counts of each listener there was since the start, by name.
func (srv *Server) Stats() map[string]*ListenerStats {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	out := make(map[string]*ListenerStats, len(srv.stats))
	maps.Copy(out, srv.stats)
	return out
}

// ListenerInfo is what is shown of a listener.
type ListenerInfo struct {
	Name     string `json:"name"`
	Address  string `json:"address"`
	Protocol string `json:"protocol"`
	TLS      string `json:"tls"`
	Pool     string `json:"pool"`
	Open     int64  `json:"open"`
	LoggedIn int64  `json:"logged_in"`
}

var tlsModeNames = [...]string{TLSNone: "none", TLSStart: "starttls", TLSImplicit: "implicit"}

// Listeners shows the open listeners, by name.
func (srv *Server) Listeners() []ListenerInfo {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	infos := make([]ListenerInfo, 0, len(srv.listeners))
	for _, l := range srv.listeners {
		b := l.binding.Load()
		infos = append(infos, ListenerInfo{
			Name: b.Name, Address: l.socket.Addr().String(), Protocol: b.Protocol.Name(), TLS: tlsModeNames[b.TLS],
			Pool: b.Pool, Open: b.stats.Open.Load(), LoggedIn: b.stats.LoggedIn.Load(),
		})
	}
	slices.SortFunc(infos, func(a, b ListenerInfo) int { return strings.Compare(a.Name, b.Name) })
	return infos
}

// BackendStats are counts of a back end since it was configured.
type BackendStats struct {
	Live            int
	Dials, Failures uint64
	Logins          uint64 // that it accepted
	DialTime        *Histogram
}

// Stats shows the counts of the back end.
func (b *Backend) Stats() BackendStats {
	return BackendStats{b.Live(), b.state.dials.Load(), b.state.failures.Load(), b.state.logins.Load(), &b.state.dialTime}
}
