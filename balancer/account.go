package balancer

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"net/netip"
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
	PhaseWait    Phase = "wait"    // pauses before another try
	PhaseForward Phase = "forward" // established
)

func (s *session) setPhase(p Phase) {
	s.mu.Lock()
	s.phase = p
	s.mu.Unlock()
}

// SessionInfo is what is shown of a session. Durations are in seconds.
type SessionInfo struct {
	ID        string    `json:"id"`
	Listener  string    `json:"listener"`
	Protocol  string    `json:"protocol"`
	Client    string    `json:"client"`
	TLS       string    `json:"tls,omitempty"`
	User      string    `json:"user,omitempty"`
	Mechanism string    `json:"mechanism,omitempty"`
	Pool      string    `json:"pool"`
	Backend   string    `json:"backend,omitempty"`
	Why       string    `json:"why,omitempty"`
	Phase     Phase     `json:"phase"`
	Path      string    `json:"path,omitempty"`
	Since     time.Time `json:"since"`
	Idle      float64   `json:"idle_seconds"`
	BytesIn   uint64    `json:"bytes_in"`
	BytesOut  uint64    `json:"bytes_out"`
}

func (s *session) info() SessionInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := SessionInfo{
		ID: s.id, Listener: s.b.Name, Protocol: s.b.Protocol.Name(), Client: s.client.String(), TLS: s.tlsName(),
		User: s.login.user, Mechanism: string(s.login.mechanism), Pool: s.b.pool.Name(), Why: s.why,
		Phase: s.phase, Since: s.started,
	}
	if s.backend != nil {
		i.Backend = s.backend.Name
	}
	if s.flow != nil {
		i.Path = s.flow.Path()
		i.BytesIn, i.BytesOut = s.flow.Bytes()
		i.Idle = s.flow.IdleFor().Seconds()
	}
	return i
}

// tlsName is called with mu held, or after the session's end.
func (s *session) tlsName() string {
	switch {
	case s.tlsVersion != "":
		return s.tlsVersion
	case s.viaTLS:
		return "proxy" // a trusted proxy has taken it off
	}
	return ""
}

// forwarded is called by the engine when both connections are closed.
func (s *session) forwarded(r forward.Result) {
	s.b.stats.LoggedIn.Add(-1)
	s.b.stats.Ends[r.End].Add(1)
	s.b.stats.BytesIn.Add(r.In)
	s.b.stats.BytesOut.Add(r.Out)
	reason := r.End.String()
	err := r.Err
	if f := s.killed(); r.End == forward.Killed && f != nil {
		reason, err = f.Kind.String(), f.Err
	}
	s.letGo()
	s.log(slog.LevelInfo, "ok", []slog.Attr{
		slog.String("end", reason), slog.String("path", r.Path),
		slog.Uint64("in", r.In), slog.Uint64("out", r.Out),
	}, err)
	s.leave(None)
}

// broken ends a session whose goroutine panicked.
func (s *session) broken(raw *net.TCPConn) {
	s.mu.Lock()
	flow := s.flow
	s.mu.Unlock()
	if flow != nil {
		flow.Kill() // its end is accounted for as every other
		return
	}
	s.refused(fail(Internal, "panic"))
	_ = raw.Close()
}

// killed is why the flow was killed, nil if it was not by us.
func (s *session) killed() *Failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dialogue != nil { // the end came before Adopt returned
		if s.abandoned != nil {
			return s.abandoned
		}
		if cause := context.Cause(s.ctx); cause != nil {
			return asFailure(cause)
		}
	}
	return s.ended
}

// refused accounts for a session that was never forwarded.
func (s *session) refused(f *Failure) {
	s.letGo()
	result := "refused"
	if f.Kind == ClientQuit || f.Kind == ClientGone {
		result = "closed"
	}
	s.log(s.srv.level(f.Kind), result, []slog.Attr{
		slog.String("failure", f.Kind.String()), slog.String("phase", string(s.phase)),
		slog.Int("attempts", s.attempts),
	}, f.Err)
	s.leave(f.Kind)
}

// leave takes the session out of every count, last of all: a drain waits for it.
func (s *session) leave(k Kind) {
	if !s.left.CompareAndSwap(false, true) {
		return
	}
	s.b.stats.Ended[k].Add(1)
	s.b.stats.Open.Add(-1)
	s.srv.sessions.remove(s)
	if k != None {
		s.cancel(nil) // adopt does it for those that were forwarded
	}
}

