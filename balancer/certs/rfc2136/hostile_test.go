package rfc2136_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"usher.example/balancer/certs/dnstest"
	"usher.example/balancer/certs/rfc2136"
)

// A reply is what a hostile server sends for a question: packets by UDP, the
// octets of one stream by TCP. The MAC is the question's.
type reply func(network string, question *dns.Msg, mac string) [][]byte

// fake serves replies at a port of UDP and TCP until the test ends.
func fake(t *testing.T, answer reply) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	packets, err := net.ListenPacket("udp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := packets.ReadFrom(buf)
			if err != nil {
				return
			}
			question, mac := ask(t, buf[:n])
			for _, packet := range answer("udp", question, mac) {
				_, _ = packets.WriteTo(packet, from)
			}
		}
	})
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				var size [2]byte
				if _, err := io.ReadFull(conn, size[:]); err != nil {
					return
				}
				buf := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(conn, buf); err != nil {
					return
				}
				question, mac := ask(t, buf)
				for _, octets := range answer("tcp", question, mac) {
					_, _ = conn.Write(octets)
				}
				_, _ = io.Copy(io.Discard, conn) // until the other end has had enough
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		packets.Close()
		wg.Wait()
	})
	return listener.Addr().String()
}

// ask takes a question apart.
func ask(t *testing.T, packet []byte) (*dns.Msg, string) {
	question := new(dns.Msg)
	if err := question.Unpack(packet); err != nil {
		t.Errorf("the question is no DNS message: %v", err)
	}
	signature := question.IsTsig()
	if signature == nil {
		t.Error("the question is not signed")
		return question, ""
	}
	return question, signature.MAC
}

// answerTo is an honest answer: the zone's SOA to a question for it, "done" to
// an update.
func answerTo(question *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(question)
	m.Authoritative = true
	if question.Opcode == dns.OpcodeQuery {
		m.Ns = []dns.RR{soa("example.org.")}
	}
	return m
}

func soa(zone string) dns.RR {
	return &dns.SOA{Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: "ns.example.org.", Mbox: "root.example.org."}
}

// pack signs an answer with a secret at a time, or does not sign it, and frames
// it for TCP.
func pack(t *testing.T, network string, m *dns.Msg, secret, mac string, at time.Time) []byte {
	var packet []byte
	var err error
	if secret == "" {
		packet, err = m.Pack()
	} else {
		m.SetTsig(dns.Fqdn(writer.Name), dns.HmacSHA256, 300, at.Unix())
		packet, _, err = dns.TsigGenerate(m, secret, mac, false)
	}
	if err != nil {
		t.Errorf("pack an answer: %v", err)
	}
	if network == "tcp" {
		return append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
	}
	return packet
}

// short keeps what must time out from taking long.
func short(o *rfc2136.Options) { o.Timeout = 300 * time.Millisecond }

