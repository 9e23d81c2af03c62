package pop3

import (
	"bytes"
	"fmt"
	"strings"

	"usher.example/sniff"
)

const (
	// maxFaults is the number of bad commands at which we close: what nginx
	// has, and enough for a client that tries what we do not offer. Failed
	// logins are not counted here: their delay is the caller's affair.
	maxFaults = 5

	// maxLines bounds what a client may say before login; a client that
	// asks for all we have says some ten lines.
	maxLines = 1000
)

// A frontState is where the conversation with a client stands (RFC 1939 §4).
//
//	ready --AUTH mech----> sasl ---one line---> ready | waiting
//	ready --PASS---------> waiting --Refuse---> ready
//	waiting --Challenge--> relay --one line---> waiting
//	ready --STLS---------> tls ----Secured----> ready
type frontState uint8

const (
	frontReady   frontState = iota
	frontSASL               // an answer to a challenge of ours
	frontRelay              // an answer to a relayed challenge
	frontWaiting            // for Accept, Refuse or Challenge
	frontTLS                // for Secured
	frontOver
)

// front is the conversation with a client.
type front struct {
	o     sniff.FrontOptions
	tls   bool
	peer  string // user of the client's certificate
	state frontState

	user     string // of the last USER, not checked
	named    bool   // there was one
	exchange *sniff.Exchange
	before   sniff.Before

	lines, faults int
}

func (f *front) Start(dst []byte) []byte {
	tag := ""
	if f.o.Trusted {
		tag = "[XCLIENT] " // this is where Dovecot's proxies look for it
	}
	// No "<…>": it would offer APOP (RFC 1939 §7).
	host := strings.NewReplacer("<", "", ">", "").Replace(clean(f.o.Hostname))
	if host == "" {
		return appendLine(dst, "+OK ", tag, "POP3 ready")
	}
	return appendLine(dst, "+OK ", tag, host, " ready")
}

func (f *front) Next(dst, in []byte) (int, []byte, sniff.Event, error) {
	limit := sniff.MaxSASLLine
	switch f.state {
	case frontReady:
		limit = commandLimit(in)
	case frontSASL, frontRelay:
	case frontWaiting, frontTLS, frontOver:
		return 0, dst, sniff.Event{Kind: sniff.More}, nil
	}
	line, n, err := scan(in, limit)
	if err != nil {
		out, ev := f.quit(dst, "Malformed or overlong line.")
		return 0, out, ev, err
	}
	if n == 0 {
		return 0, dst, sniff.Event{Kind: sniff.More}, nil
	}
	if f.lines++; f.lines > maxLines {
		out, ev := f.quit(dst, "Too many commands.")
		return n, out, ev, fmt.Errorf("%w: %d lines", ErrBudget, maxLines)
	}
	var out []byte
	var ev sniff.Event
	switch f.state {
	case frontSASL:
		out, ev, err = f.saslLine(dst, line)
	case frontRelay:
		out, ev, err = f.relayLine(dst, line)
	default:
		if f.lines == 1 && sniff.IsProxyHeader(line) {
			out, ev = f.quit(dst, "Not a listed proxy.")
			return n, out, ev, fmt.Errorf("read from client: %w", sniff.ErrProxyHeader)
		}
		out, ev, err = f.command(dst, parseCommand(line))
	}
	return n, out, ev, err
}

func (f *front) command(dst []byte, c command) ([]byte, sniff.Event, error) {
	switch c.verb {
	case "USER":
		return f.cmdUser(dst, c)
	case "PASS":
		return f.cmdPass(dst, c)
	case "AUTH":
		return f.cmdAuth(dst, c)
	case "UTF8":
		return f.cmdUTF8(dst, c)
	case "LANG":
		return f.cmdLang(dst, c)
	case "XCLIENT":
		return f.cmdXCLIENT(dst, c)
	case "CAPA", "STLS", "QUIT":
		if !c.bare() {
			return f.fault(dst, sniff.BadProtocol, "This command has no argument.")
		}
	}
	switch c.verb {
	case "CAPA":
		return f.appendCapa(dst), step, nil
	case "STLS":
		return f.cmdSTLS(dst)
	case "QUIT":
		f.state = frontOver
		return appendLine(dst, "+OK Bye."), sniff.Event{Kind: sniff.Quit}, nil
	case "APOP": // RFC 1939 §7: optional, and not to be had without a timestamp
		return f.fault(dst, sniff.BadProtocol, "APOP is not available.")
	}
	// NOOP is among them: RFC 1939 §5 has it in the TRANSACTION state only.
	return f.fault(dst, sniff.BadProtocol, "Unknown command.")
}

var step = sniff.Event{Kind: sniff.Step}

// cmdSTLS is RFC 2595 §4. After UTF8 RFC 6856 §2.1 lets us refuse; we take it,
// and forget the UTF8 with the rest.
func (f *front) cmdSTLS(dst []byte) ([]byte, sniff.Event, error) {
	switch {
	case f.tls:
		return f.fault(dst, sniff.BadProtocol, "TLS is already on.")
	case !f.o.StartTLS:
		return f.fault(dst, sniff.BadProtocol, "STLS is not available.")
	}
	f.state = frontTLS
	return appendLine(dst, "+OK Begin TLS negotiation."), sniff.Event{Kind: sniff.StartTLS}, nil
}

