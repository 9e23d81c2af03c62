package config

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A form is what a text may look like. An empty text has any form, unless its
// key is required.
type form struct {
	want  string // as in "want " + want
	check func(string) bool
}

// forms are the values of the tag "form". What ends in a greeting, a protocol
// line or a label is checked here, so that nobody downstream has to escape it.
var forms = map[string]form{
	"name":       {`a name of at most 64 letters, digits, ".", "-" and "_"`, isName},
	"domain":     {`a host name such as "mail.example.org"`, isDomain},
	"host":       {`a host name or address without a port, such as "mail1.example.org" or "192.0.2.1"`, isHost},
	"listen":     {`an address and a port, such as "192.0.2.1:993", "[2001:db8::1]:993" or ":993" for all addresses`, isListen},
	"peer":       {`a host name or an address, with or without a port, such as "usher2.example.org", "192.0.2.1:7946" or "[2001:db8::1]:7946"`, isPeer},
	"strip":      {`a domain such as "example.org", or "*" for every one`, isStrip},
	"path":       {`the path of a file`, isPath},
	"argument":   {`an argument of a program, without control characters`, isPath},
	"certname":   {`a name such as "mail.example.org" or "*.example.org"`, isCertName},
	"email":      {`a mail address such as "postmaster@example.org"`, isEmail},
	"url":        {`a URL such as "https://ca.example.org/directory"`, isURL},
	"word":       {`a text without control characters, of at most 255 bytes`, isWord},
	"separator":  {`up to 8 characters that are no letters, digits, "@" or spaces`, isSeparator},
	"capability": {`a capability such as "IDLE"`, isCapability},
	"capa":       {`a line of CAPA such as "UIDL" or "SASL PLAIN"`, isCapa},
}

const (
	maxName       = 64  // fits a column of `usher status`
	maxWord       = 255 // longer user names are refused by the login front, too
	maxPath       = 4096
	maxSeparator  = 8
	maxCapability = 255 // RFC 2449 §4 bounds a line of CAPA to 512 octets
	maxHost       = 253 // RFC 1035 §2.3.4, as text
	maxLabel      = 63  // the same
)

func isName(s string) bool {
	return s != "" && len(s) <= maxName && only(s, letters+digits+".-_")
}

// isDomain takes the host names of RFC 1123 §2.1, and "_", which DNS has and
// people use inside their networks. One final dot is allowed: it keeps the
// resolver from trying search domains.
func isDomain(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > maxHost {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > maxLabel || !only(label, letters+digits+"-_") ||
			label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

func isStrip(s string) bool { return s == "*" || isDomain(s) }

func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	// All digits and dots would be an address if it were right: no host name
	// ends in a number.
	last := strings.TrimSuffix(s, ".")
	last = last[strings.LastIndexByte(last, '.')+1:]
	return isDomain(s) && !only(last, digits)
}

// isPeer takes what isHost does, a port after it, and a port alone.
func isPeer(s string) bool {
	if isHost(s) {
		return true
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || host != "" && !isHost(host) {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// withPort is a peer with a port, that one where it has none.
func withPort(peer, port string) string {
	if _, _, err := net.SplitHostPort(peer); err == nil || peer == "" {
		return peer
	}
	return net.JoinHostPort(peer, port)
}

func isListen(s string) bool {
	_, err := parseListen(s)
	return err == nil
}

// parseListen splits an address to listen on. No address in it is the
// unspecified one.
func parseListen(s string) (netip.AddrPort, error) {
	if port, ok := strings.CutPrefix(s, ":"); ok {
		n, err := strconv.ParseUint(port, 10, 16)
		return netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(n)), err
	}
	return netip.ParseAddrPort(s)
}

func isPath(s string) bool { return len(s) <= maxPath && !control(s) }

func isEmail(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	return ok && local != "" && len(s) <= maxWord && printable(s) && !strings.ContainsAny(local, " <>,;:\"") && isDomain(domain)
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil && u.Fragment == "" && len(s) <= maxPath && printable(s)
}

func isWord(s string) bool { return len(s) <= maxWord && !control(s) }

func isSeparator(s string) bool {
	return len(s) <= maxSeparator && printable(s) && !strings.ContainsAny(s, letters+digits+"@ ")
}

// isCapability takes an atom of IMAP (RFC 9051 §9, atom-specials).
func isCapability(s string) bool {
	return s != "" && len(s) <= maxCapability && printable(s) && !strings.ContainsAny(s, ` (){%*"\]`)
}

func isCapa(s string) bool {
	return s != "" && len(s) <= maxCapability && printable(s) && s[0] != ' ' && s[0] != '.'
}

const (
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits  = "0123456789"
)

// only reports whether s has no characters but those of set.
func only(s, set string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return !strings.ContainsRune(set, c) }) < 0
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return c < ' ' || c > '~' }) < 0
}

func control(s string) bool {
	return !utf8.ValidString(s) || strings.IndexFunc(s, unicode.IsControl) >= 0
}
