package pop3

import (
	"fmt"
	"strings"

	"usher.example/sniff"
)

// A backState is where the conversation with a back end stands. The states up
// to backLang are gone through in this order; those that are not needed
// are left out.
//
//	greeting - stls - tls - capa - list - xclient - utf8 - lang
//	lang --- user --- pass ------------------------> over
//	lang --- auth --- verdict | relay <-> asked ---> over
//
// A probe says QUIT in the end and waits for the answer, so that no mailbox
// stays locked behind it (RFC 1939 §6).
type backState uint8

const (
	backGreeting backState = iota
	backSTLS               // for the answer to STLS
	backTLS                // for Secured
	backSecured            // TLS is on, nothing said yet
	backCapa               // for the first line of the answer to CAPA
	backList               // for the others
	backXCLIENT
	backUTF8
	backLang
	backUser    // for the answer to USER
	backAuth    // for the "+" on which the first SASL message goes out
	backVerdict // for the answer to PASS, or to a password in SASL
	backRelay   // for a challenge or the verdict
	backAsked   // for Respond
	backQuit    // for the answer to QUIT
	backOver
)

// waits names what a state waits for, in errors.
var waits = map[backState]string{
	backSTLS: "STLS", backCapa: "CAPA", backList: "CAPA", backXCLIENT: "XCLIENT", backUTF8: "UTF8", backLang: "LANG",
	backUser: "USER", backAuth: "AUTH", backVerdict: "the login", backRelay: "AUTH",
}

// back is the conversation with a back end.
type back struct {
	o       sniff.BackOptions
	state   backState
	secured bool         // under TLS
	taken   bool         // by STLS: the greeting came in plaintext
	xclient bool         // the greeting lists it
	capa    capabilities // nil if not known
	lines   []string     // the same as they came

	initial    []byte // SASL message that waits for its "+"
	relayed    bool   // the exchange is the client's own
	challenges int
	verdict    *sniff.Acceptance // of a probe, until QUIT is answered
}

func (b *back) Start(dst []byte) []byte { return dst }

func (b *back) Next(dst, in []byte) (int, []byte, sniff.Event, error) {
	limit := maxReply
	switch b.state {
	case backTLS, backAsked, backOver:
		return 0, dst, sniff.Event{Kind: sniff.More}, nil
	case backSecured:
		out, ev, err := b.proceed(dst, backCapa)
		return 0, out, ev, err
	case backRelay:
		limit = sniff.MaxSASLLine
	default:
	}
	line, n, err := scan(in, limit)
	if err != nil {
		b.end()
		return 0, dst, sniff.Event{Kind: sniff.Quit}, fmt.Errorf("read the back end: %w", err)
	}
	if n == 0 {
		return 0, dst, sniff.Event{Kind: sniff.More}, nil
	}
	out, ev, err := b.line(dst, line)
	if err != nil {
		b.end()
		return n, out, sniff.Event{Kind: sniff.Quit}, err
	}
	return n, out, ev, nil
}

// line takes one line of the back end.
func (b *back) line(dst, line []byte) ([]byte, sniff.Event, error) {
	if b.state == backList {
		return b.listLine(dst, line)
	}
	word, text := parseReply(line)
	if word == garbage {
		if b.state == backGreeting {
			return dst, step, fmt.Errorf("%w: %q", ErrGreeting, line[:min(len(line), 80)])
		}
		if b.state != backQuit {
			return dst, step, b.unexpected()
		}
	}
	switch b.state {
	case backGreeting:
		return b.greeting(dst, word, text)
	case backSTLS:
		if word != positive {
			return dst, step, ErrSTLS
		}
		b.state = backTLS
		return dst, sniff.Event{Kind: sniff.StartTLS}, nil
	case backCapa:
		if word == negative { // a server older than RFC 2449
			b.learn(byRFC1939())
			return b.proceed(dst, backXCLIENT)
		}
		if word == positive {
			b.state = backList
			return dst, step, nil
		}
	case backXCLIENT, backUTF8, backLang:
		return b.replayed(dst, word, text)
	case backUser, backAuth, backVerdict, backRelay:
		return b.loginLine(dst, word, text)
	case backQuit: // whatever it says, the probe has what it wanted
		b.end()
		return dst, sniff.Event{Kind: sniff.Accepted, Accepted: b.verdict}, nil
	default:
	}
	return dst, step, b.unexpected()
}

func (b *back) unexpected() error { return fmt.Errorf("%w to %s", ErrReply, waits[b.state]) }

func (b *back) greeting(dst []byte, word status, text []byte) ([]byte, sniff.Event, error) {
	switch word {
	case positive:
		code, _ := cutCode(string(text))
		b.xclient = code == "XCLIENT"
		return b.proceed(dst, backSTLS)
	case negative: // RFC 1939 §4: it will not serve us
		return b.refuse(dst, fault(text, sniff.Unavailable))
	default:
		return dst, step, ErrGreeting
	}
}

