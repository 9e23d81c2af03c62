package pop3

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"usher.example/sniff"
)

// XCLIENT is Dovecot's: "XCLIENT NAME=value …" ahead of the login, believed from
// login_trusted_networks only. Dovecot 2.3 lists it in the greeting, as
// "+OK [XCLIENT] …", and nowhere else; it knows ADDR, PORT, SESSION, TTL and
// FORWARD and skips other names; 2.4 knows the rest. Neither decodes
// anything, so a value that would need an encoding is left out.

const (
	// announceTTL bounds how many proxies may follow: Dovecot counts from 5.
	announceTTL = 4

	// maxSession bounds a session id: what Dovecot takes (LOGIN_MAX_SESSION_ID_LEN).
	maxSession = 64

	// maxServerName bounds a host name (RFC 1035 §2.3.4). With it the longest
	// announcement has 477 octets; Dovecot takes 1024.
	maxServerName = 255

	transportTLS      = "TLS"
	transportInsecure = "insecure"
)

// appendAnnouncement appends the XCLIENT line for a.
func appendAnnouncement(dst []byte, a sniff.Announcement) []byte {
	dst = fmt.Appendf(dst, "XCLIENT ADDR=%s PORT=%d", plainAddr(a.Client.Addr()), a.Client.Port())
	if len(a.Session) <= maxSession && isPrintable(a.Session) {
		dst = fmt.Appendf(dst, " SESSION=%s", a.Session)
	}
	dst = fmt.Appendf(dst, " TTL=%d", announceTTL)
	if a.Local.IsValid() {
		dst = fmt.Appendf(dst, " DESTADDR=%s DESTPORT=%d", plainAddr(a.Local.Addr()), a.Local.Port())
	}
	if isHostname(a.ServerName) {
		dst = fmt.Appendf(dst, " DESTNAME=%s", a.ServerName)
	}
	transport := transportInsecure
	if a.TLS {
		transport = transportTLS
	}
	return fmt.Appendf(dst, " CLIENT-TRANSPORT=%s\r\n", transport)
}

// plainAddr is an address as net_addr2ip of Dovecot reads it.
func plainAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// isHostname tells that s is of a host name's characters, and not empty.
func isHostname(s string) bool {
	for _, c := range []byte(s) {
		if !alphanumeric(c) && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= maxServerName
}

// announced are the names that we take from a trusted proxy, with those that
// the same facts have in an IMAP ID, and what their values must be.
var announced = map[string]struct {
	key  string
	good func(string) bool
}{
	"ADDR":             {"x-originating-ip", isAddr},
	"PORT":             {"x-originating-port", isPort},
	"SESSION":          {"x-session-id", func(s string) bool { return isPrintable(s) && len(s) <= maxSession }},
	"TTL":              {"x-proxy-ttl", isPort},
	"DESTADDR":         {"x-connected-ip", isAddr},
	"DESTPORT":         {"x-connected-port", isPort},
	"DESTNAME":         {"x-connected-name", isHostname},
	"CLIENT-TRANSPORT": {"x-client-transport", func(s string) bool { return isPrintable(s) && len(s) <= maxSession }},
}

// parseAnnouncement reads the arguments of an XCLIENT. Unknown names are
// skipped, as Dovecot does; a bad value, or a name said twice, spoils the line.
func parseAnnouncement(arg string) ([]sniff.Field, bool) {
	var fields []sniff.Field
	seen := make(map[string]bool)
	for word := range strings.FieldsSeq(arg) {
		name, value, ok := strings.Cut(word, "=")
		if !ok {
			return nil, false
		}
		name = strings.ToUpper(name)
		what, known := announced[name]
		if !known {
			continue
		}
		if seen[name] || !what.good(value) {
			return nil, false
		}
		seen[name] = true
		fields = append(fields, sniff.Field{Key: what.key, Value: value})
	}
	return fields, true
}

func isAddr(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == ""
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}
