package rfc2136

import (
	"context"
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// zone asks the server in which of its zones a name is. It does not matter that
// the name is not there yet: who is authoritative for a zone puts its SOA beside
// every "no" (RFC 2308 §3).
func (p *Provider) zone(ctx context.Context, name string) (string, error) {
	question := new(dns.Msg)
	question.SetQuestion(name, dns.TypeSOA)
	question.RecursionDesired = false // only what it knows itself counts
	answer, err := p.exchange(ctx, question)
	if err != nil {
		return "", fmt.Errorf("find the zone: %w", err)
	}
	switch answer.Rcode {
	case dns.RcodeSuccess, dns.RcodeNameError:
		zone, err := zoneOf(answer, name)
		if err != nil {
			return "", fmt.Errorf("%s %w", p.server, err)
		}
		return zone, nil
	case dns.RcodeRefused:
		return "", fmt.Errorf("%s refuses to say in which zone it is: either it does not serve that zone (name its primary as the server), "+
			"or it does not answer this host (allow-query)", p.server)
	default:
		return "", fmt.Errorf("find the zone: %w", p.refused(answer.Rcode, "", name))
	}
}

// zoneOf reads the zone of a name from the answer to a question for its SOA.
func zoneOf(answer *dns.Msg, name string) (string, error) {
	for _, rr := range answer.Answer {
		if alias, ok := rr.(*dns.CNAME); ok && dns.CanonicalName(alias.Hdr.Name) == name {
			// RFC 2136 §3.4.2.2 lets the server drop an addition beside a
			// CNAME without a word.
			return "", fmt.Errorf("has a CNAME there, to %s, and nothing can stand beside one: "+
				"remove the CNAME, since usher answers at the name itself", strings.TrimSuffix(alias.Target, "."))
		}
	}
	if !answer.Authoritative {
		return "", fmt.Errorf("is not authoritative for it: it is a resolver, or a part of its zone is delegated to another server; " +
			"name the primary of the zone as the server")
	}
	zone := ""
	for _, section := range [][]dns.RR{answer.Answer, answer.Ns} {
		for _, rr := range section {
			soa, ok := rr.(*dns.SOA)
			if !ok {
				continue
			}
			owner := dns.CanonicalName(soa.Hdr.Name)
			if dns.IsSubDomain(owner, name) && owner != "." && len(owner) > len(zone) {
				zone = owner
			}
		}
	}
	if zone == "" {
		return "", fmt.Errorf("does not say in which zone it is (no SOA in its answer): name the primary of the zone as the server")
	}
	return zone, nil
}
