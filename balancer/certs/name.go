package certs

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/idna"
)

// maxDNSName bounds a name as text (RFC 1035 §2.3.4).
const maxDNSName = 253

// canonical is the form in which names are compared: lower case, A-labels
// (RFC 5890 §2.3.2.1), no trailing dot. It is empty for what cannot be in a
// certificate as a DNS name, addresses among it: SNI has no addresses
// (RFC 6066 §3), and who sends one is taken for somebody who sends none.
func canonical(name string) string {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > maxDNSName {
		return ""
	}
	lower := true
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 0x80:
			ascii, err := idna.Lookup.ToASCII(name)
			if err != nil || len(ascii) > maxDNSName {
				return ""
			}
			return ascii
		case c <= ' ' || c == 0x7f:
			return ""
		case c >= 'A' && c <= 'Z':
			lower = false
		}
	}
	if !lower {
		name = strings.ToLower(name)
	}
	if c := name[len(name)-1]; name[0] == '[' || c >= '0' && c <= '9' || strings.IndexByte(name, ':') >= 0 {
		if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
			return ""
		}
	}
	return name
}

// parent is what follows the first label, with its dot: the part that a wildcard
// and the names below it have in common. Empty: there is none.
func parent(name string) string {
	dot := strings.IndexByte(name, '.')
	if dot <= 0 || dot == len(name)-1 {
		return ""
	}
	return name[dot:]
}

// covers reports whether a name of a certificate, in lower case, is for a
// canonical one: the same, or "*" in place of exactly the first label, and of
// nothing but a whole label (RFC 6125 §6.4.3).
func covers(pattern, name string) bool {
	if rest, wild := strings.CutPrefix(pattern, "*"); wild {
		return rest != "" && rest == parent(name)
	}
	return pattern == name
}

// coversAll reports whether names of a certificate cover all of another's.
func coversAll(names, others []string) bool {
	for _, n := range others {
		if !slices.ContainsFunc(names, func(m string) bool { return covers(m, n) }) {
			return false
		}
	}
	return true
}

// subject makes the canonical form of a name that a certificate is to be made
// for, "*." before it allowed, or of an address.
func subject(name string) (dns string, ip netip.Addr, err error) {
	if addr, err := netip.ParseAddr(name); err == nil {
		return "", addr.Unmap(), nil
	}
	rest, wild := strings.CutPrefix(name, "*.")
	ascii, err := idna.Lookup.ToASCII(strings.TrimSuffix(rest, "."))
	if err != nil || ascii == "" || len(ascii) > maxDNSName || wild && !strings.Contains(ascii, ".") {
		return "", ip, fmt.Errorf("%q: want a host name such as mail.example.org, *.example.org, or an address", name)
	}
	if wild {
		ascii = "*." + ascii
	}
	return ascii, ip, nil
}

// subjects are the names of a certificate that clients can ask for, each once, in
// canonical form.
func subjects(leaf *x509.Certificate) []string {
	var list []string
	for _, n := range names(leaf) {
		if n = canonical(n); n != "" {
			list = append(list, n)
		}
	}
	return unique(list)
}

func unique(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}
