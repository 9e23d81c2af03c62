package handshake

import (
	"crypto/tls"
	"errors"
	"slices"

	"usher.example/balancer/record"
)

// Options are what a tls.Config does not say.
type Options struct {
	// Tickets seal the session tickets of servers. Nil means that of the
	// tls.Config: keys set by SetSessionTicketKeys, else some that crypto/tls
	// makes, which are gone with the [Config].
	Tickets *Tickets
	// Copy leaves every session on crypto/tls, with [Configured] as its Reason.
	Copy bool
	// Stats counts handshakes, unless it is nil.
	Stats *Stats
}

// A Config is a tls.Config that handshakes can be done with: make one for each
// listener or back end, not for each connection. Any number of goroutines may
// use it.
type Config struct {
	base   *tls.Config // as the caller gave it; ticket keys may change inside
	server *tls.Config // base, with forClient before it
	keeper *tls.Config // whose keys seal tickets
	copy   bool
	stats  *Stats
	spoil  func(*wire) // tests break things by it
}

// Prepare makes a Config of cfg, which is copied: changes after the call have no
// effect. All callbacks of cfg go on working; for those of a server,
// ClientHelloInfo.Conn is a wrapper of the raw connection.
//
// A KeyLogWriter is ignored, in cfg and in what its GetConfigForClient returns:
// secrets leave this package by [Conn.Detach] or not at all. So is Renegotiation.
// Ticket keys of what GetConfigForClient returns are ignored in favour of cfg's
// or of Options.Tickets.
func Prepare(cfg *tls.Config, o Options) *Config {
	c := &Config{base: cfg.Clone(), copy: o.Copy, stats: o.Stats}
	c.base.KeyLogWriter = nil
	c.base.Renegotiation = tls.RenegotiateNever
	c.keeper = c.base
	if o.Tickets != nil {
		c.keeper = &o.Tickets.keeper
	}
	c.server = c.base.Clone()
	c.server.GetConfigForClient = c.forClient
	return c
}

// errForeign says that a prepared configuration was used by somebody else.
var errForeign = errors.New("handshake: connection is not ours")

// forClient makes the configuration of one connection: the caller's choice, with
// a key log for this connection alone. It is how a server finds the connection
// that a log belongs to.
func (c *Config) forClient(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	own := c.base
	if c.base.GetConfigForClient != nil {
		chosen, err := c.base.GetConfigForClient(hello)
		if err != nil {
			return nil, err
		}
		if chosen != nil {
			own = chosen
		}
	}
	own = own.Clone()
	own.GetConfigForClient = nil
	own.KeyLogWriter = nil
	// As crypto/tls has it: there are no ticket keys then.
	own.SessionTicketsDisabled = own.SessionTicketsDisabled || c.base.SessionTicketsDisabled
	var secrets *sink
	if c.uncovered() == Covered {
		w, ok := hello.Conn.(*wire)
		if !ok {
			return nil, errForeign
		}
		secrets = &w.secrets
		own.KeyLogWriter = secrets
	}
	c.ticketing(own, secrets)
	return own, nil
}

// asClient makes the configuration of one connection as a client.
func (c *Config) asClient(secrets *sink) *tls.Config {
	if secrets == nil {
		return c.base
	}
	own := c.base.Clone()
	own.KeyLogWriter = secrets
	if own.ClientSessionCache != nil {
		own.ClientSessionCache = &cache{own.ClientSessionCache, secrets}
	}
	return own
}

// covered says whether the record layer knows what was negotiated.
func covered(version, suite uint16) Reason {
	suites := record.Suites(version)
	if len(suites) == 0 {
		return Version
	}
	if slices.Contains(suites, record.Suite(suite)) {
		return Covered
	}
	return Suite
}
