package imap

import (
	"bytes"
	"errors"
	"strings"

	"usher.example/sniff"
)

// commands are those that may be said before login (RFC 9051 §6.1, §6.2, RFC
// 2971). ENABLE is not one of them (RFC 5161 §3.1).
var commands = []string{"CAPABILITY", "NOOP", "LOGOUT", "ID", "STARTTLS", "AUTHENTICATE", "LOGIN"}

// execute runs a command that was read to its end.
func (f *front) execute(dst []byte) ([]byte, sniff.Event, error) {
	switch f.cmd.verb {
	case "LOGIN":
		return f.login(dst)
	case "AUTHENTICATE":
		return f.authenticate(dst)
	case "ID":
		return f.id(dst)
	}
	if len(f.cmd.tokens) > 0 {
		return f.bad(dst, "No arguments are expected", nil)
	}
	switch f.cmd.verb {
	case "CAPABILITY":
		f.before.AskedCapability = true
		dst = append(dst, "* "...)
		dst = f.appendCapabilities(dst)
		dst = append(dst, "\r\n"...)
	case "LOGOUT":
		f.end()
		dst = append(dst, "* BYE Logging out\r\n"...)
		dst = appendTagged(dst, f.cmd.tag, "OK", "Logged out")
		return dst, sniff.Event{Kind: sniff.Quit}, nil
	case "STARTTLS": // RFC 9051 §6.2.1
		if f.tls || !f.o.StartTLS {
			return f.bad(dst, "STARTTLS is not available", nil)
		}
		f.state = frontWaiting
		dst = appendTagged(dst, f.cmd.tag, "OK", "Begin TLS negotiation now")
		return dst, sniff.Event{Kind: sniff.StartTLS}, nil
	}
	return f.done(dst)
}

// done answers a command with OK and goes on.
func (f *front) done(dst []byte) ([]byte, sniff.Event, error) {
	f.cmd.forget()
	f.state = frontReady
	return appendTagged(dst, f.cmd.tag, "OK", "Completed"), stepped, nil
}

// login is the LOGIN command (RFC 9051 §6.2.3).
func (f *front) login(dst []byte) ([]byte, sniff.Event, error) {
	args := f.cmd.tokens
	if len(args) != 2 || !args[0].isString() || !args[1].isString() {
		return f.bad(dst, "LOGIN takes a name and a password", nil)
	}
	name := string(args[0].text)
	l := &sniff.Login{
		Mechanism: sniff.Command,
		User:      name,
		AuthID:    name,
		Password:  sniff.Secret(bytes.Clone(args[1].text)),
	}
	return f.loggingIn(dst, l, l.Check())
}

// loggingIn hands over a login, or refuses one that can be nobody's in the same
// words as a wrong password.
func (f *front) loggingIn(dst []byte, l *sniff.Login, err error) ([]byte, sniff.Event, error) {
	f.cmd.forget()
	f.sasl = nil
	switch {
	case err == nil:
	case errors.Is(err, sniff.ErrUser):
		if l != nil {
			l.Wipe()
		}
		return f.Refuse(dst, sniff.Refusal{Code: sniff.AuthFailed}), stepped, nil
	default:
		if l != nil {
			l.Wipe()
		}
		return f.bad(dst, "Malformed credentials", nil)
	}
	l.Before = f.before
	f.state = frontWaiting
	return dst, sniff.Event{Kind: sniff.LoggingIn, Login: l}, nil
}

// authenticate is the AUTHENTICATE command (RFC 9051 §6.2.2). An initial
// response is an atom: quoted strings and literals are refused (RFC 4959 §3;
// Dovecot CVE-2025-59032).
func (f *front) authenticate(dst []byte) ([]byte, sniff.Event, error) {
	args := f.cmd.tokens
	if len(args) == 0 || len(args) > 2 || args[0].kind != atom || args[len(args)-1].kind != atom {
		return f.bad(dst, "AUTHENTICATE takes a mechanism and base64", nil)
	}
	// In upper case it cannot be sniff.Command, our own name for LOGIN.
	mech := sniff.Mechanism(strings.ToUpper(string(args[0].text)))
	if r, refused := f.forbidden(mech); refused {
		return f.no(dst, r, nil)
	}
	x, err := sniff.NewExchange(mech, f.peer)
	if err != nil {
		return f.no(dst, sniff.Refusal{Code: sniff.NotPermitted, Text: "Way to log in is not offered"}, nil)
	}
	f.sasl = x
	if len(args) == 1 {
		f.state = frontSASL
		return appendContinue(dst, x.Challenge()), stepped, nil
	}
	initial := args[1].text
	if string(initial) == "=" { // an empty message, as opposed to none (RFC 4959 §3)
		initial = nil
	}
	return f.message(dst, initial)
}

// answer takes a line that answers our challenge.
func (f *front) answer(dst, line []byte) ([]byte, sniff.Event, error) {
	if string(line) == "*" { // RFC 9051 §6.2.2: the client cancels
		f.state, f.sasl = frontReady, nil
		return appendTagged(dst, f.cmd.tag, "BAD", "Cancelled"), stepped, nil
	}
	return f.message(dst, line)
}

// message takes the client's next SASL message.
func (f *front) message(dst, encoded []byte) ([]byte, sniff.Event, error) {
	msg, err := sniff.DecodeBase64(encoded)
	if err != nil {
		f.sasl = nil
		return f.bad(dst, "Malformed base64", nil)
	}
	defer clear(msg)
	l, challenge, err := f.sasl.Respond(msg)
	if l == nil && err == nil {
		f.state = frontSASL
		return appendContinue(dst, challenge), stepped, nil
	}
	return f.loggingIn(dst, l, err)
}

// relay takes a line that answers the back end's challenge. An empty line is an
// empty message: so clients answer the error that XOAUTH2 puts into a challenge.
func (f *front) relay(dst, line []byte) ([]byte, sniff.Event, error) {
	if string(line) == "*" {
		f.state = frontReady
		return appendTagged(dst, f.cmd.tag, "BAD", "Cancelled"), sniff.Event{Kind: sniff.Cancelled}, nil
	}
	msg, err := sniff.DecodeBase64(line)
	if err != nil {
		dst, ev, err := f.bad(dst, "Malformed base64", nil)
		if err == nil {
			ev.Kind = sniff.Cancelled
		}
		return dst, ev, err
	}
	f.state, f.data = frontWaiting, msg
	return dst, sniff.Event{Kind: sniff.Response, Data: msg}, nil
}
