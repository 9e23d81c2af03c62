package rfc2136

import "github.com/miekg/dns"

// Read is read, for tests that bring packets of their own.
func Read(p *Provider, packet []byte, msg *dns.Msg, mac string) (*dns.Msg, error) {
	return p.read(packet, msg, mac)
}

// ZoneOf is zoneOf.
func ZoneOf(answer *dns.Msg, name string) (string, error) { return zoneOf(answer, name) }
