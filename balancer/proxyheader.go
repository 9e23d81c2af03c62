package balancer

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

const (
	// proxyHeaderTime is what a trusted peer has for its header; it is in the
	// first segment. Dovecot's haproxy_timeout is the same.
	proxyHeaderTime = 3 * time.Second

	// maxProxyHeader bounds a header of version 2, whose length field allows
	// 64 KiB: addresses take 216 octets at most, a certificate's name and a
	// few vendors' TLVs some hundreds.
	maxProxyHeader = 4096

	// maxProxyV1 is the longest line of version 1, CRLF included.
	maxProxyV1 = 107

	// proxyV2Fixed is the fixed part of version 2: signature, command, family
	// and length. The shortest line of version 1 is not shorter than that.
	proxyV2Signature = 12
	proxyV2Fixed     = 16
)

// errProxyHeader means that a header is missing, malformed or forged.
var errProxyHeader = errors.New("no valid PROXY header")

// A proxied is what a PROXY header tells of the client.
type proxied struct {
	local        bool // a check by the proxy itself, without a client
	client, dest netip.AddrPort
	tls          bool // the client's connection to the proxy is encrypted
	authority    string
}

// readProxyHeader reads a header and not an octet more, so that nothing has to
// be carried behind it: TLS and splice start on the bare connection.
func readProxyHeader(r io.Reader) (proxied, error) {
	raw, err := readHeaderBytes(r)
	if err != nil {
		return proxied{}, err
	}
	br := bufio.NewReaderSize(bytes.NewReader(raw), maxProxyHeader)
	h, err := proxyproto.Read(br)
	if err != nil {
		return proxied{}, fmt.Errorf("%w: %w", errProxyHeader, err)
	}
	if br.Buffered() > 0 {
		return proxied{}, fmt.Errorf("%w: stray octets", errProxyHeader)
	}
	if h.Command.IsLocal() || h.TransportProtocol.IsUnspec() {
		return proxied{local: true}, nil
	}
	src, dst, ok := h.TCPAddrs()
	if !ok {
		return proxied{}, fmt.Errorf("%w: not TCP", errProxyHeader)
	}
	p := proxied{client: unmap(src.AddrPort()), dest: unmap(dst.AddrPort())}
	if !p.client.IsValid() || p.client.Addr().IsUnspecified() {
		return proxied{}, fmt.Errorf("%w: no client address", errProxyHeader)
	}
	tlvs, err := h.TLVs()
	if err != nil {
		return proxied{}, fmt.Errorf("%w: %w", errProxyHeader, err)
	}
	for _, v := range tlvs {
		switch {
		case v.Type == proxyproto.PP2_TYPE_AUTHORITY:
			p.authority = hostName(string(v.Value))
		case v.Type == proxyproto.PP2_TYPE_SSL:
			ssl, err := tlvparse.SSL(v)
			if err != nil {
				return proxied{}, fmt.Errorf("%w: %w", errProxyHeader, err)
			}
			p.tls = ssl.ClientSSL()
		}
	}
	return p, nil
}

// readHeaderBytes reads as many octets as the header says that it has.
func readHeaderBytes(r io.Reader) ([]byte, error) {
	buf := make([]byte, proxyV2Signature, 256)
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, fmt.Errorf("%w: %w", errProxyHeader, err)
	}
	if bytes.Equal(buf, proxyproto.SIGV2) {
		buf = buf[:proxyV2Fixed]
		if _, err := io.ReadFull(r, buf[proxyV2Signature:]); err != nil {
			return nil, fmt.Errorf("%w: %w", errProxyHeader, err)
		}
		size := int(buf[14])<<8 | int(buf[15])
		if proxyV2Fixed+size > maxProxyHeader {
			return nil, fmt.Errorf("%w: %d octets, at most %d", errProxyHeader, proxyV2Fixed+size, maxProxyHeader)
		}
		buf = append(buf, make([]byte, size)...)
		if _, err := io.ReadFull(r, buf[proxyV2Fixed:]); err != nil {
			return nil, fmt.Errorf("%w: %w", errProxyHeader, err)
		}
		return buf, nil
	}
	if !bytes.HasPrefix(buf, proxyproto.SIGV1) {
		return nil, errProxyHeader
	}
	for !bytes.HasSuffix(buf, []byte("\r\n")) {
		if len(buf) >= maxProxyV1 {
			return nil, fmt.Errorf("%w: a line of more than %d octets", errProxyHeader, maxProxyV1)
		}
		buf = append(buf, 0)
		if _, err := io.ReadFull(r, buf[len(buf)-1:]); err != nil {
			return nil, fmt.Errorf("%w: %w", errProxyHeader, err)
		}
	}
	return buf, nil
}