func TestHostileAnswers(t *testing.T) {
	signed := func(t *testing.T, change func(network string, m *dns.Msg)) reply {
		return func(network string, question *dns.Msg, mac string) [][]byte {
			m := answerTo(question)
			change(network, m)
			return [][]byte{pack(t, network, m, writer.Secret, mac, time.Now())}
		}
	}
	for name, c := range map[string]struct {
		reply reply
		want  string // in the error; empty: it is added all the same
	}{
		"honest": {reply: signed(t, func(string, *dns.Msg) {})},
		"late answers to others": {reply: func(network string, question *dns.Msg, mac string) [][]byte {
			honest := pack(t, network, answerTo(question), writer.Secret, mac, time.Now())
			if network != "udp" {
				return [][]byte{honest}
			}
			late := answerTo(question)
			late.Id++
			return [][]byte{{}, {1}, pack(t, network, late, "", "", time.Now()), honest}
		}},
		"truncated by UDP": {reply: signed(t, func(network string, m *dns.Msg) { m.Truncated = network == "udp" })},
		"forged by UDP": {reply: func(network string, question *dns.Msg, mac string) [][]byte {
			secret := writer.Secret
			if network == "udp" {
				secret = ""
			}
			return [][]byte{pack(t, network, answerTo(question), secret, mac, time.Now())}
		}},
		"silent by UDP": {reply: func(network string, question *dns.Msg, mac string) [][]byte {
			if network == "udp" {
				return nil
			}
			return [][]byte{pack(t, network, answerTo(question), writer.Secret, mac, time.Now())}
		}},
		"flood of others": {want: "too many answers", reply: func(network string, question *dns.Msg, _ string) [][]byte {
			other := answerTo(question)
			other.Id++
			packet := pack(t, network, other, "", "", time.Now())
			flood := make([][]byte, 100)
			for i := range flood {
				flood[i] = packet
			}
			return flood
		}},
		"truncated always": {want: "truncated", reply: signed(t, func(_ string, m *dns.Msg) { m.Truncated = true })},
		"not signed": {want: "is not signed", reply: func(network string, question *dns.Msg, _ string) [][]byte {
			return [][]byte{pack(t, network, answerTo(question), "", "", time.Now())}
		}},
		"signed by another": {want: "signature of the answer", reply: func(network string, question *dns.Msg, mac string) [][]byte {
			return [][]byte{pack(t, network, answerTo(question), reader.Secret, mac, time.Now())}
		}},
		"signed for another question": {want: "signature of the answer", reply: func(network string, question *dns.Msg, mac string) [][]byte {
			return [][]byte{pack(t, network, answerTo(question), writer.Secret, "00"+mac[2:], time.Now())}
		}},
		"signed long ago": {want: "set the clocks", reply: func(network string, question *dns.Msg, mac string) [][]byte {
			return [][]byte{pack(t, network, answerTo(question), writer.Secret, mac, time.Now().Add(-time.Hour))}
		}},
		"another question": {want: "another question", reply: signed(t, func(_ string, m *dns.Msg) {
			if m.Opcode == dns.OpcodeQuery {
				m.Question[0].Name = "_acme-challenge.example.com."
			}
		})},
		"a question": {want: "another question", reply: signed(t, func(_ string, m *dns.Msg) { m.Response = false })},
		"no authority": {want: "not authoritative", reply: signed(t, func(_ string, m *dns.Msg) {
			m.Authoritative = false
		})},
		"another's SOA":   {want: "no SOA", reply: signed(t, func(_ string, m *dns.Msg) { m.Ns = []dns.RR{soa("example.com.")} })},
		"the root's SOA":  {want: "no SOA", reply: signed(t, func(_ string, m *dns.Msg) { m.Ns = []dns.RR{soa(".")} })},
		"no SOA":          {want: "no SOA", reply: signed(t, func(_ string, m *dns.Msg) { m.Ns = nil })},
		"garbage":         {want: "no DNS message", reply: func(network string, q *dns.Msg, _ string) [][]byte { return [][]byte{garbage(network, q.Id)} }},
		"a stream's lie":  {want: "more than", reply: func(string, *dns.Msg, string) [][]byte { return [][]byte{{0xff, 0xff}} }},
		"half an answer":  {want: "read the answer", reply: func(string, *dns.Msg, string) [][]byte { return [][]byte{{0, 50, 1}} }},
		"nothing at all":  {want: "is it up", reply: func(string, *dns.Msg, string) [][]byte { return nil }},
		"an empty answer": {want: "no DNS message", reply: func(string, *dns.Msg, string) [][]byte { return [][]byte{{0, 0}} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := provider(t, fake(t, c.reply), writer, short)
			start := time.Now()
			_, err := p.AppendRecords(t.Context(), "example.org", txt("_acme-challenge", "text"))
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want it to say %q", err, c.want)
			}
		})
	}
}

