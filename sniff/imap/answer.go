package imap

import (
	"strings"

	"usher.example/sniff"
)

// aside takes an untagged line. Capabilities are read where they are due, BYE
// ends it; everything else is dropped, within bounds.
func (b *back) aside(line string) (sniff.Event, error) {
	status, text := cutWord(line)
	switch {
	case status == "BYE" && b.state == backLogout:
		return b.accepted(sniff.Acceptance{Capabilities: b.caps}), nil
	case status == "BYE":
		return b.bye(text), nil
	case status == "PREAUTH":
		return b.quit(ErrPreauth)
	case b.state == backStartTLS && status != "OK":
		// Nobody has a reason to say more, but who injects it. OK is let pass
		// unread: Dovecot's first line may be that it waits for its own auth
		// service, and its greeting then comes second.
		return b.broken("untagged line before TLS")
	case status == "CAPABILITY" && !b.idOpen:
		b.found = parseCapabilities(text)
	}
	switch status {
	case "OK", "NO", "BAD", "CAPABILITY": // lines of text, without literals
		return b.count()
	}
	return b.dropped([]byte(line))
}

// dropped drops a line of data, and prepares to drop the literal that it may end in.
func (b *back) dropped(line []byte) (sniff.Event, error) {
	mark := trailingLiteral(line)
	b.behind = mark.present
	if mark.present {
		if mark.size > maxLiteral {
			return b.quit(ErrLiteral)
		}
		b.skip = mark.size
	}
	return b.count()
}

// count holds the bound of lines that answer nothing.
func (b *back) count() (sniff.Event, error) {
	b.untagged++
	if b.untagged > maxUntagged {
		return b.broken("too many untagged lines")
	}
	return stepped, nil
}

// bye is a back end that wants no more: it is not there, whatever the client
// said. Its words are not believed while TLS is still to come: anybody can have
// said them ("Why TLS is better without STARTTLS", 2021).
func (b *back) bye(text string) sniff.Event {
	r := parseText(text)
	if b.mustStartTLS() {
		r.text = ""
	}
	return b.refused(sniff.Refusal{Code: sniff.Unavailable, Text: r.text})
}

// answer takes a tagged line.
func (b *back) answer(dst []byte, line string) ([]byte, sniff.Event, error) {
	tag, rest, _ := strings.Cut(line, " ")
	status, text := cutWord(rest)
	if status != "OK" && status != "NO" && status != "BAD" {
		ev, err := b.broken("answer")
		return dst, ev, err
	}
	switch r := parseText(text); {
	case b.state == backStartTLS && tag == tagStartTLS:
		ev, err := b.startTLS(status)
		return dst, ev, err
	case b.state == backCapability && tag == tagCapability:
		return b.capability(dst, status, r)
	case b.state == backLogin && tag == tagID && b.idOpen:
		b.idOpen = false // whatever it says: ID is a courtesy (RFC 2971 §3.1)
		return dst, stepped, nil
	case b.state == backLogin && tag == tagLogin && !b.idOpen:
		return b.verdict(dst, status, r)
	case b.state == backAfter && tag == tagCapability:
		if status != "OK" {
			b.found = nil
		}
		return dst, b.accepted(sniff.Acceptance{Text: b.text, Capabilities: b.found}), nil
	case b.state == backSelect && tag == tagSelect:
		return b.selected(dst, status, r)
	case b.state == backLogout && tag == tagLogout:
		return dst, b.accepted(sniff.Acceptance{Capabilities: b.caps}), nil
	}
	ev, err := b.broken("tag")
	return dst, ev, err
}

// startTLS takes the answer to STARTTLS. There is no way on but TLS.
func (b *back) startTLS(status string) (sniff.Event, error) {
	if status != "OK" {
		return b.quit(ErrStartTLS)
	}
	b.state = backHandshake
	return sniff.Event{Kind: sniff.StartTLS}, nil
}

// capability takes the answer to CAPABILITY before the login.
func (b *back) capability(dst []byte, status string, r respText) ([]byte, sniff.Event, error) {
	b.caps = b.found
	if b.caps == nil && r.code == "CAPABILITY" {
		b.caps = parseCapabilities(r.argument)
	}
	if status != "OK" || b.caps == nil {
		ev, err := b.broken("no capabilities")
		return dst, ev, err
	}
	return b.proceed(dst)
}