// hostName returns s if it can be a host's name, else nothing: it goes on to
// back ends and into logs.
func hostName(s string) string {
	const maxHostName = 253 // RFC 1035 §2.3.4, as text
	if len(s) > maxHostName {
		return ""
	}
	for _, c := range []byte(s) {
		if c != '.' && c != '-' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return ""
		}
	}
	return s
}

// proxyHeader is what is sent to a back end ahead of everything else.
// Without a client (a health check) it is LOCAL, which the back end logs not.
func proxyHeader(form AddressForm, c *clientInfo) ([]byte, error) {
	version := byte(2)
	if form == AddressProxy1 {
		version = 1
	}
	if c == nil {
		h := &proxyproto.Header{Version: version, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
		if version == 1 {
			return []byte("PROXY UNKNOWN\r\n"), nil
		}
		return h.Format()
	}
	client, local := sameFamily(c.client, c.local)
	h := proxyproto.HeaderProxyFromAddrs(version, net.TCPAddrFromAddrPort(client), net.TCPAddrFromAddrPort(local))
	if version == 2 {
		tlvs, err := c.tlvs()
		if err != nil {
			return nil, err
		}
		if err := h.SetTLVs(tlvs); err != nil {
			return nil, fmt.Errorf("PROXY header: %w", err)
		}
	}
	return h.Format()
}

// sameFamily maps IPv4 to IPv6 where the two ends differ, which they may behind
// another proxy: a header has room for one family.
func sameFamily(a, b netip.AddrPort) (netip.AddrPort, netip.AddrPort) {
	if a.Addr().Is4() == b.Addr().Is4() {
		return a, b
	}
	wide := func(p netip.AddrPort) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom16(p.Addr().As16()), p.Port())
	}
	return wide(a), wide(b)
}

// A clientInfo is what a back end is told of the client.
type clientInfo struct {
	client, local netip.AddrPort
	serverName    string // what the client called us by
	session       string
	secure        bool // encrypted up to us, or up to a proxy that we trust
	tls           *tls.ConnectionState
	peer          string // user of the client certificate
}

func (c *clientInfo) tlvs() ([]proxyproto.TLV, error) {
	tlvs := []proxyproto.TLV{{Type: proxyproto.PP2_TYPE_UNIQUE_ID, Value: []byte(c.session)}}
	if c.serverName != "" {
		tlvs = append(tlvs, proxyproto.TLV{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte(c.serverName)})
	}
	if !c.secure {
		return tlvs, nil
	}
	const clientSSL, clientCertConn = 0x01, 0x02
	ssl := tlvparse.PP2SSL{Client: clientSSL, Verify: 1}
	version := "unknown" // a proxy that we trust took TLS off; the field must be there
	if c.tls != nil {
		version = tlsVersion(c.tls.Version)
		ssl.TLV = []proxyproto.TLV{{Type: proxyproto.PP2_SUBTYPE_SSL_CIPHER, Value: []byte(suiteName(c.tls.CipherSuite))}}
	}
	ssl.TLV = append(ssl.TLV, proxyproto.TLV{Type: proxyproto.PP2_SUBTYPE_SSL_VERSION, Value: []byte(version)})
	if c.peer != "" {
		ssl.Client |= clientCertConn
		ssl.Verify = 0
		ssl.TLV = append(ssl.TLV, proxyproto.TLV{Type: proxyproto.PP2_SUBTYPE_SSL_CN, Value: []byte(c.peer)})
	}
	v, err := ssl.Marshal()
	if err != nil {
		return nil, fmt.Errorf("PROXY header: %w", err)
	}
	return append(tlvs, v), nil
}

// suiteNames are those of tls.CipherSuiteName, which makes a list of all suites each
// time that it looks for one.
var suiteNames sync.Map // of string by uint16; there are as many as crypto/tls knows

func suiteName(suite uint16) string {
	if name, ok := suiteNames.Load(suite); ok {
		return name.(string) //nolint:errcheck,forcetypeassert // nobody else stores here
	}
	name := tls.CipherSuiteName(suite)
	suiteNames.Store(suite, name)
	return name
}

// tlsVersion is the version as the PROXY protocol and Dovecot's logs write it.
func tlsVersion(v uint16) string {
	switch v {
	case tls.VersionTLS10:
		return "TLSv1"
	case tls.VersionTLS11:
		return "TLSv1.1"
	case tls.VersionTLS12:
		return "TLSv1.2"
	case tls.VersionTLS13:
		return "TLSv1.3"
	}
	return ""
}

// unmap makes IPv4 of IPv4-mapped IPv6, which dual-stack sockets report.
func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
