package balancer

import (
	"crypto/x509"
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"usher.example/balancer/forward"
	"usher.example/balancer/handshake"
	"usher.example/balancer/strand"
	"usher.example/sniff"
)

// certificateUser is the user a client certificate names: its first mail
// address (RFC 5280 §4.2.1.6), else its common name. Empty is no login.
func certificateUser(c *x509.Certificate) string {
	if len(c.EmailAddresses) > 0 {
		return c.EmailAddresses[0]
	}
	return c.Subject.CommonName
}

// detachBoth gives a pair the TLS of its sides. If crypto/tls has to stay on one,
// the other is not taken apart either: the engine that moves the bytes of the one
// has no record layer for the other.
func detachBoth(pair *forward.Pair, client, server *handshake.Conn, stats *handshake.Stats) *Failure {
	if stays(client) || stays(server) {
		hold(&pair.Client, client)
		hold(&pair.Server, server)
		switch {
		case pair.Client.Held != nil:
			stats.Hold(server.Reason())
		case pair.Server.Held != nil:
			stats.Hold(client.Reason())
		}
		return nil
	}
	ahead, err := detach(&pair.Client, client)
	if err != nil {
		return &Failure{Kind: ClientGone, Err: err}
	}
	pair.ToServer = append(pair.ToServer, ahead...) // behind what was read already
	if ahead, err = detach(&pair.Server, server); err != nil {
		pair.Client.Secured.Wipe()
		return &Failure{Kind: BackendGone, Err: err}
	}
	pair.ToClient = append(pair.ToClient, ahead...)
	return nil
}

// ordinary is the connection of package net that a strand's is since that has left.
func ordinary(raw handshake.Raw) forward.Raw {
	if c, ok := raw.(*strand.Conn); ok && c.Net() != nil {
		return c.Net()
	}
	return raw
}

func stays(c *handshake.Conn) bool { return c != nil && !c.Detachable() }

func hold(to *forward.Conn, c *handshake.Conn) {
	if c == nil {
		return
	}
	if to.TLS = c.TLS(); to.TLS == nil {
		to.Held = c
		c.Forget()
	}
}

// detach takes a session's TLS out of the connection that the login used, so
// that an engine can go on with it. It returns what was opened and not read.
// An error means that there is nothing to go on with: never that the session
// could go on in plaintext.
func detach(to *forward.Conn, c *handshake.Conn) ([]byte, error) {
	if c == nil {
		return nil, nil
	}
	state, ok := c.Detach()
	if !ok {
		if to.TLS = c.TLS(); to.TLS == nil {
			return nil, errDetach
		}
		return nil, nil
	}
	to.Secured = &forward.Secured{Reader: state.Reader, Writer: state.Writer, Ciphertext: state.Sealed, Closed: state.Closed}
	return state.Plain, nil
}

// errDetach means that a connection under TLS has failed since it was last used.
var errDetach = errors.New("TLS has failed")

// believe takes the client's address from what a trusted proxy, webmail for
// one, said by ID or XCLIENT. The front has dropped such fields of others.
func (s *session) believe(id []sniff.Field) {
	if !s.trusted {
		return
	}
	var ip, port string
	for _, f := range id {
		switch strings.ToLower(f.Key) {
		case "x-originating-ip":
			ip = f.Value
		case "x-originating-port":
			port = f.Value
		}
	}
	addr, err := netip.ParseAddr(ip)
	if err != nil || addr.Zone() != "" || addr.IsUnspecified() {
		return
	}
	n, _ := strconv.ParseUint(port, 10, 16) // unknown is 0
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client = netip.AddrPortFrom(addr.Unmap(), uint16(n))
}