func garbage(network string, id uint16) []byte {
	packet := append(binary.BigEndian.AppendUint16(nil, id), 0xff, 0xff, 0xff, 0xff, 0xc0, 0x0c)
	if network == "tcp" {
		return append([]byte{0, byte(len(packet))}, packet...)
	}
	return packet
}

// TestVerdicts wants every RCODE and every error of TSIG to be named, with
// advice, whatever the server says.
func TestVerdicts(t *testing.T) {
	advice := map[int]string{
		dns.RcodeFormatError: "FORMERR", dns.RcodeServerFailure: "may not write", dns.RcodeNameError: "NXDOMAIN",
		dns.RcodeNotImplemented: "does not take updates", dns.RcodeRefused: "update-policy", dns.RcodeYXDomain: "YXDOMAIN",
		dns.RcodeYXRrset: "YXRRSET", dns.RcodeNXRrset: "NXRRSET", dns.RcodeNotAuth: "not the primary",
		dns.RcodeNotZone: "name the primary", 11: "DSOTYPENI", 12: "RCODE 12",
	}
	for rcode, want := range advice {
		server := fake(t, func(network string, question *dns.Msg, mac string) [][]byte {
			m := answerTo(question)
			if m.Opcode == dns.OpcodeUpdate {
				m.Rcode = rcode
			}
			return [][]byte{pack(t, network, m, writer.Secret, mac, time.Now())}
		})
		wantAdvice(t, server, want)
	}
	for code, want := range map[uint16]string{
		dns.RcodeBadSig: "copy the key anew", dns.RcodeBadKey: "compare name, algorithm",
		dns.RcodeBadTime: "2001-09-09T01:46:40Z there", dns.RcodeBadTrunc: "longer signatures",
	} {
		server := fake(t, func(network string, question *dns.Msg, mac string) [][]byte {
			m := answerTo(question)
			m.Rcode = dns.RcodeNotAuth
			m.SetTsig(dns.Fqdn(writer.Name), dns.HmacSHA256, 300, time.Now().Unix())
			signature := m.IsTsig()
			signature.Error = code
			if code == dns.RcodeBadTime {
				signature.OtherData, signature.OtherLen = fmt.Sprintf("%012x", 1_000_000_000), 6
			}
			packet, _, err := dns.TsigGenerate(m, writer.Secret, mac, false)
			if err != nil {
				t.Error(err)
			}
			if network == "tcp" {
				packet = append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
			}
			return [][]byte{packet}
		})
		wantAdvice(t, server, want)
	}
}

func wantAdvice(t *testing.T, server, want string) {
	t.Helper()
	p := provider(t, server, writer, short)
	_, err := p.AppendRecords(t.Context(), "example.org", txt("_acme-challenge", "text"))
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want it to say %q", err, want)
	}
}

// TestServerClock wants a real BIND that believes it is another day to be
// reported as such: it says BADTIME and its time.
func TestServerClock(t *testing.T) {
	server := dnstest.BIND(t, options())
	// The question is signed by a clock of two hours ago; the server's is right.
	packet, mac := signedAt(t, time.Now().Add(-2*time.Hour))
	conn, err := net.Dial("udp", server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(packet); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	_, err = rfc2136.Read(provider(t, server.Addr, writer), buf[:n], question(t, packet), mac)
	if err == nil || !strings.Contains(err.Error(), "BADTIME") || !strings.Contains(err.Error(), " there, ") {
		t.Errorf("got %v, want BADTIME with the server's time", err)
	}
}

func question(t *testing.T, packet []byte) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(packet); err != nil {
		t.Fatal(err)
	}
	return m
}

func signedAt(t *testing.T, at time.Time) (packet []byte, mac string) {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion("example.org.", dns.TypeSOA)
	m.SetTsig(dns.Fqdn(writer.Name), dns.HmacSHA256, 300, at.Unix())
	packet, mac, err := dns.TsigGenerate(m, writer.Secret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	return packet, mac
}
