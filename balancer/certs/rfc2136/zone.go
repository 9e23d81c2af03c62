package rfc2136

import (
	"context"
	"fmt"
	"slices"

	"github.com/miekg/dns"
)

// maxAliases bounds how many names, upwards, may be aliases: with a wildcard CNAME
// all those are that the zone does not have, which are few below it.
const maxAliases = 8

// zone asks the server in which of its zones a name is. It does not matter that
// the name is not there yet: who is authoritative for a zone puts its SOA beside
// every "no" (RFC 2308 §3).
//
// Where the answer is a CNAME it is about another name's zone, so the name above is
// asked for. Nothing is concluded from it: it may be made of a wildcard (RFC 4592
// §3.3), and is none any more once the name is there.
func (p *Provider) zone(ctx context.Context, name string) (string, error) {
	for range maxAliases {
		answer, err := p.soa(ctx, name)
		if err != nil {
			return "", err
		}
		if !isAlias(answer, name) {
			zone, err := zoneOf(answer, name)
			if err != nil {
				return "", fmt.Errorf("%s %w", p.server, err)
			}
			return zone, nil
		}
		above, end := dns.NextLabel(name, 0)
		if end {
			break
		}
		name = name[above:]
	}
	return "", fmt.Errorf("%s says that the name is an alias, and so are all those above it: name the primary of the zone as the server", p.server)
}

// soa asks for the SOA of a name.
func (p *Provider) soa(ctx context.Context, name string) (*dns.Msg, error) {
	question := new(dns.Msg)
	question.SetQuestion(name, dns.TypeSOA)
	question.RecursionDesired = false // only what it knows itself counts
	answer, err := p.exchange(ctx, question)
	if err != nil {
		return nil, fmt.Errorf("find the zone: %w", err)
	}
	switch answer.Rcode {
	case dns.RcodeSuccess, dns.RcodeNameError:
		return answer, nil
	case dns.RcodeRefused:
		return nil, fmt.Errorf("%s refuses to say in which zone it is: either it does not serve that zone (name its primary as the server), "+
			"or it does not answer this host (allow-query)", p.server)
	default:
		return nil, fmt.Errorf("find the zone: %w", p.refused(answer.Rcode, "", name))
	}
}

// isAlias reports whether an answer has a CNAME at the name.
func isAlias(answer *dns.Msg, name string) bool {
	return slices.ContainsFunc(answer.Answer, func(rr dns.RR) bool {
		return rr.Header().Rrtype == dns.TypeCNAME && dns.CanonicalName(rr.Header().Name) == name
	})
}

// zoneOf reads the zone of a name from the answer to a question for its SOA.
func zoneOf(answer *dns.Msg, name string) (string, error) {
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
