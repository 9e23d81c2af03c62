// Package sniff turns the start of a mail connection into a user's name, and
// that name into a login at a back end.
//
// A [Protocol] hands out conversations: a [Front] faces the client, a [Back]
// faces the mail server. Both are pure state machines; [Driver] runs one over
// an io.ReadWriter within a bound of memory.
//
// Laws, held by package snifftest: a conversation never blocks, never reads a
// clock, does no I/O, and gives the same answers however the network cuts its
// input. It never echoes a stranger's bytes except an IMAP tag whose syntax was
// checked. Secrets have the type [Secret], which cannot be printed.
package sniff

// A Kind says what one step of a conversation brought about.
type Kind uint8

// Kinds of Event.
const (
	// More: nothing to do until more input has come.
	More Kind = iota
	// Step: progress was made; call Next again with the rest of the input.
	Step
	// StartTLS: the answer in out ends the plaintext. The caller must have no
	// unread input left (the Driver sees to it), does the handshake and then
	// calls Secured.
	StartTLS
	// LoggingIn: Event.Login is set. The front waits for Accept, Refuse or
	// Challenge; it must not be given input before one of them was called.
	LoggingIn
	// Challenge: the back end asks; Event.Data is the decoded SASL message for
	// the client. The back waits for Respond.
	Challenge
	// Response: the client answered a relayed challenge; Event.Data is the
	// decoded SASL message for the back end. The front waits as for LoggingIn.
	Response
	// Cancelled: the client gave up a relayed exchange and was answered; the
	// front is ready for the next command.
	Cancelled
	// Accepted: the back end let the user in (or a probe succeeded);
	// Event.Accepted is set. All further input belongs to the client.
	Accepted
	// Refused: the back end said no; Event.Refusal is set.
	Refused
	// Quit: the conversation is over. With a nil error the peer asked for it,
	// otherwise it broke a rule; out holds the farewell either way.
	Quit
)

var kindNames = [...]string{
	"more", "step", "starttls", "login", "challenge", "response", "cancelled", "accepted", "refused", "quit",
}

// String returns the kind's name in lower case.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// An Event is what one step brought about; which fields are set depends on Kind.
type Event struct {
	Kind     Kind
	Login    *Login      // LoggingIn
	Data     []byte      // Challenge, Response: valid until the next call
	Accepted *Acceptance // Accepted
	Refusal  *Refusal    // Refused
}

// A Conversation is one side of a dialogue, as a pure state machine.
// It is used by one goroutine at a time.
type Conversation interface {
	// Start appends what this side says first.
	Start(dst []byte) []byte
	// Next takes one step: it consumes in[:n], appends the answer to dst and
	// reports what happened. With More, n is the part of in that it no longer
	// needs; the rest is offered again with more behind it. An error comes with
	// Quit only; out must be sent all the same.
	Next(dst, in []byte) (n int, out []byte, ev Event, err error)
}

// A Front is the conversation with a client, up to the end of his login.
type Front interface {
	Conversation
	// Secured tells that TLS is on: everything said in plaintext is forgotten
	// (RFC 9051 §6.2.1, RFC 2595 §4). peer is the user named by a verified
	// client certificate, or empty.
	Secured(peer string)
	// Challenge appends a relayed SASL challenge.
	Challenge(dst, data []byte) []byte
	// Accept appends the good answer to the login. Nothing may follow but
	// forwarded bytes.
	Accept(dst []byte, a *Acceptance) []byte
	// Refuse appends the bad answer; the client may go on with Next.
	Refuse(dst []byte, r Refusal) []byte
	// Goodbye appends what ends the connection at our wish. It may be called
	// in any state, also before Start.
	Goodbye(dst []byte, r Refusal) []byte
}

// A Back is the conversation with a back end, from its greeting to the end of
// the login (or of the probe).
type Back interface {
	Conversation
	// Secured tells that TLS is on; capabilities learnt before are forgotten.
	Secured()
	// Respond appends the client's answer to a relayed challenge.
	Respond(dst, data []byte) []byte
}

// A Protocol is all that usher knows of one mail protocol. Its methods may be
// called concurrently.
type Protocol interface {
	// Name is the protocol's name in configuration, logs and metrics.
	Name() string
	// ALPN is its application protocol id (RFC 7301), the one we agree to.
	ALPN() string
	// Front opens the client's side.
	Front(FrontOptions) Front
	// Back opens the back end's side.
	Back(BackOptions) Back
	// Offer says what may be offered before login, given the capabilities of
	// each back end of a pool as Acceptance.Capabilities reported them.
	// A nil element is a back end that is not known yet and does not count.
	Offer(backends [][]string) Offer
}