// log writes the one line of the session.
func (s *session) log(level slog.Level, result string, more []slog.Attr, err error) {
	i := s.info()
	attrs := []slog.Attr{
		slog.String("session", s.id), slog.String("listener", i.Listener), slog.String("proto", i.Protocol),
		slog.String("client", i.Client), slog.String("tls", i.TLS), slog.String("user", i.User),
		slog.String("mech", i.Mechanism), slog.String("pool", i.Pool), slog.String("backend", i.Backend),
		slog.String("why", i.Why), slog.String("result", result),
	}
	attrs = append(attrs, more...)
	attrs = append(attrs, slog.Duration("duration", time.Since(s.started).Round(time.Millisecond)))
	if err != nil {
		attrs = append(attrs, slog.Any("err", err))
	}
	s.srv.log.LogAttrs(context.Background(), level, "session", attrs...)
}

// countLogin counts a login attempt and reports a refused one; f is nil for a
// successful one.
func (s *session) countLogin(f *Failure) {
	s.mu.Lock()
	login := s.login
	s.mu.Unlock()
	counts := &s.b.stats.Logins[mechanismIndex(login.mechanism)]
	switch {
	case f == nil:
		counts[LoginOK].Add(1)
		s.b.stats.LoginTime.Observe(time.Since(s.turn))
		return
	case f.Kind == AuthFailed:
		counts[LoginFailed].Add(1)
	default:
		counts[LoginError].Add(1)
	}
	if s.srv.deps.LoginFailed != nil {
		s.srv.deps.LoginFailed(FailedLogin{
			Time: time.Now(), Protocol: s.b.Protocol.Name(), User: login.user, Mechanism: login.mechanism,
			Client: s.client, Local: s.local, TLS: s.tlsVersion != "" || s.viaTLS, Session: s.id,
			Kind: f.Kind, Attempts: s.attempts, After: time.Since(s.started),
		})
	}
}

// Sessions shows the sessions; user, if not empty, selects those of one user,
// in any spelling. They are in the order of their beginning.
func (srv *Server) Sessions(user string) []SessionInfo {
	var match func(*session) bool
	if user != "" {
		match = srv.ofUser(user)
	}
	sessions := srv.sessions.all(match)
	infos := make([]SessionInfo, len(sessions))
	for i, s := range sessions {
		infos[i] = s.info()
	}
	slices.SortFunc(infos, func(a, b SessionInfo) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return infos
}

func (srv *Server) ofUser(user string) func(*session) bool {
	key := srv.deps.Placer.Normal(user)
	return func(s *session) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.login.user != "" && s.login.key == key
	}
}

// Counts returns the number of sessions and of those not logged in.
func (srv *Server) Counts() (sessions, prelogin int) { return srv.sessions.counts() }

// KickUser ends the sessions of a user and returns their number.
func (srv *Server) KickUser(user, reason string) int {
	return kick(srv.sessions.all(srv.ofUser(user)), reason)
}

// KickSession ends the session of that id and returns how many that were.
func (srv *Server) KickSession(id, reason string) int {
	return kick(srv.sessions.all(func(s *session) bool { return s.id == id }), reason)
}

func kick(sessions []*session, reason string) int {
	for _, s := range sessions {
		s.stop(fail(Kicked, "%s", reason))
	}
	return len(sessions)
}

// LeaveBackend ends the connections to a back end, or only those of one user if
// user (in normal form) is not empty, and returns their number. Established
// sessions are closed; logins on their way ask for a new place. It does not
// wait.
func (srv *Server) LeaveBackend(pool, user, backend, reason string) int {
	sessions := srv.sessions.all(func(s *session) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.release != nil && s.backend != nil && s.backend.pool == pool && s.backend.Name == backend &&
			(user == "" || s.login.key == user)
	})
	for _, s := range sessions {
		s.abandon(reason)
	}
	return len(sessions)
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
	DialTime        *Histogram
}

// Stats shows the counts of the back end.
func (b *Backend) Stats() BackendStats {
	return BackendStats{b.Live(), b.state.dials.Load(), b.state.failures.Load(), &b.state.dialTime}
}

func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return unmap(t.AddrPort())
}
