package imap

import (
	"slices"
	"strings"

	"usher.example/sniff"
)

// passed are the capabilities that may be listed before login if every back end
// has them: clients exist that ask before login and never again. They change
// nothing up to the login, and after it usher only moves bytes. COMPRESS is not
// among them, so that nobody counts on it (CRIME's kin: Dovecot CVE-2026-40203);
// nor is LOGIN-REFERRALS, which would lead clients past us.
var passed = []string{
	"IMAP4rev2", "LITERAL+", "LITERAL-", "ID", "ENABLE", "IDLE",
	"NAMESPACE", "UIDPLUS", "UNSELECT", "CHILDREN", "SPECIAL-USE", "CREATE-SPECIAL-USE", "MOVE", "REPLACE",
	"CONDSTORE", "QRESYNC", "UIDONLY", "PARTIAL", "OBJECTID", "SAVEDATE", "INPROGRESS",
	"ESEARCH", "SEARCHRES", "MULTISEARCH", "WITHIN", "ESORT", "SORT", "SORT=DISPLAY", "FUZZY", "SEARCH=FUZZY",
	"THREAD=ORDEREDSUBJECT", "THREAD=REFERENCES", "THREAD=REFS", "CONTEXT=SEARCH", "CONTEXT=SORT",
	"LIST-EXTENDED", "LIST-STATUS", "LIST-MYRIGHTS", "LIST-METADATA", "STATUS=SIZE",
	"BINARY", "CATENATE", "MULTIAPPEND", "CONVERT", "PREVIEW", "PREVIEW=FUZZY", "SNIPPET=FUZZY",
	"ACL", "QUOTA", "QUOTASET", "METADATA", "METADATA-SERVER", "I18NLEVEL=1", "I18NLEVEL=2", "LANGUAGE",
	"NOTIFY", "UTF8=ACCEPT", "XLIST", "X-GM-EXT-1",
}

// Offer says what may be offered before login. Back ends that are not known yet
// (nil) do not count; with none known the offer is what any back end can bear.
//
// Password mechanisms need a back end that takes a password in any form; we put
// it into that form. Relayed ones need the same mechanism at every back end, for
// the back end is chosen by what the client says first. SCRAM is hidden as soon
// as one back end lists its -PLUS as well: clients that can bind channels would
// not see it from us, send the flag y, and be refused (RFC 5802 §6). They do
// better with another mechanism. EXTERNAL is always possible; the caller
// takes it out where there is no master user.
func (Protocol) Offer(backends [][]string) sniff.Offer {
	var known [][]string
	for _, b := range backends {
		if b != nil {
			known = append(known, b)
		}
	}
	all := func(holds func(caps []string) bool) bool {
		for _, caps := range known {
			if !holds(caps) {
				return false
			}
		}
		return true
	}
	listed := func(name string) bool {
		return len(known) > 0 && all(func(caps []string) bool { return has(caps, name) })
	}

	var o sniff.Offer
	passwords := all(takesPassword)
	if passwords {
		o.Mechanisms = append(o.Mechanisms, sniff.Plain, sniff.LoginSASL)
	}
	for _, m := range []sniff.Mechanism{sniff.XOAuth2, sniff.OAuthBearer, sniff.ScramSHA256, sniff.ScramSHA1} {
		plus := "AUTH=" + string(m) + "-PLUS"
		if listed("AUTH="+string(m)) && all(func(caps []string) bool { return !has(caps, plus) }) {
			o.Mechanisms = append(o.Mechanisms, m)
		}
	}
	o.Mechanisms = append(o.Mechanisms, sniff.External)
	if passwords {
		o.Mechanisms = append(o.Mechanisms, sniff.Command)
	}

	o.Capabilities = []string{"IMAP4rev1", "SASL-IR"} // SASL-IR is between client and us
	for _, name := range passed {
		if listed(name) || (name == "LITERAL-" && literalMinus(known)) {
			o.Capabilities = append(o.Capabilities, name)
		}
	}
	return o
}

// literalMinus tells whether LITERAL- can be promised where LITERAL+ cannot:
// what it allows, LITERAL+ allows too (RFC 7888 §5).
func literalMinus(known [][]string) bool {
	plus := 0
	for _, caps := range known {
		if has(caps, "LITERAL+") {
			plus++
		} else if !has(caps, "LITERAL-") {
			return false
		}
	}
	return plus < len(known)
}

// takesPassword tells whether a back end with these capabilities lets anybody in
// with a password.
func takesPassword(caps []string) bool {
	return has(caps, "AUTH=PLAIN") || !has(caps, "LOGINDISABLED")
}

// has tells whether caps lists name, in any case (RFC 9051 §7.2.2).
func has(caps []string, name string) bool {
	return slices.ContainsFunc(caps, func(c string) bool { return strings.EqualFold(c, name) })
}

// parseCapabilities reads a list of capabilities. What is not an atom, or
// exceeds the bounds, is left out. The result is never nil.
func parseCapabilities(list string) []string {
	caps := make([]string, 0, 32)
	for name := range strings.FieldsSeq(list) {
		if len(caps) == maxCapabilities {
			break
		}
		if isCapability(name) {
			caps = append(caps, name)
		}
	}
	return caps
}

// isCapability tells whether name is an atom of bearable length.
func isCapability(name string) bool {
	if name == "" || len(name) > maxCapability {
		return false
	}
	for i := range len(name) {
		if !astringChar(name[i]) || name[i] == ']' {
			return false
		}
	}
	return true
}

// appendAfterLogin appends the capabilities of a back end as a logged-in client
// may see them, without those that are over, or that lead astray:
//
//   - STARTTLS, AUTH=…, SASL-IR, LOGINDISABLED: there is no login any more;
//   - LOGIN-REFERRALS (RFC 2221): referrals lead past us;
//   - UNAUTHENTICATE (RFC 8437): after it another user could log in over the same
//     connection, on a back end that is not his, and nobody would look.
func appendAfterLogin(dst []byte, caps []string) []byte {
	dst = append(dst, "CAPABILITY"...)
	rev := false
	for i, name := range caps {
		upper := strings.ToUpper(name)
		switch upper {
		case "STARTTLS", "SASL-IR", "LOGINDISABLED", "LOGIN-REFERRALS", "UNAUTHENTICATE":
			continue
		case "IMAP4REV1", "IMAP4REV2":
			rev = true
		}
		if i >= maxCapabilities || strings.HasPrefix(upper, "AUTH=") || !isCapability(name) {
			continue
		}
		dst = append(append(dst, ' '), name...)
	}
	if !rev { // the grammar wants one of them in every list (RFC 9051 §7.2.2)
		dst = append(dst, " IMAP4rev1"...)
	}
	return dst
}
