// Package rfc2136 puts the answers to ACME's DNS-01 challenges into a zone, and
// takes them out again, by DNS UPDATE (RFC 2136) signed with TSIG (RFC 8945): the
// way of BIND, Knot, PowerDNS and Windows, which needs no provider's API.
//
// It is a provider of libdns as certmagic wants it, and no more than that: TXT
// records only, added and removed one by one. It keeps no state.
//
// Laws: nothing is believed that the key did not sign; only the very record that
// is named is removed, never one beside it; whatever a server answers, a call ends
// within its time and a bounded size; an error says what to do, and never the
// secret.
package rfc2136

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"
)

const (
	// defaultTimeout is how long one question may take, UDP and TCP together.
	// A primary answers in milliseconds, or after it has written a journal.
	defaultTimeout = 10 * time.Second

	// defaultTTL is short, since nobody but the CA asks, and a record that was
	// asked for too early is asked for again.
	defaultTTL = time.Minute

	// maxText is one character-string (RFC 1035 §3.3); the answer to a
	// challenge has 43 octets (RFC 8555 §8.4).
	maxText = 255
)

// Options say where a Provider writes, and by what right.
type Options struct {
	// Server is the zone's primary as host:port, or a host alone for port 53.
	// Secondaries forward updates, if at all, on conditions of their own.
	Server string

	// Key signs. There are no updates without one, since their answers could
	// be anybody's.
	Key Key

	// Timeout is how long one question to the server may take; zero is ten
	// seconds. An update takes two of them, which zone and the change, and some
	// more where a wildcard makes names aliases.
	Timeout time.Duration
}

// A Provider adds and removes TXT records at one server. Any number of
// goroutines may use it.
type Provider struct {
	server  string
	key     Key
	timeout time.Duration
}

// What certmagic.DNSProvider is made of.
var (
	_ libdns.RecordAppender = (*Provider)(nil)
	_ libdns.RecordDeleter  = (*Provider)(nil)
)

// Fingerprint is the same for providers that would do the same, in other processes too,
// and shows nothing of the secret.
func (p *Provider) Fingerprint() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %v", p.server, p.key.Name, p.key.Algorithm, p.key.Secret.reveal(), p.timeout))
	return hex.EncodeToString(sum[:])
}

// New checks the options. It asks the server nothing.
func New(o Options) (*Provider, error) {
	server, err := address(o.Server)
	if err != nil {
		return nil, err
	}
	key, err := o.Key.check()
	if err != nil {
		return nil, err
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	return &Provider{server: server, key: key, timeout: o.Timeout}, nil
}

// address completes a server's address with the port of DNS.
func address(server string) (string, error) {
	if server == "" {
		return "", errors.New("no name server is given: name the primary of the zone, as host:port")
	}
	host, port, err := net.SplitHostPort(server)
	if err != nil { // a name, an address, or an address of IPv6 in brackets
		host, port = strings.TrimSuffix(strings.TrimPrefix(server, "["), "]"), "53"
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			return "", fmt.Errorf("%q is no name server's address: write host:port", server)
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
		return "", fmt.Errorf("%q is no name server's address: write host:port", server)
	}
	return net.JoinHostPort(host, port), nil
}

// AppendRecords adds TXT records beside those that there are, each by an update
// of its own, and returns those that it added. The zone is only what names are
// relative to: the one to change is asked of the server.
func (p *Provider) AppendRecords(ctx context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	return p.each(ctx, "add", zone, records, func(update *dns.Msg, txt *dns.TXT) {
		// RFC 2136 §3.4.2.2 has the server drop an addition beside a CNAME without
		// a word; so there must be none (§2.4.3). A wildcard's does not count.
		update.RRsetNotUsed([]dns.RR{&dns.CNAME{Hdr: dns.RR_Header{Name: txt.Hdr.Name, Rrtype: dns.TypeCNAME}}})
		update.Insert([]dns.RR{txt})
	})
}

// DeleteRecords removes the TXT records with just these names and texts, and
// returns them, whether they were there or not: DNS does not tell. It refuses to
// remove by name alone, as other providers may.
func (p *Provider) DeleteRecords(ctx context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	return p.each(ctx, "remove", zone, records, func(update *dns.Msg, txt *dns.TXT) {
		update.Remove([]dns.RR{txt}) // RFC 2136 §2.5.4: one record of a set
	})
}

// each sends one update for each record. It returns those that were done.
func (p *Provider) each(ctx context.Context, what, zone string, records []libdns.Record,
	change func(*dns.Msg, *dns.TXT),
) ([]libdns.Record, error) {
	var done []libdns.Record
	for _, record := range records {
		txt, err := text(zone, record.RR())
		if err != nil {
			return done, fmt.Errorf("%s a DNS record: %w", what, err)
		}
		name := txt.Hdr.Name // Remove clears more of the header than one might think
		if err := p.update(ctx, txt, change); err != nil {
			return done, fmt.Errorf("%s the TXT record of %s: %w", what, strings.TrimSuffix(name, "."), err)
		}
		rr := record.RR()
		done = append(done, libdns.TXT{Name: rr.Name, TTL: rr.TTL, Text: rr.Data})
	}
	return done, nil
}

// update makes one change in the zone that its name is in.
func (p *Provider) update(ctx context.Context, txt *dns.TXT, change func(*dns.Msg, *dns.TXT)) error {
	zone, err := p.zone(ctx, txt.Hdr.Name)
	if err != nil {
		return err
	}
	msg := new(dns.Msg)
	msg.SetUpdate(zone)
	change(msg, txt)
	answer, err := p.exchange(ctx, msg)
	if err != nil {
		return err
	}
	if answer.Rcode != dns.RcodeSuccess {
		return p.refused(answer.Rcode, zone, txt.Hdr.Name)
	}
	return nil
}

// text makes a TXT record of a record of libdns, if it is a whole one.
func text(zone string, rr libdns.RR) (*dns.TXT, error) {
	name := dns.CanonicalName(libdns.AbsoluteName(rr.Name, zone))
	_, ok := dns.IsDomainName(name)
	switch {
	case rr.Type != "TXT":
		return nil, fmt.Errorf("only TXT records are written here, not %q", rr.Type)
	case !ok || rr.Name == "" || zone == "":
		return nil, fmt.Errorf("%q in the zone %q is no name", rr.Name, zone)
	case rr.Data == "":
		return nil, fmt.Errorf("the TXT record of %s has no text", name)
	case len(rr.Data) > maxText:
		return nil, fmt.Errorf("the text for %s has %d octets, more than %d", name, len(rr.Data), maxText)
	}
	ttl := rr.TTL
	if ttl <= 0 {
		ttl = defaultTTL
	}
	return &dns.TXT{
		Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: uint32(min(ttl, 24*time.Hour) / time.Second)},
		// The library wants texts as in a zone file, where a backslash escapes.
		Txt: []string{strings.ReplaceAll(rr.Data, `\`, `\\`)},
	}, nil
}
