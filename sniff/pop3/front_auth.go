package pop3

import (
	"bytes"
	"errors"
	"strings"

	"usher.example/sniff"
)

// cmdAuth is AUTH mechanism [initial-response] (RFC 5034 §4).
func (f *front) cmdAuth(dst []byte, c command) ([]byte, sniff.Event, error) {
	name, initial, _ := bytes.Cut(c.arg, []byte(" "))
	if len(name) == 0 {
		return f.appendMechanisms(dst), step, nil
	}
	f.user, f.named = "", false
	mech := sniff.Mechanism(strings.ToUpper(string(name)))
	if mech == sniff.Command || !f.offers(mech) {
		return f.fault(dst, f.whyNot(), "")
	}
	x, err := sniff.NewExchange(mech, f.peer)
	if err != nil {
		return f.fault(dst, sniff.NotPermitted, "")
	}
	f.exchange = x
	switch string(initial) {
	case "": // nothing behind a space is nothing, as with Dovecot
		return f.challenge(dst, frontSASL, x.Challenge()), step, nil
	case "=": // RFC 5034 §4: an empty initial response
		return f.respond(dst, nil)
	}
	msg, err := sniff.DecodeBase64(initial)
	if err != nil {
		return f.fault(dst, sniff.BadProtocol, "Malformed base64.")
	}
	return f.respond(dst, msg)
}

// appendMechanisms answers an AUTH without mechanism, with which clients older
// than CAPA ask for a list (it never made it into an RFC; Outlook does it).
func (f *front) appendMechanisms(dst []byte) []byte {
	dst = appendLine(dst, "+OK Mechanism list follows.")
	for _, name := range f.saslNames() {
		dst = appendLine(dst, name)
	}
	return appendLine(dst, ".")
}

// challenge appends "+ " and the message, with the space even if it is empty
// (RFC 5034 §4).
func (f *front) challenge(dst []byte, next frontState, data []byte) []byte {
	f.state = next
	return appendBase64(dst, "+ ", data)
}

// saslLine takes the answer to a challenge of ours.
func (f *front) saslLine(dst, line []byte) ([]byte, sniff.Event, error) {
	f.state = frontReady
	if string(line) == "*" {
		return f.cancel(dst), step, nil
	}
	msg, err := sniff.DecodeBase64(line)
	if err != nil {
		return f.fault(dst, sniff.BadProtocol, "Malformed base64.")
	}
	return f.respond(dst, msg)
}

// respond gives a message to the exchange: a login comes out, or the next challenge.
func (f *front) respond(dst, msg []byte) ([]byte, sniff.Event, error) {
	login, challenge, err := f.exchange.Respond(msg)
	clear(msg) // the exchange has copied what it wants
	if err != nil {
		if login != nil {
			login.Wipe()
		}
		f.exchange = nil
		if errors.Is(err, sniff.ErrUser) { // nobody has that name
			return f.fault(dst, sniff.AuthFailed, "")
		}
		return f.fault(dst, sniff.BadProtocol, "Malformed SASL message.")
	}
	if login == nil {
		return f.challenge(dst, frontSASL, challenge), step, nil
	}
	login.Before = f.before
	f.exchange = nil
	f.state = frontWaiting
	return dst, sniff.Event{Kind: sniff.LoggingIn, Login: login}, nil
}

// cancel answers a "*" (RFC 5034 §4). It is no fault: some clients do so when
// their user closes the password window.
func (f *front) cancel(dst []byte) []byte {
	f.exchange = nil
	return appendLine(dst, "-ERR Authentication cancelled.")
}

func (f *front) Challenge(dst, data []byte) []byte { return f.challenge(dst, frontRelay, data) }

// relayLine takes the answer to a relayed challenge. Whatever is not one ends
// the exchange, and the caller must give the back end up.
func (f *front) relayLine(dst, line []byte) ([]byte, sniff.Event, error) {
	f.state = frontReady
	if string(line) == "*" {
		return f.cancel(dst), sniff.Event{Kind: sniff.Cancelled}, nil
	}
	msg, err := sniff.DecodeBase64(line)
	if err != nil {
		out, ev, err := f.fault(dst, sniff.BadProtocol, "Malformed base64.")
		if ev.Kind == sniff.Step {
			ev.Kind = sniff.Cancelled
		}
		return out, ev, err
	}
	f.state = frontWaiting
	return dst, sniff.Event{Kind: sniff.Response, Data: msg}, nil
}
