package imap

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"usher.example/sniff"
)

// An answer is how a refusal is put in IMAP: response codes are those of
// RFC 5530 §3.
type answer struct {
	status string // of the tagged answer
	code   string // with its brackets, or empty
	text   string // said unless the refusal brings its own
	fixed  bool   // the refusal's own text is never shown
}

// answers has one entry for each sniff.Code.
var answers = [...]answer{
	sniff.Unavailable: {"NO", "[UNAVAILABLE]", "Temporarily unavailable, please try again later", false},
	// One text for a wrong password and an unknown user, whoever found it out.
	sniff.AuthFailed:    {"NO", "[AUTHENTICATIONFAILED]", "Authentication failed", true},
	sniff.AuthzFailed:   {"NO", "[AUTHORIZATIONFAILED]", "Not allowed to act as this user", false},
	sniff.Expired:       {"NO", "[EXPIRED]", "Password or account has expired", false},
	sniff.PrivacyNeeded: {"NO", "[PRIVACYREQUIRED]", "Log in under TLS only", false},
	sniff.ContactAdmin:  {"NO", "[CONTACTADMIN]", "Please ask the administrator", false},
	sniff.Limit:         {"NO", "[LIMIT]", "Too many sessions or attempts", false},
	sniff.InUse:         {"NO", "[INUSE]", "Mailbox is in use", false},
	sniff.ServerBug:     {"NO", "[SERVERBUG]", "Internal error", false},
	sniff.ShuttingDown:  {"NO", "[UNAVAILABLE]", "Server is shutting down", false},
	sniff.TimedOut:      {"NO", "[UNAVAILABLE]", "Timed out", false},
	sniff.BadProtocol:   {"BAD", "[CLIENTBUG]", "Protocol error", false},
	sniff.NotPermitted:  {"NO", "[NOPERM]", "Not permitted", false},
}

// appendRefusal appends the code and the text of r.
func appendRefusal(dst []byte, r sniff.Refusal) (a answer, out []byte) {
	a = answers[sniff.ServerBug]
	if int(r.Code) < len(answers) {
		a = answers[r.Code]
	}
	text := a.text
	if own := clean(r.Text); own != "" && !a.fixed {
		text = own
	}
	dst = append(dst, a.code...)
	dst = append(dst, ' ')
	return a, append(dst, text...)
}

// appendTagged appends a tagged answer; text begins with its response code, if any.
func appendTagged(dst []byte, tag, status, text string) []byte {
	dst = append(dst, tag...)
	dst = append(dst, ' ')
	dst = append(dst, status...)
	dst = append(dst, ' ')
	dst = append(dst, text...)
	return append(dst, "\r\n"...)
}

// appendContinue appends a continuation with a SASL message. The space stands
// even if nothing follows it (RFC 3501 §7.5, RFC 9051 §7.6).
func appendContinue(dst, message []byte) []byte {
	dst = append(dst, "+ "...)
	dst = sniff.AppendBase64(dst, message)
	return append(dst, "\r\n"...)
}

// clean makes a text of unknown origin fit to be shown or logged: one line of
// UTF-8 without controls and without characters that turn or hide others, and
// not longer than maxText.
func clean(text string) string {
	text = strings.ToValidUTF8(text, "?")
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' || r == utf8.RuneError {
			return '?'
		}
		return r
	}, text)
	text = strings.TrimSpace(text)
	if len(text) <= maxText {
		return text
	}
	cut := maxText
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}