func (f *front) Secured(peer string) {
	*f = front{o: f.o, tls: true, peer: peer, state: frontReady, lines: f.lines, faults: f.faults}
}

// cmdUser answers +OK whatever the name, so that it tells nothing of who exists
// (RFC 1939 §7 allows that). Where logins are not allowed it refuses, before
// there is a password to read.
func (f *front) cmdUser(dst []byte, c command) ([]byte, sniff.Event, error) {
	if !f.offers(sniff.Command) {
		return f.fault(dst, f.whyNot(), "")
	}
	if len(c.arg) == 0 {
		return f.fault(dst, sniff.BadProtocol, "USER needs a name.")
	}
	f.user, f.named = string(c.arg), true
	return appendLine(dst, "+OK Send the password."), step, nil
}

// cmdPass need not stand right behind USER, as RFC 1939 §7 has it: a CAPA in
// between does no harm.
func (f *front) cmdPass(dst []byte, c command) ([]byte, sniff.Event, error) {
	if !f.offers(sniff.Command) {
		return f.fault(dst, f.whyNot(), "")
	}
	if !f.named || !c.args {
		return f.fault(dst, sniff.BadProtocol, "USER with a name comes first, then PASS with the password.")
	}
	login := &sniff.Login{
		Mechanism: sniff.Command,
		User:      f.user,
		AuthID:    f.user,
		Password:  sniff.Secret(bytes.Clone(c.arg)),
		Before:    f.before,
	}
	f.user, f.named = "", false
	if login.Check() != nil { // nobody has that name
		login.Wipe()
		return f.fault(dst, sniff.AuthFailed, "")
	}
	f.state = frontWaiting
	return dst, sniff.Event{Kind: sniff.LoggingIn, Login: login}, nil
}

// whyNot says why a mechanism is refused.
func (f *front) whyNot() sniff.Code {
	if !f.tls && !f.o.Plaintext {
		return sniff.PrivacyNeeded
	}
	return sniff.NotPermitted
}

// cmdUTF8 is RFC 6856 §2.1: remembered, and said again to the back end.
func (f *front) cmdUTF8(dst []byte, c command) ([]byte, sniff.Event, error) {
	if !c.bare() || !f.listed("UTF8") {
		return f.fault(dst, sniff.BadProtocol, "UTF8 is not available.")
	}
	f.before.UTF8 = true
	return appendLine(dst, "+OK UTF8 enabled."), step, nil
}

// cmdLang is RFC 6856 §3.1: remembered, and said again to the back end. What
// languages there are only the back end knows, so we list none (an -ERR that
// the clause provides for). Until the login our language stays i-default, and
// that is the tag we answer with: no word of the client's is repeated.
func (f *front) cmdLang(dst []byte, c command) ([]byte, sniff.Event, error) {
	switch lang := string(bytes.Trim(c.arg, " ")); {
	case !f.listed("LANG"):
		return f.fault(dst, sniff.BadProtocol, "LANG is not available.")
	case lang == "":
		return appendLine(dst, "-ERR Languages can be listed after login only."), step, nil
	case !isLang(lang):
		return f.fault(dst, sniff.BadProtocol, "Not a language tag.")
	default:
		f.before.Lang = lang
		return appendLine(dst, "+OK i-default The language changes with the login."), step, nil
	}
}

// cmdXCLIENT takes a trusted proxy's word for who the client is.
func (f *front) cmdXCLIENT(dst []byte, c command) ([]byte, sniff.Event, error) {
	if !f.o.Trusted {
		return f.fault(dst, sniff.BadProtocol, "Unknown command.")
	}
	fields, ok := parseAnnouncement(string(c.arg))
	if !ok {
		return f.fault(dst, sniff.BadProtocol, "Invalid parameters.")
	}
	f.before.ID = fields
	return appendLine(dst, "+OK Updated."), step, nil
}

// fault answers a bad command, and ends the session at the last one allowed.
func (f *front) fault(dst []byte, code sniff.Code, text string) ([]byte, sniff.Event, error) {
	if f.faults++; f.faults >= maxFaults {
		out, ev := f.quit(dst, "Too many errors.")
		return out, ev, fmt.Errorf("%w: %d errors", ErrBudget, maxFaults)
	}
	return appendRefusal(dst, sniff.Refusal{Code: code, Text: text}), step, nil
}

// quit ends the session because of what the client did.
func (f *front) quit(dst []byte, text string) ([]byte, sniff.Event) {
	f.state = frontOver
	return appendRefusal(dst, sniff.Refusal{Code: sniff.BadProtocol, Text: text}), sniff.Event{Kind: sniff.Quit}
}

func (f *front) Accept(dst []byte, a *sniff.Acceptance) []byte {
	f.state = frontOver
	_, text := cutCode(a.Text)
	if text = clean(text); text == "" {
		text = "Logged in."
	}
	return appendLine(dst, "+OK ", text)
}

func (f *front) Refuse(dst []byte, r sniff.Refusal) []byte {
	f.state = frontReady
	f.exchange = nil
	return appendRefusal(dst, r)
}

// Goodbye before Start is a greeting that says no (RFC 1939 §4). To a client that
// is merely slow RFC 1939 §3 would have us say nothing; like Dovecot we tell him why.
func (f *front) Goodbye(dst []byte, r sniff.Refusal) []byte {
	f.state = frontOver
	return appendRefusal(dst, r)
}