// Secured forgets the greeting and the capabilities learnt in plaintext; those
// that the caller brought are of TLS, as BackOptions says.
func (b *back) Secured() {
	b.secured, b.taken, b.xclient = true, true, false
	b.state = backSecured
}

// proceed says the next thing that is to be said, beginning with what state s
// waits for.
func (b *back) proceed(dst []byte, s backState) ([]byte, sniff.Event, error) {
	if s <= backSTLS && b.o.StartTLS && !b.secured {
		b.state = backSTLS
		return appendLine(dst, "STLS"), step, nil // RFC 2595 §4
	}
	if s <= backCapa && b.needsCapabilities() {
		b.state, b.lines = backCapa, []string{}
		return appendLine(dst, "CAPA"), step, nil
	}
	if s <= backXCLIENT && b.announces() {
		b.state = backXCLIENT
		return appendAnnouncement(dst, b.o.Announce), step, nil
	}
	if l := b.o.Login; l != nil && b.o.Probe != sniff.ProbeGreeting {
		if s <= backUTF8 && l.Before.UTF8 {
			b.state = backUTF8
			return appendLine(dst, "UTF8"), step, nil
		}
		if s <= backLang && isLang(l.Before.Lang) {
			b.state = backLang
			return appendLine(dst, "LANG ", l.Before.Lang), step, nil
		}
		return b.login(dst, l)
	}
	if b.o.Probe == sniff.ProbeGreeting {
		return b.accept(dst, "")
	}
	return dst, step, ErrNoLogin
}

// needsCapabilities tells whether to ask: for a probe, or if nobody told us and
// the way of the login depends on it. In plaintext it does always: a back end
// that takes no passwords there says so in CAPA (no USER), but answers a USER
// with what looks like a wrong password.
func (b *back) needsCapabilities() bool {
	switch {
	case b.o.Probe != sniff.NoProbe:
		return true
	case b.capa != nil:
		return false
	case !b.secured, b.o.Announce.Form != sniff.AnnounceNothing && !b.xclient && !b.taken:
		return true
	}
	l := b.o.Login
	if l == nil {
		return false
	}
	c, err := b.credentials(l)
	return l.Mechanism.Relayed() || err == nil && c.prefersSASL()
}

// listLine takes a line of the answer to CAPA, up to the dot (RFC 2449 §5). A
// line that is not of printable ASCII and spaces is no capability.
func (b *back) listLine(dst, line []byte) ([]byte, sniff.Event, error) {
	text := string(line)
	if text == "." {
		b.learn(b.lines)
		return b.proceed(dst, backXCLIENT)
	}
	if len(b.lines) >= maxCapabilities {
		return dst, step, fmt.Errorf("%w: more than %d capabilities", ErrReply, maxCapabilities)
	}
	text = strings.TrimPrefix(text, ".") // RFC 1939 §3: byte-stuffing
	if isPrintable(strings.ReplaceAll(text, " ", "")) {
		b.lines = append(b.lines, text)
	}
	return dst, step, nil
}

func (b *back) learn(lines []string) { b.lines, b.capa = lines, parseCapabilities(lines) }

// announces tells whether to send XCLIENT. The greeting of Dovecot 2.3 alone
// lists it; if that came in plaintext, before STLS, it is worth nothing, and
// we try.
func (b *back) announces() bool {
	a := b.o.Announce
	return a.Form != sniff.AnnounceNothing && a.Client.IsValid() && (b.taken || b.knowsXCLIENT())
}

func (b *back) knowsXCLIENT() bool { return b.xclient || b.capa.has("XCLIENT") }

// replayed takes the answer to what is said ahead of the login.
func (b *back) replayed(dst []byte, word status, text []byte) ([]byte, sniff.Event, error) {
	if word == goOn {
		return dst, step, b.unexpected()
	}
	bad := word == negative
	switch {
	case b.state == backXCLIENT && bad && b.knowsXCLIENT():
		return b.refuse(dst, fault(text, sniff.Unavailable))
	case b.state == backUTF8 && bad: // the client was told that it is on
		return b.refuse(dst, fault(text, sniff.Unavailable))
	}
	// A LANG that it does not know changes nothing but the words.
	return b.proceed(dst, b.state+1)
}

// accept ends the conversation with a yes; a probe says QUIT first.
func (b *back) accept(dst []byte, text string) ([]byte, sniff.Event, error) {
	if b.o.Probe == sniff.NoProbe {
		b.end()
		return dst, sniff.Event{Kind: sniff.Accepted, Accepted: &sniff.Acceptance{Text: text}}, nil
	}
	b.verdict = &sniff.Acceptance{Text: text, Capabilities: b.lines}
	b.state = backQuit
	return appendLine(dst, "QUIT"), step, nil
}

// refuse ends the conversation with a no. It says no QUIT: the back end may have
// closed, and an error of writing would hide what it said.
func (b *back) refuse(dst []byte, r *sniff.Refusal) ([]byte, sniff.Event, error) {
	b.end()
	return dst, sniff.Event{Kind: sniff.Refused, Refusal: r}, nil
}

func (b *back) end() {
	b.state = backOver
	clear(b.initial)
	b.initial = nil
}
