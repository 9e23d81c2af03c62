package imap

import (
	"bytes"
	"fmt"

	"usher.example/sniff"
)

// A backState is where the conversation with a back end stands.
//
//	backGreeting --> backStartTLS --> backHandshake --> backSecured
//	    |                                                   |
//	    +-------------------> backCapability <--------------+
//	                               |
//	                           backLogin <--> backRespond
//	                               |
//	         backAfter (a login) or backSelect --> backLogout (a probe)
type backState uint8

const (
	backGreeting   backState = iota // for the greeting
	backStartTLS                    // for the answer to STARTTLS
	backHandshake                   // for the caller's Secured
	backSecured                     // to go on under TLS
	backCapability                  // for the capabilities before login
	backLogin                       // for the answer to the login
	backRespond                     // for the caller's Respond
	backAfter                       // for the capabilities after login
	backSelect                      // for the answer to a probe's SELECT
	backLogout                      // for the answer to a probe's LOGOUT
	backOver
)

// Our tags, one for each command, as Dovecot's proxy has them.
const (
	tagStartTLS   = "S"
	tagCapability = "C"
	tagID         = "I"
	tagLogin      = "L"
	tagSelect     = "M"
	tagLogout     = "Q"
)

// back is the client's side of IMAP up to the end of a login or a probe.
type back struct {
	o     sniff.BackOptions
	tls   bool
	state backState
	lines lineScanner

	caps  []string // before login, under the protection that the login will have
	found []string // of the newest untagged CAPABILITY; nil if there was none
	text  string   // of the OK to the login

	idOpen  bool     // the answer to ID is outstanding
	pending [][]byte // what goes out at each "+", in order
	relayed bool     // any further "+" is for the client
	data    []byte   // the last Challenge's; wiped by the next call

	untagged int  // lines that answer nothing
	skip     int  // octets of a literal still to be dropped
	behind   bool // the next line goes on behind a literal
}

// Back opens the back end's side.
func (Protocol) Back(o sniff.BackOptions) sniff.Back {
	b := &back{o: o, tls: o.TLS}
	if o.Probe == sniff.NoProbe { // a probe is there to ask
		b.caps = o.Capabilities
	}
	return b
}

// Start appends nothing: the server speaks first (RFC 9051 §7.1).
func (b *back) Start(dst []byte) []byte { return dst }

// Next takes one line of the back end's, or what there is of a literal.
func (b *back) Next(dst, in []byte) (int, []byte, sniff.Event, error) {
	clear(b.data)
	b.data = nil
	switch {
	case b.state == backSecured:
		dst, ev, err := b.proceed(dst)
		return 0, dst, ev, err
	case b.state == backHandshake, b.state == backRespond, b.state == backOver:
		return 0, dst, sniff.Event{}, nil
	case b.skip > 0:
		n := min(b.skip, len(in))
		b.skip -= n
		if n == 0 {
			return 0, dst, sniff.Event{}, nil
		}
		return n, dst, stepped, nil
	}
	limit := maxLine
	if b.state == backLogin && len(in) > 0 && in[0] == '+' {
		limit = sniff.MaxSASLLine
	}
	line, n, err := b.lines.next(in, limit)
	if err != nil {
		ev, err := b.quit(err)
		return 0, dst, ev, err
	}
	if n == 0 {
		return 0, dst, sniff.Event{}, nil
	}
	dst, ev, err := b.line(dst, line)
	return n, dst, ev, err
}

// line takes one line of the back end's (RFC 9051 §2.2.2).
func (b *back) line(dst, line []byte) ([]byte, sniff.Event, error) {
	untagged, isUntagged := bytes.CutPrefix(line, []byte("* "))
	switch {
	case b.behind:
		ev, err := b.dropped(line)
		return dst, ev, err
	case b.state == backGreeting && !isUntagged:
		ev, err := b.broken("greeting")
		return dst, ev, err
	case b.state == backGreeting:
		return b.greeting(dst, string(untagged))
	case isUntagged:
		ev, err := b.aside(string(untagged))
		return dst, ev, err
	case len(line) > 0 && line[0] == '+':
		return b.goOn(dst, line[1:])
	}
	return b.answer(dst, string(line))
}

// greeting takes the back end's first line. It is never shown to the client.
func (b *back) greeting(dst []byte, line string) ([]byte, sniff.Event, error) {
	status, text := cutWord(line)
	switch status {
	case "OK":
	case "BYE":
		return dst, b.bye(text), nil
	case "PREAUTH":
		ev, err := b.quit(ErrPreauth)
		return dst, ev, err
	default:
		ev, err := b.broken("greeting")
		return dst, ev, err
	}
	if r := parseText(text); r.code == "CAPABILITY" && b.o.Probe == sniff.NoProbe && !b.mustStartTLS() {
		b.caps = parseCapabilities(r.argument)
	}
	return b.proceed(dst)
}

