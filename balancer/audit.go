package balancer

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"usher.example/sniff"
)

// A FailedLogin is a refused login, for the eyes of administrators and
// fail2ban.
type FailedLogin struct {
	Time      time.Time
	Protocol  string
	User      string // as the client wrote it
	Mechanism sniff.Mechanism
	Client    netip.AddrPort
	Local     netip.AddrPort
	TLS       bool
	Session   string
	Kind      Kind          // AuthFailed, or why it was not even tried
	Attempts  int           // on this connection, this one included
	After     time.Duration // since the connection was accepted
}

// AppendDovecot appends the line that Dovecot's login processes write, without
// time and newline, so that filters made for Dovecot find the address. A user's
// name is written so that it cannot pretend to be another field.
func (l FailedLogin) AppendDovecot(dst []byte) []byte {
	reason := "auth failed, " + strconv.Itoa(l.Attempts) + " attempts in " + strconv.Itoa(int(l.After.Seconds())) + " secs"
	dst = append(dst, l.Protocol...)
	dst = append(dst, "-login: Disconnected: Connection closed ("...)
	if l.Kind != AuthFailed {
		// Not a wrong password: banning the address for it would be wrong, so
		// the form is one that no filter counts.
		reason = "login not possible: " + l.Kind.String()
	}
	dst = append(dst, reason...)
	dst = append(dst, "): user=<"...)
	dst = appendName(dst, l.User)
	dst = append(dst, ">, method="...)
	dst = append(dst, dovecotMethod(l.Mechanism)...)
	dst = append(dst, ", rip="...)
	dst = l.Client.Addr().AppendTo(dst)
	dst = append(dst, ", lip="...)
	dst = l.Local.Addr().AppendTo(dst)
	if l.TLS {
		dst = append(dst, ", TLS"...)
	}
	dst = append(dst, ", session=<"...)
	dst = append(dst, l.Session...)
	return append(dst, '>')
}

// dovecotMethod is the mechanism as Dovecot logs it, where LOGIN and PASS are
// PLAIN.
func dovecotMethod(m sniff.Mechanism) string {
	if m == sniff.Command {
		return string(sniff.Plain)
	}
	return string(m)
}

// appendName writes what could end or imitate a field as %XX.
func appendName(dst []byte, name string) []byte {
	for _, r := range name {
		if strings.ContainsRune(" <>,()%\"", r) || !unicode.IsPrint(r) || r == utf8.RuneError {
			for _, c := range []byte(string(r)) {
				dst = fmt.Appendf(dst, "%%%02X", c)
			}
			continue
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}
