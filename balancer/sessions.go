package balancer

import (
	"slices"
	"strings"
	"time"
)

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

// shown shows a session on its way to the adoption; false means that it is
// established by now.
func (s *session) shown() (SessionInfo, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := SessionInfo{
		ID: s.id, Listener: s.b.Name, Protocol: s.b.Protocol.Name(), Client: s.client.String(), TLS: tlsName(s.version, s.viaTLS),
		User: s.login.user, Mechanism: string(s.login.mechanism), Pool: s.b.pool.Name(), Why: s.why,
		Phase: s.phase, Since: s.started,
	}
	if s.backend != nil {
		i.Backend = s.backend.Name
	}
	return i, s.tag == 0
}

// info shows an established session.
func (e *entry) info(user string) SessionInfo {
	i := SessionInfo{
		ID: idText(e.id), Listener: e.b.Name, Protocol: e.b.Protocol.Name(), Client: e.client().String(),
		TLS: tlsName(e.version, e.flags&viaTLS != 0), User: user, Mechanism: string(mechanisms[e.mech]), Pool: e.b.pool.Name(),
		Backend: e.backend.Name, Why: e.why.Value(), Phase: PhaseForward, Path: e.flow.Path(),
		Since: epoch.Add(time.Duration(e.started)), Idle: e.flow.IdleFor().Seconds(),
	}
	i.BytesIn, i.BytesOut = e.flow.Bytes()
	return i
}

func tlsName(version uint16, viaTLS bool) string {
	if version == 0 && viaTLS {
		return "proxy" // a trusted proxy has taken it off
	}
	return tlsVersion(version)
}

// Sessions shows the sessions; user, if not empty, selects those of one user,
// in any spelling. They are in the order of their beginning.
func (srv *Server) Sessions(user string) []SessionInfo {
	early, established := srv.everybody()
	if user != "" {
		early, established = srv.ofUser(srv.deps.Placer.Normal(user))
	}
	infos := []SessionInfo{}
	at := make(map[string]int) // who is seen on his way may be seen once more as established
	for _, s := range srv.sessions.all(early) {
		if i, ok := s.shown(); ok {
			at[i.ID] = len(infos)
			infos = append(infos, i)
		}
	}
	established(func(_ uint64, e *entry, user string) {
		i := e.info(user)
		if was, ok := at[i.ID]; ok {
			infos[was] = i
			return
		}
		infos = append(infos, i)
	})
	slices.SortFunc(infos, func(a, b SessionInfo) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return infos
}

// A search calls a function with each established session that it finds.
type search func(found func(tag uint64, e *entry, user string))

// everybody finds all sessions, on their way to the adoption and established.
func (srv *Server) everybody() (func(*session) bool, search) {
	return nil, func(found func(uint64, *entry, string)) { srv.sessions.each(nil, found) }
}

// ofUser finds the sessions of a user, whose name is in normal form. An entry has
// only the hash of that; the few that share it are looked at closely.
func (srv *Server) ofUser(normal string) (func(*session) bool, search) {
	hash := hashName(normal)
	early := func(s *session) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.login.user != "" && s.login.key == normal
	}
	return early, func(found func(uint64, *entry, string)) {
		srv.sessions.each(func(e *entry) bool { return e.user == hash }, func(tag uint64, e *entry, user string) {
			if srv.deps.Placer.Normal(user) == normal {
				found(tag, e, user)
			}
		})
	}
}

// Counts returns the number of sessions and of those not logged in.
func (srv *Server) Counts() (sessions, prelogin int) { return srv.sessions.counts() }

// KickUser ends the sessions of a user and returns their number.
func (srv *Server) KickUser(user, reason string) int {
	early, established := srv.ofUser(srv.deps.Placer.Normal(user))
	return srv.kick(early, established, fail(Kicked, "%s", reason))
}

// KickSession ends the session of that id and returns how many that were.
func (srv *Server) KickSession(id, reason string) int {
	early := func(s *session) bool { return s.id == id }
	established := func(found func(uint64, *entry, string)) {
		srv.sessions.each(func(e *entry) bool { return idText(e.id) == id }, found)
	}
	return srv.kick(early, established, fail(Kicked, "%s", reason))
}

// kick ends sessions. One that becomes established meanwhile is found there.
func (srv *Server) kick(early func(*session) bool, established search, f *Failure) int {
	n := 0
	for _, s := range srv.sessions.all(early) {
		if s.stop(f) {
			n++
		}
	}
	established(func(tag uint64, _ *entry, _ string) {
		if srv.sessions.kill(tag, f) {
			n++
		}
	})
	return n
}

// LeaveBackend ends the connections to a back end, or only those of one user if
// user (in normal form) is not empty, and returns their number. Established
// sessions are closed; logins on their way ask for a new place. It does not
// wait.
func (srv *Server) LeaveBackend(pool, user, backend, reason string) int {
	_, established := srv.everybody()
	if user != "" {
		_, established = srv.ofUser(user)
	}
	n := 0
	for _, s := range srv.sessions.all(func(s *session) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.held && s.backend.is(pool, backend) && (user == "" || s.login.key == user)
	}) {
		if s.abandon(reason) {
			n++
		}
	}
	established(func(tag uint64, e *entry, _ string) {
		if e.flags&held != 0 && e.backend.is(pool, backend) && srv.sessions.kill(tag, fail(Kicked, "%s", reason)) {
			n++
		}
	})
	return n
}

// is tells whether b, which may be nil, goes by that name.
func (b *Backend) is(pool, name string) bool { return b != nil && b.pool == pool && b.Name == name }

// LeaveHolds ends the connections of some holds of places and returns their
// number. Established sessions are closed; logins on their way ask for a new
// place. It does not wait.
func (srv *Server) LeaveHolds(holds []uint64, reason string) int {
	leaving := make(map[uint64]bool, len(holds))
	for _, h := range holds {
		leaving[h] = true
	}
	n := 0
	for _, s := range srv.sessions.all(func(s *session) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.held && leaving[s.hold]
	}) {
		if s.abandon(reason) {
			n++
		}
	}
	srv.sessions.each(func(e *entry) bool { return e.flags&held != 0 && leaving[e.hold] }, func(tag uint64, _ *entry, _ string) {
		if srv.sessions.kill(tag, fail(Kicked, "%s", reason)) {
			n++
		}
	})
	return n
}
