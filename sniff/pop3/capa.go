package pop3

import (
	"slices"
	"strings"

	"usher.example/sniff"
)

// A capability is a line of an answer to CAPA (RFC 2449 §3), in upper case.
type capability struct {
	name string
	args []string
}

// capabilities are a back end's, or nil if they are not known.
type capabilities []capability

func parseCapabilities(lines []string) capabilities {
	if lines == nil {
		return nil
	}
	out := make(capabilities, 0, len(lines))
	for _, l := range lines {
		if w := strings.Fields(strings.ToUpper(l)); len(w) > 0 {
			out = append(out, capability{w[0], w[1:]})
		}
	}
	return out
}

// has tells whether a capability is listed.
func (cs capabilities) has(name string) bool {
	return slices.ContainsFunc(cs, func(c capability) bool { return c.name == name })
}

// sasl tells whether a mechanism is listed (RFC 5034 §3), by its own name.
func (cs capabilities) sasl(mech string) bool {
	return slices.ContainsFunc(cs, func(c capability) bool { return c.name == "SASL" && slices.Contains(c.args, mech) })
}

// passwords tells whether the back end takes them.
func (cs capabilities) passwords() bool { return cs.has("USER") || cs.sasl(string(sniff.Plain)) }

// byRFC1939 is what a back end without CAPA is taken to list.
func byRFC1939() []string { return []string{"USER"} }

// passed are the capabilities that belong to the session after the login, and
// are therefore the back ends' to have (RFC 2449 §6, RFC 6856 §2, §3). Those with
// arguments are listed where all back ends agree on the whole line; LOGIN-DELAY
// and EXPIRE say something about a server's policy, IMPLEMENTATION about its name,
// which stays inside.
var passed = []string{"TOP", "UIDL", "PIPELINING", "EXPIRE", "LOGIN-DELAY", "UTF8", "LANG"}

// Offer lists passwords if every known back end takes them, relayed mechanisms
// if every one lists them, and EXTERNAL always: it needs a certificate, which
// the front looks for, and a master user, which only the caller knows about.
//
// Without any known back end it lists passwords, TOP and UIDL, which no server
// in use lacks.
func (Protocol) Offer(backends [][]string) sniff.Offer {
	var known []capabilities
	for _, b := range backends {
		if b != nil {
			known = append(known, parseCapabilities(b))
		}
	}
	all := func(has func(capabilities) bool) bool {
		return !slices.ContainsFunc(known, func(cs capabilities) bool { return !has(cs) })
	}
	var o sniff.Offer
	for _, m := range []sniff.Mechanism{sniff.ScramSHA256, sniff.ScramSHA1, sniff.OAuthBearer, sniff.XOAuth2} {
		if len(known) > 0 && all(func(cs capabilities) bool { return cs.sasl(string(m)) }) {
			o.Mechanisms = append(o.Mechanisms, m)
		}
	}
	if all(capabilities.passwords) {
		o.Mechanisms = append(o.Mechanisms, sniff.Plain, sniff.LoginSASL, sniff.Command)
	}
	o.Mechanisms = append(o.Mechanisms, sniff.External)
	if len(known) == 0 {
		o.Capabilities = []string{"TOP", "UIDL"}
		return o
	}
	for _, name := range passed {
		if line, ok := common(known, name); ok {
			o.Capabilities = append(o.Capabilities, line)
		}
	}
	return o
}

// common returns the line for a capability that all of them have. Where they
// differ, UTF8 goes without its argument USER (RFC 6856 §2.2), the others go.
func common(known []capabilities, name string) (string, bool) {
	var line string
	for i, cs := range known {
		at := slices.IndexFunc(cs, func(c capability) bool { return c.name == name })
		if at < 0 {
			return "", false
		}
		this := strings.Join(append([]string{name}, cs[at].args...), " ")
		switch {
		case i == 0 || line == this:
			line = this
		case name == "UTF8":
			line = name
		default:
			return "", false
		}
	}
	return line, true
}

// ours are the capabilities that the front speaks for itself.
var ours = []string{"CAPA", "RESP-CODES", "AUTH-RESP-CODE", "STLS", "USER", "SASL", "APOP", "XCLIENT", "IMPLEMENTATION"}

// appendCapa appends the answer to CAPA (RFC 2449 §5).
func (f *front) appendCapa(dst []byte) []byte {
	dst = appendLine(dst, "+OK Capability list follows.")
	dst = appendLine(dst, "RESP-CODES")     // RFC 2449 §6.4
	dst = appendLine(dst, "AUTH-RESP-CODE") // RFC 3206 §6
	for _, c := range f.o.Offer.Capabilities {
		name, _, _ := strings.Cut(c, " ")
		if isPrintable(name) && name[0] != '.' && c == clean(c) && !slices.Contains(ours, strings.ToUpper(name)) {
			dst = appendLine(dst, c)
		}
	}
	if f.o.StartTLS && !f.tls {
		dst = appendLine(dst, "STLS") // RFC 2595 §4
	}
	if f.offers(sniff.Command) {
		dst = appendLine(dst, "USER")
	}
	if names := f.saslNames(); len(names) > 0 {
		dst = appendLine(dst, "SASL ", strings.Join(names, " "))
	}
	return appendLine(dst, ".")
}

// listed tells whether we list a capability of the session (UTF8, LANG).
func (f *front) listed(name string) bool { return parseCapabilities(f.o.Offer.Capabilities).has(name) }

// allowed are the mechanisms that may be used on this connection, as it is now.
func (f *front) allowed() []sniff.Mechanism {
	if !f.tls && !f.o.Plaintext {
		return nil
	}
	return f.o.Offer.Only(func(m sniff.Mechanism) bool { return m != sniff.External || f.peer != "" }).Mechanisms
}

func (f *front) offers(m sniff.Mechanism) bool { return slices.Contains(f.allowed(), m) }

// saslNames are the allowed mechanisms of AUTH.
func (f *front) saslNames() []string {
	var names []string
	for _, m := range f.allowed() {
		if m != sniff.Command {
			names = append(names, string(m))
		}
	}
	return names
}
