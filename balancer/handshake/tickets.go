package handshake

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"log/slog"
	"sync"
)

// Tickets are the keys that a server's session tickets are sealed with. crypto/tls
// makes and keeps them: a new one each day, none older than a week; until somebody
// brings others by [Tickets.Set]. Share one Tickets among all Configs that clients
// may meet, also with those of the next reload, or their sessions do not resume. The
// zero value is ready. It must not be copied. Any number of goroutines may use it.
type Tickets struct {
	keeper tls.Config

	mu  sync.Mutex        // guards set
	set [sha256.Size]byte // what was set last, without telling it
}

// A TicketKey is a secret of which the keys of tickets are made. It cannot be printed.
type TicketKey [32]byte

// String hides it, as does every other way to print it.
func (TicketKey) String() string { return "[redacted]" }

// GoString hides it.
func (TicketKey) GoString() string { return "[redacted]" }

// LogValue implements slog.LogValuer, and hides it.
func (TicketKey) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// Set has tickets sealed with the first of keys and opened with any of them, from the
// next handshake on; what is not among them opens nothing any more, keys of
// crypto/tls's own included. No keys change nothing. It says whether anything has
// changed.
//
// Keys are not kept here but in the form that crypto/tls derives of them. What it had
// before is left to the collector: nobody else can reach it, and so cannot wipe it. The
// caller wipes his own. crypto/tls resumes no session that is older than a week,
// whatever keys there are; to rotate them is the caller's part.
func (t *Tickets) Set(keys []TicketKey) (changed bool) {
	if len(keys) == 0 {
		return false
	}
	plain := make([][len(TicketKey{})]byte, len(keys))
	defer clear(plain)
	all := make([]byte, 0, len(keys)*len(TicketKey{}))
	for i, k := range keys {
		plain[i], all = k, append(all, k[:]...)
	}
	defer clear(all)
	sum := sha256.Sum256(all)
	t.mu.Lock()
	defer t.mu.Unlock()
	if sum == t.set {
		return false
	}
	t.set = sum
	t.keeper.SetSessionTicketKeys(plain)
	return true
}

// entry marks our part of a tls.SessionState's Extra. The master secret of TLS
// 1.2 follows it; in TLS 1.3 nothing does, as the key log is written then.
//
// A resumed session of TLS 1.2 has no line in the key log. What a ticket or a
// session cache keeps holds the master secret anyway, but in a form that only
// crypto/tls may read: so it is there twice, under the same protection.
var entry = []byte("usher/handshake/1 ")

// note writes to Extra what a later connection will need.
func (s *sink) note(state *tls.SessionState) {
	state.Extra = append(state.Extra, append(bytes.Clone(entry), s.of(master)...))
}

// noted reads it back.
func noted(state *tls.SessionState) (secret []byte, found bool) { return extra(state, entry) }

// extra finds what a mark is in front of.
func extra(state *tls.SessionState, mark []byte) (rest []byte, found bool) {
	for _, e := range state.Extra {
		if rest, found = bytes.CutPrefix(e, mark); found {
			return rest, true
		}
	}
	return nil, false
}

// ticketing has a server's tickets sealed by the keeper's keys, carry what resumption
// needs and be good where they were given out only (see circle). Secrets may be nil.
func (c *Config) ticketing(own *tls.Config, secrets *sink) {
	wrap, unwrap := own.WrapSession, own.UnwrapSession
	if wrap == nil {
		wrap = c.keeper.EncryptTicket
	}
	if unwrap == nil {
		unwrap = c.keeper.DecryptTicket
	}
	protocols, auth, authorities := own.NextProtos, own.ClientAuth, own.ClientCAs
	own.WrapSession = func(cs tls.ConnectionState, state *tls.SessionState) ([]byte, error) {
		state.EarlyData = false // there is none, and never will be by accident
		bind(state, circle(cs.ServerName, protocols, auth, authorities))
		if secrets != nil && cs.Version == tls.VersionTLS12 {
			secrets.note(state)
		}
		return wrap(cs, state)
	}
	own.UnwrapSession = func(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		state, err := unwrap(ticket, cs)
		if err != nil || state == nil {
			return state, err
		}
		if !bound(state, circle(cs.ServerName, protocols, auth, authorities)) {
			return nil, nil //nolint:nilnil // a full handshake: it was given out elsewhere
		}
		if secrets == nil || cs.Version != tls.VersionTLS12 {
			return state, nil
		}
		secret, _ := noted(state)
		if !secrets.put(master, secret) {
			return nil, nil //nolint:nilnil // a full handshake: the ticket is from a session on crypto/tls
		}
		return state, nil
	}
}

// A cache is a client's session cache as one connection sees it. Sessions that
// were not put there by a cache are not seen: of theirs we have no secret.
type cache struct {
	tls.ClientSessionCache
	secrets *sink
}

// Get implements tls.ClientSessionCache.
func (c *cache) Get(key string) (*tls.ClientSessionState, bool) {
	session, ok := c.ClientSessionCache.Get(key)
	if !ok {
		return nil, false
	}
	_, state, err := session.ResumptionState()
	if err != nil || state == nil {
		return nil, false
	}
	secret, found := noted(state)
	if !found {
		return nil, false
	}
	c.secrets.put(master, secret) // there is none in TLS 1.3
	return session, true
}

// Put implements tls.ClientSessionCache. The session is crypto/tls's newest, and
// nobody else's yet.
func (c *cache) Put(key string, session *tls.ClientSessionState) {
	if _, state, err := session.ResumptionState(); err == nil && state != nil {
		c.secrets.note(state)
	}
	c.ClientSessionCache.Put(key, session)
}
