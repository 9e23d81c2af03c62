package rfc2136

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/miekg/dns"
)

const (
	// maxAnswer bounds what is read: without EDNS an answer by UDP has at most
	// 512 octets, and an SOA with its name servers and a signature by TCP is
	// not much larger.
	maxAnswer = 16 << 10

	// datagramShare is the part of the time that UDP may take before TCP is
	// tried: networks drop the one or the other.
	datagramShare = 3

	// maxDatagrams is how many datagrams with another question's number are
	// passed over, such as late ones; a flood of them ends with TCP.
	maxDatagrams = 64

	// fudge is how many seconds clocks may differ, as RFC 8945 §10 recommends.
	fudge = 300
)

// errTruncated says that an answer does not fit a datagram (RFC 1035 §4.2.1).
var errTruncated = errors.New("the answer is truncated")

// exchange asks the server and returns what it answered, signed. It tries UDP,
// and TCP if nothing came of that, be it lost, truncated or forged: sending an
// update twice does no harm, since it says what is to be and not what to do.
func (p *Provider) exchange(ctx context.Context, msg *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	answer, byUDP := p.attempt(ctx, "udp", p.timeout/datagramShare, msg)
	if byUDP == nil {
		return answer, nil
	}
	answer, err := p.attempt(ctx, "tcp", p.timeout, msg)
	switch {
	case err == nil:
		return answer, nil
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled):
		return nil, ctx.Err()
	}
	var verdict *verdictError
	if errors.As(err, &verdict) {
		return nil, err // the server has spoken; what UDP lacked is beside the point
	}
	return nil, fmt.Errorf("ask %s by TCP: %w (and by UDP: %w); is it up, and may this host reach its port by UDP or TCP?", p.server, err, byUDP)
}

// attempt asks once by a network.
func (p *Provider) attempt(ctx context.Context, network string, limit time.Duration, msg *dns.Msg) (*dns.Msg, error) {
	packet, mac, err := p.sign(msg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, p.server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// Whatever ends the context ends a read: a deadline, or who called.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // a closed connection ends reads as well
	defer stop()
	if network == "udp" {
		return p.datagram(conn, msg, packet, mac)
	}
	return p.stream(conn, msg, packet, mac)
}

// sign packs a message with a signature, anew for each attempt: it has a time.
func (p *Provider) sign(msg *dns.Msg) (packet []byte, mac string, err error) {
	signed := msg.Copy()
	signed.SetTsig(p.key.Name, p.key.Algorithm, fudge, time.Now().Unix())
	packet, mac, err = dns.TsigGenerateWithProvider(signed, signer{p.key}, "", false)
	if err != nil {
		return nil, "", fmt.Errorf("sign the question: %w", err)
	}
	return packet, mac, nil
}

// datagram passes over answers to other questions. The socket is connected:
// the kernel drops what does not come from the server's address.
func (p *Provider) datagram(conn net.Conn, msg *dns.Msg, packet []byte, mac string) (*dns.Msg, error) {
	if _, err := conn.Write(packet); err != nil {
		return nil, err
	}
	buf := make([]byte, maxAnswer)
	for range maxDatagrams {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		if n < 2 || binary.BigEndian.Uint16(buf) != msg.Id {
			continue
		}
		return p.read(buf[:n], msg, mac)
	}
	return nil, errors.New("too many answers to other questions")
}

// stream frames messages as RFC 1035 §4.2.2 says.
func (p *Provider) stream(conn net.Conn, msg *dns.Msg, packet []byte, mac string) (*dns.Msg, error) {
	framed := binary.BigEndian.AppendUint16(nil, uint16(len(packet))) //nolint:gosec // an update is some hundred octets
	if _, err := conn.Write(append(framed, packet...)); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	n := binary.BigEndian.Uint16(size[:])
	if n > maxAnswer {
		return nil, fmt.Errorf("the answer has %d octets, more than %d", n, maxAnswer)
	}
	buf := make([]byte, n)
	if _, err := io.ReadFull(conn, buf); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return p.read(buf, msg, mac)
}

// read takes a packet for an answer if it is one to the question, and signed.
// The packet is of no use afterwards.
func (p *Provider) read(packet []byte, msg *dns.Msg, mac string) (*dns.Msg, error) {
	answer := new(dns.Msg)
	if err := answer.Unpack(packet); err != nil {
		return nil, fmt.Errorf("the answer is no DNS message: %w", err)
	}
	if !answer.Response || answer.Id != msg.Id || answer.Opcode != msg.Opcode {
		return nil, errors.New("the answer is to another question")
	}
	if answer.Truncated {
		return nil, errTruncated
	}
	signature := answer.IsTsig()
	if answer.Rcode == dns.RcodeNotAuth {
		// RFC 8945 §5.3.2: who does not know the key cannot sign its answer.
		// To believe such a "no" costs a try, no more.
		return nil, p.notAuth(signature)
	}
	if signature == nil {
		return nil, p.unsigned(answer.Rcode)
	}
	for _, rr := range answer.Extra[:len(answer.Extra)-1] {
		if rr.Header().Rrtype == dns.TypeTSIG {
			return nil, errors.New("the answer is signed twice")
		}
	}
	if err := dns.TsigVerifyWithProvider(packet, signer{p.key}, mac, false); err != nil {
		return nil, p.forged(err)
	}
	// RFC 2136 §3.8 lets an answer to an update leave out the question.
	if msg.Opcode == dns.OpcodeQuery && !sameQuestion(answer.Question, msg.Question) {
		return nil, errors.New("the answer is to another question")
	}
	return answer, nil
}

func sameQuestion(a, b []dns.Question) bool {
	return len(a) == 1 && len(b) == 1 && a[0].Qtype == b[0].Qtype && a[0].Qclass == b[0].Qclass &&
		dns.CanonicalName(a[0].Name) == dns.CanonicalName(b[0].Name)
}
