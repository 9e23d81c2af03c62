package imap

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"usher.example/sniff"
)

// id is the ID command before login (RFC 2971 §3.1). We say who we are, without
// a version, and keep what the client says for the back end.
func (f *front) id(dst []byte) ([]byte, sniff.Event, error) {
	fields, ok := parseFields(f.cmd.tokens)
	if !ok {
		return f.bad(dst, "ID takes NIL or a list of names and values", nil)
	}
	if !f.o.Trusted {
		fields = withoutReserved(fields)
	}
	f.before.ID = fields
	return f.done(append(dst, `* ID ("name" "usher")`+"\r\n"...))
}

// parseFields reads NIL or the list of an ID command. Names and values may come
// without quotes, as Dovecot takes them; none may hold controls, so that they
// can be quoted again. The result is not nil.
func parseFields(tokens []token) (fields []sniff.Field, ok bool) {
	fields = []sniff.Field{}
	if len(tokens) == 1 && tokens[0].is("NIL") {
		return fields, true
	}
	last := len(tokens) - 1
	if last < 1 || last%2 != 1 || tokens[0].kind != opening || tokens[last].kind != closing {
		return nil, false
	}
	for i := 1; i < last; i += 2 {
		key, value := tokens[i], tokens[i+1]
		if !fits(key, maxKey) || !fits(value, maxValue) || len(key.text) == 0 {
			return nil, false
		}
		field := sniff.Field{Key: string(key.text), Nil: value.is("NIL")}
		if !field.Nil {
			field.Value = string(value.text)
		}
		fields = append(fields, field)
	}
	return fields, true
}

// fits tells whether t is a string without controls of at most limit octets.
func fits(t token, limit int) bool {
	if !t.isString() || len(t.text) > limit {
		return false
	}
	for _, c := range t.text {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

// reserved are the beginnings of field names that back ends believe when they
// come from us: the client's address, his session, the hops, and whatever a
// proxy forwards. x-client-transport tells whether he is under TLS.
var reserved = []string{
	"x-originating-", "x-connected-", "x-session-", "x-proxy-", "x-forward-", "x-client-",
}

// withoutReserved takes out the fields that only a proxy of ours may set.
func withoutReserved(fields []sniff.Field) []sniff.Field {
	kept := fields[:0]
	for _, field := range fields {
		if !isReserved(field) {
			kept = append(kept, field)
		}
	}
	return kept
}

func isReserved(field sniff.Field) bool {
	key := strings.ToLower(field.Key)
	return slices.ContainsFunc(reserved, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
}

// proxyTTL is how many proxies a login may still pass behind us if nobody in
// front of us has counted: Dovecot's number.
const proxyTTL = 5

// idFields returns what the back end is told by ID: who the client is, then what
// he said himself. If a trusted proxy in front of us has said who he is, it is
// believed and we add nothing: it saw the client, we saw the proxy.
func (b *back) idFields() ([]sniff.Field, error) {
	said := b.o.Login.Before.ID
	hops, counted := proxyTTL, false
	var theirs, rest []sniff.Field
	for _, field := range said {
		switch {
		case strings.EqualFold(field.Key, "x-proxy-ttl"):
			n, err := strconv.Atoi(field.Value)
			if err != nil || n <= 1 || n > 255 {
				return nil, ErrLoop
			}
			hops, counted = n, true
		case isReserved(field):
			theirs = append(theirs, field)
		default:
			rest = append(rest, field)
		}
	}
	announce := b.o.Announce.Form == sniff.AnnounceID
	fields := theirs
	if announce && len(theirs) == 0 {
		fields = announced(b.o.Announce)
	}
	if announce || counted {
		fields = append(fields, sniff.Field{Key: "x-proxy-ttl", Value: strconv.Itoa(hops - 1)})
	}
	fields = append(fields, rest...)
	return fields[:min(len(fields), maxFields)], nil
}

// announced puts an announcement into Dovecot's words ("Forwarding parameters" in
// its manual).
func announced(a sniff.Announcement) []sniff.Field {
	var fields []sniff.Field
	add := func(key, value string) {
		if value != "" {
			fields = append(fields, sniff.Field{Key: key, Value: value})
		}
	}
	address := func(key string, end netip.AddrPort) {
		if end.IsValid() {
			add(key+"-ip", end.Addr().Unmap().WithZone("").String())
			add(key+"-port", strconv.Itoa(int(end.Port())))
		}
	}
	add("x-session-id", a.Session)
	address("x-originating", a.Client)
	address("x-connected", a.Local)
	add("x-connected-name", a.ServerName)
	transport := "insecure"
	if a.TLS {
		transport = "TLS"
	}
	add("x-client-transport", transport)
	return fields
}

// appendID appends the list of an ID command. Quoted strings are 7-bit without
// controls for IMAP4rev1 (RFC 3501 §9), so what is outside becomes "?": these
// values inform, nothing is looked up by them. Fields that would make the line
// longer than back ends must bear are left out; the client's stand last.
func appendID(dst []byte, fields []sniff.Field) []byte {
	start := len(dst)
	dst = append(dst, '(')
	for _, field := range fields {
		var one []byte
		if len(dst) > start+1 {
			one = append(one, ' ')
		}
		one = append(appendQuoted(one, printable(field.Key, maxKey)), ' ')
		if field.Nil {
			one = append(one, "NIL"...)
		} else {
			one = appendQuoted(one, printable(field.Value, maxValue))
		}
		if len(dst)+len(one) < start+maxLine-len("I ID )\r\n") {
			dst = append(dst, one...)
		}
	}
	return append(dst, ')')
}

// printable cuts s to limit octets and replaces what is not printable ASCII.
func printable(s string, limit int) []byte {
	out := []byte(s[:min(len(s), limit)])
	for i, c := range out {
		if c < ' ' || c >= 0x7f {
			out[i] = '?'
		}
	}
	return out
}
