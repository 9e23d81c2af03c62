package balancer

import (
	"crypto/x509"
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"usher.example/balancer/forward"
	"usher.example/balancer/handshake"
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