// verdict takes the answer to the login. An OK before all of it was asked for,
// or BAD, is a fault of the dialogue and says nothing about the password; nor
// does a NO to a password that was not sent yet.
func (b *back) verdict(dst []byte, status string, r respText) ([]byte, sniff.Event, error) {
	switch {
	case status == "NO" && len(b.pending) > 0:
		return dst, b.refused(r.refusal(sniff.Unavailable)), nil
	case status == "NO":
		return dst, b.refused(r.refusal(sniff.AuthFailed)), nil
	case status == "BAD" || len(b.pending) > 0:
		ev, err := b.broken("login")
		return dst, ev, err
	case b.o.Probe == sniff.ProbeLogin:
		b.state = backSelect
		return append(dst, tagSelect+" SELECT INBOX\r\n"...), stepped, nil
	}
	if r.code == "CAPABILITY" {
		b.found = parseCapabilities(r.argument)
	}
	b.text = r.text
	if b.found == nil { // RFC 9051 §6.2.3: then the client must ask, so we do
		b.state = backAfter
		return append(dst, tagCapability+" CAPABILITY\r\n"...), stepped, nil
	}
	return dst, b.accepted(sniff.Acceptance{Text: b.text, Capabilities: b.found}), nil
}

// selected takes the answer to a probe's SELECT.
func (b *back) selected(dst []byte, status string, r respText) ([]byte, sniff.Event, error) {
	switch status {
	case "OK":
		return b.logout(dst)
	case "NO":
		return dst, b.refused(r.refusal(sniff.Unavailable)), nil
	}
	ev, err := b.broken("select")
	return dst, ev, err
}

// respText is a human-readable text with its response code (RFC 9051 §9, resp-text).
type respText struct {
	code     string // in upper case, or empty
	argument string
	text     string // clean
}

// parseText takes resp-text apart. The text of a referral is nobody's business.
func parseText(s string) respText {
	inside, ok := strings.CutPrefix(s, "[")
	if !ok {
		return respText{text: clean(s)}
	}
	inside, text, ok := strings.Cut(inside, "]")
	if !ok {
		return respText{text: clean(s)}
	}
	code, argument := cutWord(inside)
	r := respText{code: code, argument: argument, text: clean(text)}
	if code == "REFERRAL" { // its URL may hold a ] and leak into the text
		r.text = ""
	}
	return r
}

// codes are the response codes of a refused login (RFC 5530 §3, RFC 9051 §7.1)
// that mean something else than a wrong password.
var codes = map[string]sniff.Code{
	"UNAVAILABLE":         sniff.Unavailable,
	"REFERRAL":            sniff.Unavailable, // not followed, never shown (RFC 2221)
	"AUTHORIZATIONFAILED": sniff.AuthzFailed,
	"EXPIRED":             sniff.Expired,
	"CONTACTADMIN":        sniff.ContactAdmin,
	"ALERT":               sniff.ContactAdmin, // its text must be shown
	"WEBALERT":            sniff.ContactAdmin, // the same with a link, as some large providers send
	"LIMIT":               sniff.Limit,
	"OVERQUOTA":           sniff.Limit,
	"INUSE":               sniff.InUse,
	"NOPERM":              sniff.NotPermitted,
	"SERVERBUG":           sniff.ServerBug,
	"CLIENTBUG":           sniff.ServerBug, // we are the client it means
	"CORRUPTION":          sniff.ServerBug,
	// It is our connection to the back end that lacks TLS. The client cannot
	// mend that, and would look for the fault in his own settings.
	"PRIVACYREQUIRED": sniff.ServerBug,
}

// refusal makes the refusal that r stands for; plain is what a text without a
// known code means.
func (r respText) refusal(plain sniff.Code) sniff.Refusal {
	code, ok := codes[r.code]
	switch {
	case r.code == "AUTHENTICATIONFAILED":
		code = sniff.AuthFailed
	case !ok:
		code = plain
	}
	return sniff.Refusal{Code: code, Text: r.text}
}

// cutWord takes the first word off s, in upper case.
func cutWord(s string) (word, rest string) {
	word, rest, _ = strings.Cut(s, " ")
	return strings.ToUpper(word), rest
}
