package rfc2136

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// A verdictError is a "no" of the server's, with what may help.
type verdictError struct{ text string }

func (e *verdictError) Error() string { return e.text }

func verdict(format string, args ...any) error {
	return &verdictError{fmt.Sprintf(format, args...)}
}

// refused is the error for an RCODE (RFC 2136 §2.2, §3) in a signed answer.
func (p *Provider) refused(rcode int, zone, name string) error {
	zone, name = strings.TrimSuffix(zone, "."), strings.TrimSuffix(name, ".")
	key := strings.TrimSuffix(p.key.Name, ".")
	switch rcode {
	case dns.RcodeRefused:
		return verdict("%s says REFUSED: it knows the key %q but does not let it change %s; "+
			"allow that, in BIND by update-policy { grant %s name %s. TXT; }; in the zone %s, in Knot by an acl with action: update and that key",
			p.server, key, name, key, name, zone)
	case dns.RcodeNotZone:
		return verdict("%s says NOTZONE: %s is not in its zone %s; name the primary of its zone as the server", p.server, name, zone)
	case dns.RcodeServerFailure:
		return verdict("%s says SERVFAIL: look into its log; often it may not write the zone's file or journal, or it is a secondary whose primary does not answer", p.server)
	case dns.RcodeNotImplemented:
		return verdict("%s says NOTIMP: it does not take updates; name a server that does (RFC 2136), the primary of the zone %s", p.server, zone)
	case dns.RcodeFormatError:
		return verdict("%s says FORMERR: it does not understand signed updates; look into its log", p.server)
	case dns.RcodeYXRrset: // what additions ask for before
		return verdict("%s says YXRRSET: it has a CNAME at %s, and nothing can stand beside one; remove the CNAME", p.server, name)
	case dns.RcodeYXDomain, dns.RcodeNXRrset, dns.RcodeNameError:
		return verdict("%s says %s, an answer to conditions that were not put: look into its log", p.server, dns.RcodeToString[rcode])
	default:
		return verdict("%s says %s: look into its log", p.server, rcodeName(rcode))
	}
}

// notAuth is the error for RCODE NOTAUTH, which has two meanings: TSIG's (RFC
// 8945 §5.2, told by the signature's error) and that the server is not
// authoritative for the zone (RFC 2136 §2.2).
func (p *Provider) notAuth(signature *dns.TSIG) error {
	key, algorithm := strings.TrimSuffix(p.key.Name, "."), strings.TrimSuffix(p.key.Algorithm, ".")
	said := 0
	if signature != nil {
		said = int(signature.Error)
	}
	switch said {
	case dns.RcodeBadKey:
		return verdict("%s says BADKEY: it has no key %q of %s, or (Knot) no acl of the zone lets that key change this record; "+
			"compare name, algorithm and acl with its configuration, and reload it", p.server, key, algorithm)
	case dns.RcodeBadSig:
		return verdict("%s says BADSIG: its key %q has another secret or algorithm; copy the key anew", p.server, key)
	case dns.RcodeBadTime:
		return verdict("%s says BADTIME: the clocks of the two differ by more than %d seconds%s; set them by NTP", p.server, fudge, serverTime(signature))
	case dns.RcodeBadTrunc:
		return verdict("%s says BADTRUNC: it wants longer signatures; use a key of hmac-sha256 or stronger on both sides", p.server)
	default:
		return verdict("%s says NOTAUTH: it is not the primary of this zone, or does not know the key %q; "+
			"name the zone's primary as the server, and compare the key's name with its configuration", p.server, key)
	}
}

// serverTime is what a server with another clock says of its own (RFC 8945 §5.2.3).
func serverTime(signature *dns.TSIG) string {
	other, err := hex.DecodeString(signature.OtherData)
	if err != nil || len(other) != 6 {
		return ""
	}
	var seconds int64
	for _, octet := range other {
		seconds = seconds<<8 | int64(octet)
	}
	return fmt.Sprintf(" (%s there, %s here)", time.Unix(seconds, 0).UTC().Format(time.RFC3339), time.Now().UTC().Format(time.RFC3339))
}

// unsigned is the error for an answer that the key did not sign.
func (p *Provider) unsigned(rcode int) error {
	if rcode == dns.RcodeSuccess {
		return fmt.Errorf("the answer of %s is not signed, so it may be anybody's: it does not know TSIG, or something between rewrites DNS", p.server)
	}
	return verdict("%s says %s, and does not sign that: either it does not serve this zone (name its primary as the server), "+
		"or it does not answer this host, or not updates", p.server, rcodeName(rcode))
}

// forged is the error for a signature that is not right.
func (p *Provider) forged(err error) error {
	if errors.Is(err, dns.ErrTime) {
		return fmt.Errorf("the answer of %s was signed more than %d seconds before or after now: set the clocks by NTP", p.server, fudge)
	}
	return fmt.Errorf("the signature of the answer of %s is wrong (%w): another answers in its place, or its key differs", p.server, err)
}

func rcodeName(rcode int) string {
	if name, ok := dns.RcodeToString[rcode]; ok {
		return name
	}
	return fmt.Sprintf("RCODE %d", rcode)
}
