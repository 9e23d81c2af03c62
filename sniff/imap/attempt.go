package imap

import (
	"bytes"
	"fmt"
	"strings"

	"usher.example/sniff"
)

// An attempt is a login as it goes over the wire: a line, and what the back end
// asks for piece by piece after it. It is secret.
type attempt struct {
	line    []byte
	pending [][]byte
}

// credentials are whom a back end shall let in, and why.
type credentials struct {
	authz, authc string
	password     sniff.Secret
}

// attempt chooses the way to log in: that of the client if it is relayed, else
// AUTHENTICATE PLAIN, which can say everything, else LOGIN.
func (b *back) attempt() (attempt, error) {
	l := b.o.Login
	if l.Mechanism.Relayed() {
		if b.o.Master != nil { // nobody would have looked at the token
			return attempt{}, fmt.Errorf("%w: %s is checked by the back end only", ErrMaster, l.Mechanism)
		}
		if !has(b.caps, "AUTH="+string(l.Mechanism)) {
			return attempt{}, fmt.Errorf("%w: no %s", ErrMechanism, l.Mechanism)
		}
		return b.authenticate(l.Mechanism, l.Initial), nil
	}
	c, err := b.credentials()
	if err != nil {
		return attempt{}, err
	}
	if has(b.caps, "AUTH=PLAIN") {
		msg := make([]byte, 0, len(c.authz)+len(c.authc)+len(c.password)+2)
		msg = append(append(msg, c.authz...), 0)
		msg = append(append(msg, c.authc...), 0)
		msg = append(msg, c.password...)
		defer clear(msg)
		return b.authenticate(sniff.Plain, msg), nil
	}
	if c.authz != "" && c.authz != c.authc { // LOGIN has no room for it
		return attempt{}, fmt.Errorf("%w: an authorization identity needs PLAIN", ErrMechanism)
	}
	if has(b.caps, "LOGINDISABLED") { // RFC 9051 §6.2.3
		return attempt{}, fmt.Errorf("%w: neither PLAIN nor LOGIN", ErrMechanism)
	}
	return loginCommand(c), nil
}

// credentials returns what to log in with: the client's own, or the master's.
func (b *back) credentials() (credentials, error) {
	l, m := b.o.Login, b.o.Master
	if err := l.Check(); err != nil {
		return credentials{}, err
	}
	c := credentials{l.AuthzID, l.AuthID, l.Password}
	switch {
	case m == nil && l.Mechanism == sniff.External:
		return credentials{}, fmt.Errorf("%w: EXTERNAL brings no password", ErrMaster)
	case m == nil:
	case m.Separator == "":
		c = credentials{l.User, m.User, m.Password}
	case strings.Contains(l.User, m.Separator):
		// The back end would cut the name somewhere else than we mean.
		return credentials{}, fmt.Errorf("%w: separator inside the user's name", ErrMaster)
	default:
		c = credentials{"", l.User + m.Separator + m.User, m.Password}
	}
	if strings.IndexByte(c.authc, 0) >= 0 || bytes.IndexByte(c.password, 0) >= 0 {
		return credentials{}, fmt.Errorf("%w: NUL", ErrMaster)
	}
	return c, nil
}

// authenticate makes an AUTHENTICATE command, with an initial response where the
// back end takes one and the line does not get longer than a command may be
// (RFC 4959 §3).
func (b *back) authenticate(m sniff.Mechanism, msg []byte) attempt {
	line := append([]byte(tagLogin+" AUTHENTICATE "), m...)
	encoded := sniff.AppendBase64(make([]byte, 0, len(msg)/3*4+8), msg)
	if !has(b.caps, "SASL-IR") || len(line)+len(" \r\n")+len(encoded) > maxLine {
		return attempt{append(line, "\r\n"...), [][]byte{append(encoded, "\r\n"...)}}
	}
	defer clear(encoded)
	if len(encoded) == 0 {
		encoded = append(encoded, '=')
	}
	whole := make([]byte, 0, len(line)+len(encoded)+3)
	whole = append(append(whole, line...), ' ')
	whole = append(append(whole, encoded...), "\r\n"...)
	return attempt{line: whole}
}

// loginCommand makes a LOGIN command. Literals wait for the back end's "+": that
// works with and without LITERAL+.
func loginCommand(c credentials) attempt {
	parts := [][]byte{[]byte(tagLogin + " LOGIN ")}
	for i, arg := range [][]byte{[]byte(c.authc), c.password} {
		last := len(parts) - 1
		if i > 0 {
			parts[last] = append(parts[last], ' ')
		}
		if quotable(arg) {
			parts[last] = appendQuoted(parts[last], arg)
			continue
		}
		parts[last] = fmt.Appendf(parts[last], "{%d}\r\n", len(arg))
		parts = append(parts, bytes.Clone(arg))
	}
	last := len(parts) - 1
	parts[last] = append(parts[last], "\r\n"...)
	return attempt{parts[0], parts[1:]}
}

// quotable tells whether arg may be a quoted string to any server: 7-bit
// (RFC 3501 §9; RFC 6855 §5 bars 8-bit from LOGIN), no controls, not long.
func quotable(arg []byte) bool {
	if len(arg) > maxQuoted {
		return false
	}
	for _, c := range arg {
		if c < ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}
