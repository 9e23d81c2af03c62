package handshake

import (
	"bytes"
	"crypto/tls"
)

// Tickets are the keys that a server's session tickets are sealed with. crypto/tls
// makes and keeps them: a new one each day, none older than a week. Share one
// Tickets among all Configs that clients may meet, also with those of the next
// reload, or their sessions do not resume. The zero value is ready. It must not
// be copied.
type Tickets struct {
	keeper tls.Config
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
func noted(state *tls.SessionState) (secret []byte, found bool) {
	for _, e := range state.Extra {
		if secret, found = bytes.CutPrefix(e, entry); found {
			return secret, true
		}
	}
	return nil, false
}

// ticketing has a server's tickets sealed by the keeper's keys and carry what
// resumption needs. Secrets may be nil.
func (c *Config) ticketing(own *tls.Config, secrets *sink) {
	wrap, unwrap := own.WrapSession, own.UnwrapSession
	if wrap == nil {
		wrap = c.keeper.EncryptTicket
	}
	if unwrap == nil {
		unwrap = c.keeper.DecryptTicket
	}
	own.WrapSession, own.UnwrapSession = wrap, unwrap
	if secrets == nil {
		return
	}
	own.WrapSession = func(cs tls.ConnectionState, state *tls.SessionState) ([]byte, error) {
		if cs.Version == tls.VersionTLS12 {
			secrets.note(state)
		}
		return wrap(cs, state)
	}
	own.UnwrapSession = func(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		state, err := unwrap(ticket, cs)
		if err != nil || state == nil || cs.Version != tls.VersionTLS12 {
			return state, err
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