// mustStartTLS tells whether nothing may be said before TLS.
func (b *back) mustStartTLS() bool { return b.o.StartTLS && !b.tls }

// proceed says what comes next before the login.
func (b *back) proceed(dst []byte) ([]byte, sniff.Event, error) {
	switch {
	case b.mustStartTLS():
		b.state = backStartTLS
		return append(dst, tagStartTLS+" STARTTLS\r\n"...), stepped, nil
	case b.caps == nil:
		b.state, b.found = backCapability, nil
		return append(dst, tagCapability+" CAPABILITY\r\n"...), stepped, nil
	case b.o.Login == nil || b.o.Probe == sniff.ProbeGreeting:
		return b.logout(dst)
	}
	return b.login(dst)
}

// login says ID, if the back end knows it and there is something to say, and
// begins the login in the same write, as Dovecot's proxy does (RFC 9051 §5.5).
func (b *back) login(dst []byte) ([]byte, sniff.Event, error) {
	if b.o.Login.Mechanism == sniff.ScramSHA1 || b.o.Login.Mechanism == sniff.ScramSHA256 {
		if sniff.ChannelBindingHint(b.o.Login.Initial) && has(b.caps, "AUTH="+string(b.o.Login.Mechanism)+"-PLUS") {
			return dst, b.refused(sniff.Refusal{
				Code: sniff.ContactAdmin,
				Text: "Channel binding does not work here, please choose another way to log in",
			}), nil
		}
	}
	a, err := b.attempt()
	if err != nil {
		ev, err := b.quit(err)
		return dst, ev, err
	}
	fields, err := b.idFields()
	if err != nil {
		ev, err := b.quit(err)
		return dst, ev, err
	}
	if len(fields) > 0 && has(b.caps, "ID") {
		b.idOpen = true
		dst = append(dst, tagID+" ID "...)
		dst = appendID(dst, fields)
		dst = append(dst, "\r\n"...)
	}
	dst = append(dst, a.line...)
	clear(a.line)
	b.state, b.found, b.pending = backLogin, nil, a.pending
	b.relayed = b.o.Login.Mechanism.Relayed()
	return dst, stepped, nil
}

// goOn takes a continuation: "+", with or without a space and a text behind it,
// for servers leave it out (RFC 3501 §7.5 wants the space).
func (b *back) goOn(dst, rest []byte) ([]byte, sniff.Event, error) {
	switch {
	case b.state != backLogin || b.idOpen:
	case len(b.pending) > 0:
		dst = append(dst, b.pending[0]...)
		clear(b.pending[0])
		b.pending = b.pending[1:]
		return dst, stepped, nil
	case b.relayed:
		msg, err := sniff.DecodeBase64(bytes.TrimPrefix(rest, []byte(" ")))
		if err != nil {
			ev, err := b.quit(fmt.Errorf("%w: challenge: %w", ErrReply, err))
			return dst, ev, err
		}
		b.state, b.data = backRespond, msg
		return dst, sniff.Event{Kind: sniff.Challenge, Data: msg}, nil
	}
	ev, err := b.broken("continuation")
	return dst, ev, err
}

// Respond appends the client's answer to a challenge; none is an empty line.
func (b *back) Respond(dst, data []byte) []byte {
	b.state = backLogin
	return append(sniff.AppendBase64(dst, data), "\r\n"...)
}

// Secured goes on under TLS. Nothing learnt before counts (RFC 9051 §6.2.1).
func (b *back) Secured() {
	b.tls, b.state, b.lines = true, backSecured, lineScanner{}
	b.caps, b.found = nil, nil
	if b.o.Probe == sniff.NoProbe {
		b.caps = b.o.Capabilities // known of this protection, not learnt here
	}
}

// logout ends a probe in good order, so that the back end's log stays quiet.
func (b *back) logout(dst []byte) ([]byte, sniff.Event, error) {
	b.state = backLogout
	return append(dst, tagLogout+" LOGOUT\r\n"...), stepped, nil
}

// end forgets what is secret.
func (b *back) end() {
	b.state = backOver
	for _, p := range b.pending {
		clear(p)
	}
	b.pending = nil
}

// accepted reports a good end.
func (b *back) accepted(a sniff.Acceptance) sniff.Event {
	b.end()
	return sniff.Event{Kind: sniff.Accepted, Accepted: &a}
}

// refused reports a no.
func (b *back) refused(r sniff.Refusal) sniff.Event {
	b.end()
	return sniff.Event{Kind: sniff.Refused, Refusal: &r}
}

// quit reports that there is no going on with this back end.
func (b *back) quit(err error) (sniff.Event, error) {
	b.end()
	return sniff.Event{Kind: sniff.Quit}, fmt.Errorf("speak to back end: %w", err)
}

// broken is quit for replies that do not belong where they stand. They are not
// quoted: a server may repeat a password in them.
func (b *back) broken(where string) (sniff.Event, error) {
	return b.quit(fmt.Errorf("%w: %s", ErrReply, where))
}
