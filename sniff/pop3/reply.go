package pop3

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"usher.example/sniff"
)

// maxText bounds the text of a reply, so that with its status and its code it
// stays under the 512 octets of RFC 2449 §4.
const maxText = 400

// Response codes (RFC 2449 §8, RFC 3206 §4 and §5).
const (
	codeTemp  = "SYS/TEMP"
	codePerm  = "SYS/PERM"
	codeAuth  = "AUTH"
	codeInUse = "IN-USE"
	codeDelay = "LOGIN-DELAY"
)

// words are what we say for each sniff.Code: the response code, the usual text,
// and whether another text may be shown in its place.
//
// PrivacyNeeded is not [AUTH], which RFC 3206 §5 would allow and Dovecot sends:
// the password may be right, and clients forget it at [AUTH]. Limit is not
// [IN-USE], which says that the password was right (RFC 2449 §8.1.2), where we
// may not have looked at it.
var words = [...]struct {
	code, text string
	open       bool
}{
	sniff.Unavailable:   {codeTemp, "Temporary fault, try again later.", true},
	sniff.AuthFailed:    {codeAuth, "Authentication failed.", false},
	sniff.AuthzFailed:   {codeAuth, "Authentication failed.", false},
	sniff.Expired:       {codeAuth, "The password or the account has expired.", false},
	sniff.PrivacyNeeded: {codePerm, "Logins need TLS here: use STLS, or the port for POP3 over TLS.", true},
	sniff.ContactAdmin:  {codePerm, "Please contact your administrator.", true},
	sniff.Limit:         {codeTemp, "Too many connections, try again later.", true},
	sniff.InUse:         {codeInUse, "The mailbox is in use, try again later.", true},
	sniff.ServerBug:     {codePerm, "A fault in the server's set-up.", true},
	sniff.ShuttingDown:  {codeTemp, "The server is going down, connect again.", true},
	sniff.TimedOut:      {"", "Too slow, closing.", true},
	sniff.BadProtocol:   {"", "Protocol error.", true},
	sniff.NotPermitted:  {codePerm, "Not permitted.", true},
}

// appendRefusal appends the one line that tells of r.
func appendRefusal(dst []byte, r sniff.Refusal) []byte {
	if int(r.Code) >= len(words) {
		r = sniff.Refusal{}
	}
	w := words[r.Code]
	code, text := w.code, w.text
	if w.open && r.Text != "" {
		given, rest := cutCode(r.Text)
		if r.Code == sniff.InUse && given == codeDelay {
			code = given // as refusal kept it
		}
		if rest = clean(rest); rest != "" {
			text = rest
		}
	}
	if code == "" {
		return appendLine(dst, "-ERR ", text)
	}
	return appendLine(dst, "-ERR [", code, "] ", text)
}

// classes are what a back end's response codes mean. Those of RFC 5530 are IMAP's;
// Dovecot passes a text that begins with one through to POP3.
var classes = map[string]sniff.Code{
	"AUTH":                 sniff.AuthFailed,
	"SYS/TEMP":             sniff.Unavailable,
	"SYS/PERM":             sniff.ContactAdmin,
	"IN-USE":               sniff.InUse,
	"LOGIN-DELAY":          sniff.InUse,
	"AUTHENTICATIONFAILED": sniff.AuthFailed,
	"AUTHORIZATIONFAILED":  sniff.AuthzFailed,
	"UNAVAILABLE":          sniff.Unavailable,
	"INUSE":                sniff.InUse,
	"LIMIT":                sniff.Limit,
	"EXPIRED":              sniff.Expired,
	"CONTACTADMIN":         sniff.ContactAdmin,
	"SERVERBUG":            sniff.ServerBug,
	// Our own connection to it lacks TLS, which its client cannot mend.
	"PRIVACYREQUIRED": sniff.ServerBug,
}

// refusal makes a Refusal of a back end's -ERR. Codes are hierarchical
// (RFC 3206 §2): an unknown SYS/… is a fault that may pass. Other unknown
// codes count as none (RFC 2449 §8), which means usual.
func refusal(text []byte, usual sniff.Code) *sniff.Refusal {
	code, rest := cutCode(string(text))
	rest = clean(rest)
	class, known := classes[code]
	switch {
	case known:
	case code == "SYS" || strings.HasPrefix(code, "SYS/"):
		class = sniff.Unavailable
	default:
		class = usual
	}
	if code == codeDelay { // no sniff.Code tells it from IN-USE
		rest = "[" + codeDelay + "] " + rest
	}
	return &sniff.Refusal{Code: class, Text: rest}
}

// fault makes a Refusal of a -ERR to what held no credentials: whatever its
// code, it is not a wrong password.
func fault(text []byte, usual sniff.Code) *sniff.Refusal {
	r := refusal(text, usual)
	if words[r.Code].code == codeAuth {
		r.Code = usual
	}
	return r
}

// cutCode splits a response code off a text (RFC 2449 §8) and gives it in upper
// case; it is empty if there is none.
func cutCode(text string) (code, rest string) {
	inner, ok := strings.CutPrefix(text, "[")
	if !ok {
		return "", text
	}
	code, rest, ok = strings.Cut(inner, "]")
	if !ok {
		return "", text
	}
	return strings.ToUpper(code), strings.TrimLeft(rest, " ")
}

// clean makes a text fit to be shown and logged: UTF-8 without controls and
// without format characters, within maxText octets.
func clean(text string) string {
	var b strings.Builder
	for _, r := range strings.TrimSpace(text) {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			r = '?'
		}
		if b.Len()+utf8.RuneLen(r) > maxText {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// A status is the first word of a back end's line.
type status uint8

const (
	garbage status = iota
	positive
	negative
	goOn // "+": a SASL challenge, RFC 5034 §4
)

// parseReply reads a back end's line. Status indicators are upper case
// (RFC 1939 §3) and end with a space or the line.
func parseReply(line []byte) (status, []byte) {
	word, text, _ := bytes.Cut(line, []byte(" "))
	switch string(word) {
	case "+OK":
		return positive, text
	case "-ERR":
		return negative, text
	case "+":
		return goOn, text
	}
	return garbage, nil
}

// appendLine appends the parts and CRLF.
func appendLine(dst []byte, parts ...string) []byte {
	for _, p := range parts {
		dst = append(dst, p...)
	}
	return append(dst, '\r', '\n')
}

// appendBase64 appends "prefix", data in base64, and CRLF.
func appendBase64(dst []byte, prefix string, data []byte) []byte {
	return append(sniff.AppendBase64(append(dst, prefix...), data), '\r', '\n')
}
