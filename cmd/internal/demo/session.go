package demo

import (
	"crypto/tls"
	"fmt"

	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// clientField is the header field of a [welcome] that has the client's address
// and port, by which a client knows the mail of its own login.
const clientField = "X-Demo-Client"

// welcome is the mail that a back end delivers at each login. The name of its
// sender is the back end's.
const welcome = `From: %[1]s <postmaster@%[1]s.` + Domain + `>
To: <%[2]s>
Subject: You are on %[1]s
` + clientField + `: %[3]s
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii

This is %[1]s, one of the back ends behind usher.

You came from %[3]s %[4]s.
I know that from the PROXY header that usher sent ahead of your login.

The mail in here is the same on every back end: storage = "shared".
`

// A session is one connection on the back end's side.
type session struct {
	*imapmemserver.UserSession // nil before login

	backend string
	conn    *imapserver.Conn
	mail    storage
	seats   *seats
}

var _ imapserver.SessionIMAP4rev2 = (*session)(nil)

// Login implements imapserver.Session.
func (s *session) Login(name, password string) error {
	u, err := s.mail.login(name, password)
	if err != nil {
		return err
	}
	s.seats.take(s, name, s.backend)
	addr, how := s.client()
	if err := deliver(u, fmt.Sprintf(welcome, s.backend, name, addr, how)); err != nil {
		return err
	}
	s.UserSession = imapmemserver.NewUserSession(u)
	return nil
}

// Close implements imapserver.Session: the connection has ended.
func (s *session) Close() error {
	s.seats.leave(s)
	return s.UserSession.Close() // nil is fine
}

// client tells where the client came from and how, by the PROXY header alone.
func (s *session) client() (addr, how string) {
	addr, how = "nobody knows where", "without TLS"
	outer, ok := s.conn.NetConn().(*tls.Conn)
	if !ok {
		return addr, how
	}
	inner, ok := outer.NetConn().(*proxyproto.Conn)
	if !ok {
		return addr, how
	}
	h := inner.ProxyHeader()
	if h == nil || h.SourceAddr == nil {
		return addr, how
	}
	addr = h.SourceAddr.String()
	tlvs, err := h.TLVs()
	if err != nil {
		return addr, how
	}
	if ssl, ok := tlvparse.FindSSL(tlvs); ok && ssl.ClientSSL() {
		how = "by TLS"
		if version, ok := ssl.SSLVersion(); ok {
			how = "by " + version
		}
		if cipher, ok := ssl.SSLCipher(); ok {
			how += " with " + cipher
		}
	}
	return addr, how
}
