package pop3

import (
	"bytes"
	"fmt"
	"strings"

	"usher.example/sniff"
)

// maxChallenges bounds a relayed exchange; SCRAM has two challenges.
const maxChallenges = 16

// credentials are what the back end checks.
type credentials struct {
	authz, user string
	password    sniff.Secret
}

// credentials are those of the login, or the master user's in his name.
func (b *back) credentials(l *sniff.Login) (credentials, error) {
	m := b.o.Master
	switch {
	case m == nil && l.Mechanism == sniff.External:
		return credentials{}, fmt.Errorf("%w: EXTERNAL needs a master user", ErrCannotCarry)
	case m == nil:
		c := credentials{authz: l.AuthzID, user: l.AuthID, password: l.Password}
		if c.authz == c.user {
			c.authz = ""
		}
		return c, nil
	case m.Separator != "":
		return credentials{user: l.User + m.Separator + m.User, password: m.Password}, nil
	}
	return credentials{authz: l.User, user: m.User, password: m.Password}, nil
}

// nul tells that no way is left: NUL parts the fields of PLAIN (RFC 4616 §2),
// and would make one field two.
func (c credentials) nul() bool {
	return strings.IndexByte(c.authz, 0) >= 0 || strings.IndexByte(c.user, 0) >= 0 || bytes.IndexByte(c.password, 0) >= 0
}

// onLine tells whether USER and PASS can say them at all.
func (c credentials) onLine() bool {
	return c.authz == "" && !strings.ContainsAny(c.user, "\r\n") && !bytes.ContainsAny(c.password, "\r\n")
}

// prefersSASL tells whether AUTH PLAIN is the safer way: the line would exceed
// 255 octets (RFC 2449 §4), is not ASCII (RFC 6856 §2.2), or holds spaces where
// some server could cut them.
func (c credentials) prefersSASL() bool {
	return !c.onLine() ||
		len("USER ")+len(c.user)+len("\r\n") > maxCommand ||
		len("PASS ")+len(c.password)+len("\r\n") > maxCommand ||
		!isPrintable(c.user) ||
		bytes.ContainsFunc(c.password, func(r rune) bool { return r < ' ' || r > '~' }) ||
		len(bytes.Trim(c.password, " ")) != len(c.password)
}

// login says the login.
func (b *back) login(dst []byte, l *sniff.Login) ([]byte, sniff.Event, error) {
	if l.Mechanism.Relayed() {
		return b.relay(dst, l)
	}
	c, err := b.credentials(l)
	if err != nil {
		return dst, step, err
	}
	if c.nul() {
		return dst, step, fmt.Errorf("%w: NUL", ErrCannotCarry)
	}
	plain := b.capa.sasl(string(sniff.Plain))
	listed := b.capa == nil || b.capa.has("USER")
	switch {
	case plain && (!listed || c.prefersSASL()):
		msg := make([]byte, 0, len(c.authz)+len(c.user)+len(c.password)+2) // RFC 4616 §2
		msg = append(append(msg, c.authz...), 0)
		msg = append(append(msg, c.user...), 0)
		msg = append(msg, c.password...)
		return b.auth(dst, sniff.Plain, msg), step, nil
	case !c.onLine():
		return dst, step, fmt.Errorf("%w: AUTH PLAIN is not listed", ErrCannotCarry)
	case !listed:
		return b.refuse(dst, &sniff.Refusal{Code: sniff.ServerBug, Text: "The back end takes no passwords on this connection."})
	}
	b.state = backUser
	return appendLine(dst, "USER ", c.user), step, nil
}

// relay opens the client's own exchange. A master user has no part in it:
// nobody has checked yet who the client is.
func (b *back) relay(dst []byte, l *sniff.Login) ([]byte, sniff.Event, error) {
	mech := string(l.Mechanism)
	if !b.capa.sasl(mech) {
		return b.refuse(dst, &sniff.Refusal{Code: sniff.NotPermitted, Text: "This mechanism is not available."})
	}
	// RFC 5802 §6: the back end would take us for an attacker who hid -PLUS.
	scram := l.Mechanism == sniff.ScramSHA1 || l.Mechanism == sniff.ScramSHA256
	if scram && sniff.ChannelBindingHint(l.Initial) && b.capa.sasl(mech+"-PLUS") {
		return b.refuse(dst, &sniff.Refusal{Code: sniff.NotPermitted, Text: "Use this mechanism without channel binding."})
	}
	b.relayed = true
	return b.auth(dst, l.Mechanism, bytes.Clone(l.Initial)), step, nil
}

// auth says AUTH with the first message in the same line, or, if that would
// exceed 255 octets, when the back end asks for it (RFC 5034 §4).
func (b *back) auth(dst []byte, m sniff.Mechanism, initial []byte) []byte {
	b.initial = initial
	prefix := "AUTH " + string(m)
	if len(prefix)+len(" \r\n")+(len(initial)+2)/3*4 > maxCommand {
		b.state = backAuth
		return appendLine(dst, prefix)
	}
	if len(initial) == 0 {
		b.afterInitial()
		return appendLine(dst, prefix, " =")
	}
	return b.appendInitial(dst, prefix+" ")
}

func (b *back) appendInitial(dst []byte, prefix string) []byte {
	dst = appendBase64(dst, prefix, b.initial)
	b.afterInitial()
	return dst
}

func (b *back) afterInitial() {
	clear(b.initial)
	b.initial = nil
	b.state = backVerdict
	if b.relayed {
		b.state = backRelay
	}
}

// loginLine takes the answer to a part of the login.
func (b *back) loginLine(dst []byte, word status, text []byte) ([]byte, sniff.Event, error) {
	switch {
	case word == negative && b.state == backAuth: // it lists the mechanism and refuses it
		return b.refuse(dst, fault(text, sniff.ServerBug))
	case word == negative: // without a code this is what older servers say to a wrong password
		return b.refuse(dst, refusal(text, sniff.AuthFailed))
	case b.state == backUser && word == positive:
		c, err := b.credentials(b.o.Login)
		if err != nil {
			return dst, step, err
		}
		b.state = backVerdict
		return append(append(append(dst, "PASS "...), c.password...), '\r', '\n'), step, nil
	case b.state == backAuth && word == goOn:
		return b.appendInitial(dst, ""), step, nil
	case b.state == backRelay && word == goOn:
		return b.challenge(dst, text)
	case (b.state == backVerdict || b.state == backRelay) && word == positive:
		_, words := cutCode(string(text))
		return b.accept(dst, clean(words))
	}
	return dst, step, b.unexpected()
}

// challenge hands a challenge on to the client.
func (b *back) challenge(dst, text []byte) ([]byte, sniff.Event, error) {
	if b.challenges++; b.challenges > maxChallenges {
		return dst, step, fmt.Errorf("%w to AUTH: more than %d challenges", ErrReply, maxChallenges)
	}
	data, err := sniff.DecodeBase64(text)
	if err != nil {
		return dst, step, fmt.Errorf("%w to AUTH: %w", ErrReply, err)
	}
	b.state = backAsked
	return dst, sniff.Event{Kind: sniff.Challenge, Data: data}, nil
}

func (b *back) Respond(dst, data []byte) []byte {
	b.state = backRelay
	return appendBase64(dst, "", data)
}
