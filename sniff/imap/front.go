package imap

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"usher.example/sniff"
)

// A frontState is where the conversation with a client stands (RFC 9051 §3.1:
// all of it is the not authenticated state).
//
//	frontReady --… {n}--> frontLiteral --n octets--> frontRest --CR LF--> frontReady
//	frontReady --AUTHENTICATE--> frontSASL --answers--> frontWaiting
//	frontReady --LOGIN--> frontWaiting --Refuse--> frontReady
//	frontWaiting --Challenge--> frontRelay --answer--> frontWaiting
type frontState uint8

const (
	frontReady   frontState = iota // for a command
	frontLiteral                   // in the middle of one: for the octets of a literal
	frontRest                      // for what stands behind a literal
	frontSASL                      // for the answer to a challenge of ours
	frontRelay                     // for the answer to a challenge of the back end
	frontWaiting                   // for the caller
	frontOver
)

// front is the server's side of IMAP before login.
type front struct {
	o      sniff.FrontOptions
	tls    bool
	peer   string // user of the client certificate
	state  frontState
	lines  lineScanner
	cmd    command
	need   int // frontLiteral: octets of it
	sasl   *sniff.Exchange
	data   []byte // the last Response's; wiped by the next call
	before sniff.Before

	mistakes, commands int
}

// Front opens the client's side.
func (Protocol) Front(o sniff.FrontOptions) sniff.Front {
	return &front{o: o, tls: o.TLS, peer: o.Peer}
}

// Start appends the greeting, with the capabilities in it (RFC 9051 §7.1.1), so
// that most clients need not ask. It names neither programme nor version.
func (f *front) Start(dst []byte) []byte {
	dst = append(dst, "* OK ["...)
	dst = f.appendCapabilities(dst)
	dst = append(dst, "] "...)
	if host := clean(f.o.Hostname); host != "" {
		dst = append(append(dst, host...), ' ')
	}
	return append(dst, "ready\r\n"...)
}

// Next takes one line or one literal of the client's.
func (f *front) Next(dst, in []byte) (int, []byte, sniff.Event, error) {
	clear(f.data)
	f.data = nil
	if f.state == frontWaiting || f.state == frontOver {
		return 0, dst, sniff.Event{}, nil
	}
	var (
		n   int
		ev  sniff.Event
		err error
	)
	if f.state == frontLiteral {
		if len(in) < f.need {
			return 0, dst, sniff.Event{}, nil
		}
		n = f.need
		dst, ev, err = f.literal(dst, in[:n])
		return n, dst, ev, err
	}
	line, n, err := f.lines.next(in, f.limit(in))
	if err != nil {
		text := "Line too long"
		if errors.Is(err, ErrOctet) {
			text = "Lines end in CR LF and hold no NUL"
		}
		dst = append(append(append(dst, "* BAD "...), text...), "\r\n"...)
		dst, ev, err = f.leave(dst, err)
		return 0, dst, ev, err
	}
	if n == 0 {
		return 0, dst, sniff.Event{}, nil
	}
	switch f.state {
	case frontSASL:
		dst, ev, err = f.answer(dst, line)
	case frontRelay:
		dst, ev, err = f.relay(dst, line)
	case frontRest:
		dst, ev, err = f.rest(dst, line)
	case frontReady, frontLiteral, frontWaiting, frontOver:
		dst, ev, err = f.command(dst, line)
	}
	return n, dst, ev, err
}

// limit returns how long the line may be that in begins with: lines that hold
// SASL messages may be longer than commands.
func (f *front) limit(in []byte) int {
	if f.state == frontSASL || f.state == frontRelay {
		return sniff.MaxSASLLine
	}
	const verb = " AUTHENTICATE "
	if f.state == frontReady {
		if tag := bytes.IndexByte(in[:min(len(in), maxTag+1)], ' '); tag > 0 && len(in) >= tag+len(verb) &&
			strings.EqualFold(string(in[tag:tag+len(verb)]), verb) {
			return sniff.MaxSASLLine
		}
	}
	return maxLine
}

// stepped is what the handlers return when nothing needs the caller.
var stepped = sniff.Event{Kind: sniff.Step}

// farewells are what a client that broke a rule is told at last. They hold
// nothing of his.
var farewells = map[error]string{
	ErrLine:     "Line too long",
	ErrOctet:    "Protocol error",
	ErrLiteral:  "Literal too long",
	ErrMistakes: "Too many bad commands",
	ErrCommands: "Too many commands before login",

	sniff.ErrProxyHeader: "Not a listed proxy",
}

