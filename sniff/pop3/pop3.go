// Package pop3 reads a POP3 login from a client and replays it to a back end:
// RFC 1939 with RFC 2449 (CAPA), 2595 (STLS), 3206 (response codes), 5034 (AUTH)
// and 6856 (UTF8, LANG).
//
// It ends with the AUTHORIZATION state (RFC 1939 §4): of the mailbox it knows
// nothing, and no conversation here ever opens one but by a login.
//
// Laws, beside those of package sniff:
//   - No APOP timestamp in the greeting: APOP hashes the banner of the server
//     that greets, so its answer is worth nothing at any other (RFC 1939 §7).
//   - Lines end in CRLF. A bare CR, a bare LF or a NUL ends the session: two
//     readers could see two different lines in it.
//   - A refusal that is not about the credentials never carries [AUTH], so that
//     no client throws a password away over a fault of ours (RFC 3206 §4).
//   - A back end's words reach the client only as the text of one reply, cleaned
//     and bounded; and never the text of a failed authentication.
package pop3

import (
	"errors"

	"usher.example/sniff"
)

// Errors that end a conversation. Their texts hold nothing that could be a
// password; of a back end only its greeting is quoted.
var (
	// ErrLine: a line holds a bare CR, a bare LF or a NUL.
	ErrLine = errors.New("malformed line")
	// ErrBudget: a client used up the commands or the errors that we allow
	// before a login.
	ErrBudget = errors.New("too many commands or errors before login")
	// ErrGreeting: a back end greets with what is not POP3.
	ErrGreeting = errors.New("not a POP3 greeting")
	// ErrSTLS: TLS was wanted, the back end refused it.
	ErrSTLS = errors.New("back end refuses STLS")
	// ErrReply: a back end answers with what cannot be the answer.
	ErrReply = errors.New("unexpected reply")
	// ErrCannotCarry: neither USER and PASS nor a mechanism of the back end
	// can say these credentials.
	ErrCannotCarry = errors.New("credentials cannot be said to the back end")
	// ErrNoLogin: neither a login nor a probe was asked for; a bug of the caller.
	ErrNoLogin = errors.New("no login to replay")
)

// Protocol is POP3. Its zero value is ready to use.
type Protocol struct{}

var _ sniff.Protocol = Protocol{}

// Name returns "pop3".
func (Protocol) Name() string { return "pop3" }

// ALPN returns "pop3", as registered for RFC 7301.
func (Protocol) ALPN() string { return "pop3" }

// Front opens the client's side.
func (Protocol) Front(o sniff.FrontOptions) sniff.Front {
	return &front{o: o, tls: o.TLS, peer: o.Peer}
}

// Back opens the back end's side.
func (Protocol) Back(o sniff.BackOptions) sniff.Back {
	return &back{o: o, secured: o.TLS, capa: parseCapabilities(o.Capabilities)}
}