// leave ends the conversation because the client broke a rule (RFC 9051 §7.1.5).
func (f *front) leave(dst []byte, err error) ([]byte, sniff.Event, error) {
	f.end()
	dst = append(dst, "* BYE "...)
	dst = append(dst, farewells[err]...)
	dst = append(dst, "\r\n"...)
	return dst, sniff.Event{Kind: sniff.Quit}, fmt.Errorf("read from client: %w", err)
}

func (f *front) end() {
	f.cmd.forget()
	f.state, f.sasl = frontOver, nil
}

// Secured forgets what was said in plaintext.
func (f *front) Secured(peer string) {
	f.tls, f.peer = true, peer
	f.before, f.sasl = sniff.Before{}, nil
	f.cmd.forget()
	f.state, f.lines = frontReady, lineScanner{}
}

// Challenge relays a SASL challenge.
func (f *front) Challenge(dst, data []byte) []byte {
	f.state = frontRelay
	return appendContinue(dst, data)
}

// Accept answers the login with OK. The back end's capabilities go into the
// answer (RFC 9051 §7.1), and untagged ahead of it if the client has asked for
// any before: such clients have been seen to ignore the code.
func (f *front) Accept(dst []byte, a *sniff.Acceptance) []byte {
	f.end()
	text := clean(a.Text)
	if text == "" || text[0] == '[' { // a response code of whoever
		text = "Logged in"
	}
	if a.Capabilities == nil {
		return appendTagged(dst, f.cmd.tag, "OK", text)
	}
	if f.before.AskedCapability {
		dst = append(dst, "* "...)
		dst = appendAfterLogin(dst, a.Capabilities)
		dst = append(dst, "\r\n"...)
	}
	code := appendAfterLogin([]byte("["), a.Capabilities)
	code = append(code, "] "...)
	return appendTagged(dst, f.cmd.tag, "OK", string(code)+text)
}

// Refuse answers the login with NO.
func (f *front) Refuse(dst []byte, r sniff.Refusal) []byte {
	f.state, f.sasl = frontReady, nil
	f.cmd.forget()
	return f.appendNo(dst, r)
}

// Goodbye says BYE; before Start that is the greeting (RFC 9051 §7.1.5).
func (f *front) Goodbye(dst []byte, r sniff.Refusal) []byte {
	f.end()
	dst = append(dst, "* BYE "...)
	_, dst = appendRefusal(dst, r)
	return append(dst, "\r\n"...)
}

// private tells whether secrets may be said on this connection.
func (f *front) private() bool { return f.tls || f.o.Plaintext }

// offers tells whether the client may use m here.
func (f *front) offers(m sniff.Mechanism) bool {
	return slices.Contains(f.o.Offer.Mechanisms, m) && (m != sniff.External || f.peer != "")
}

// forbidden tells why m may not be used, if so. An unprotected login is refused
// for that alone (RFC 9051 §6.2.3, RFC 8314 §3).
func (f *front) forbidden(m sniff.Mechanism) (sniff.Refusal, bool) {
	switch {
	case !f.private():
		return sniff.Refusal{Code: sniff.PrivacyNeeded}, true
	case !f.offers(m):
		return sniff.Refusal{Code: sniff.NotPermitted, Text: "Way to log in is not offered"}, true
	}
	return sniff.Refusal{}, false
}

// appendCapabilities appends what can be done before login: behaviour and list
// agree in every mode (Debian bug 500554 against perdition).
func (f *front) appendCapabilities(dst []byte) []byte {
	dst = append(dst, "CAPABILITY IMAP4rev1"...)
	for _, name := range f.o.Offer.Capabilities {
		if !strings.EqualFold(name, "IMAP4rev1") && isCapability(name) {
			dst = append(append(dst, ' '), name...)
		}
	}
	if f.o.StartTLS && !f.tls {
		dst = append(dst, " STARTTLS"...)
	}
	if _, no := f.forbidden(sniff.Command); no {
		dst = append(dst, " LOGINDISABLED"...)
	}
	for _, m := range f.o.Offer.Mechanisms {
		if m == sniff.Command { // never a bare LOGIN in the list
			continue
		}
		if _, no := f.forbidden(m); !no {
			dst = append(append(dst, " AUTH="...), m...)
		}
	}
	return dst
}
