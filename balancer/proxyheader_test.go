package balancer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/pires/go-proxyproto"
)

func v2(command, family byte, body string) string {
	h := append([]byte(nil), proxyproto.SIGV2...)
	h = append(h, command, family)
	h = binary.BigEndian.AppendUint16(h, uint16(len(body)))
	return string(h) + body
}

const (
	v4Body = "\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\x00\x03\xe1" // 192.0.2.1:1024 -> 192.0.2.2:993
	inTLS  = "\x20\x00\x0c\x01\x00\x00\x00\x00\x21\x00\x04TLSx" // SSL, client bit, version
)

func TestReadProxyHeader(t *testing.T) {
	client, dest := netip.MustParseAddrPort("192.0.2.1:1024"), netip.MustParseAddrPort("192.0.2.2:993")
	for _, tt := range []struct {
		name, in string
		want     proxied
		bad      bool
	}{
		{"v1", "PROXY TCP4 192.0.2.1 192.0.2.2 1024 993\r\n", proxied{client: client, dest: dest}, false},
		{"v1 IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 1024 993\r\n", proxied{
			client: netip.MustParseAddrPort("[2001:db8::1]:1024"), dest: netip.MustParseAddrPort("[2001:db8::2]:993"),
		}, false},
		{"v1 unknown", "PROXY UNKNOWN\r\n", proxied{local: true}, false},
		{"v1 too long", "PROXY UNKNOWN " + strings.Repeat("x", 107) + "\r\n", proxied{}, true},
		{"v1 without end", "PROXY TCP4 192.0.2.1 192.0.2.2 1024 993", proxied{}, true},
		{"v1 with LF only", "PROXY TCP4 192.0.2.1 192.0.2.2 1024 993\n", proxied{}, true},
		{"v1 with a bad port", "PROXY TCP4 192.0.2.1 192.0.2.2 99999 993\r\n", proxied{}, true},
		{"v1 with a name", "PROXY TCP4 mail.example.org 192.0.2.2 1024 993\r\n", proxied{}, true},
		{"v1 of the wrong family", "PROXY TCP4 2001:db8::1 2001:db8::2 1024 993\r\n", proxied{}, true},
		{"v2", v2(0x21, 0x11, v4Body), proxied{client: client, dest: dest}, false},
		{"v2 local", v2(0x20, 0x00, ""), proxied{local: true}, false},
		{"v2 local with addresses", v2(0x20, 0x11, v4Body), proxied{local: true}, false},
		{"v2 authority", v2(0x21, 0x11, v4Body+"\x02\x00\x10mail.example.org"), proxied{client: client, dest: dest, authority: "mail.example.org"}, false},
		{"v2 authority that is no name", v2(0x21, 0x11, v4Body+"\x02\x00\x05a\r\nb\x00"), proxied{client: client, dest: dest}, false},
		{"v2 TLS", v2(0x21, 0x11, v4Body+inTLS), proxied{client: client, dest: dest, tls: true}, false},
		{"v2 unknown TLVs are skipped", v2(0x21, 0x11, v4Body+"\xee\x00\x02xy\x04\x00\x01\x00"+inTLS), proxied{client: client, dest: dest, tls: true}, false},
		{"v2 TLV longer than the header", v2(0x21, 0x11, v4Body+"\x02\xff\xffx"), proxied{}, true},
		{"v2 TLV cut off", v2(0x21, 0x11, v4Body+"\x02\x00"), proxied{}, true},
		{"v2 SSL TLV cut off", v2(0x21, 0x11, v4Body+"\x20\x00\x02\x01\x00"), proxied{}, true},
		{"v2 addresses cut off", v2(0x21, 0x11, v4Body[:8]), proxied{}, true},
		{"v2 header cut off", v2(0x21, 0x11, v4Body)[:20], proxied{}, true},
		{"v2 length over the bound", v2(0x21, 0x11, v4Body+"\x04\xff\xf0"+strings.Repeat("x", 65000)), proxied{}, true},
		{"v2 of another version", v2(0x31, 0x11, v4Body), proxied{}, true},
		{"v2 with an unknown command", v2(0x22, 0x11, v4Body), proxied{}, true},
		{"v2 UDP", v2(0x21, 0x12, v4Body), proxied{}, true},
		{"v2 from nowhere", v2(0x21, 0x11, "\x00\x00\x00\x00\xc0\x00\x02\x02\x04\x00\x03\xe1"), proxied{}, true},
		{"no header", "a LOGIN joe secret\r\n", proxied{}, true},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00", proxied{}, true},
		{"nothing", "", proxied{}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const behind = "a LOGIN joe secret\r\n"
			for _, cut := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader} {
				input := strings.NewReader(tt.in + behind)
				if tt.bad {
					input = strings.NewReader(tt.in)
				}
				got, err := readProxyHeader(cut(input))
				if tt.bad {
					if !errors.Is(err, errProxyHeader) {
						t.Errorf("got %+v, %v; want an error", got, err)
					}
					continue
				}
				if err != nil || got != tt.want {
					t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
				}
				// Header and payload in one segment: the payload is untouched.
				if rest, _ := io.ReadAll(input); string(rest) != behind {
					t.Errorf("left %q for the protocol", rest)
				}
			}
		})
	}
}

func TestProxyHeaderIsReadAsItWasWritten(t *testing.T) {
	c := &clientInfo{
		client: netip.MustParseAddrPort("192.0.2.1:1024"), local: netip.MustParseAddrPort("192.0.2.2:993"),
		serverName: "mail.example.org", session: "abc", secure: true, peer: "joe@example.org",
	}
	for _, form := range []AddressForm{AddressProxy1, AddressProxy2} {
		raw, err := proxyHeader(form, c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readProxyHeader(bytes.NewReader(raw))
		want := proxied{client: c.client, dest: c.local}
		if form == AddressProxy2 {
			want.tls, want.authority = true, "mail.example.org"
		}
		if err != nil || got != want {
			t.Errorf("form %d: %+v, %v; want %+v", form, got, err, want)
		}
		local, err := proxyHeader(form, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := readProxyHeader(bytes.NewReader(local)); err != nil || !got.local {
			t.Errorf("form %d of a check: %+v, %v", form, got, err)
		}
	}
	// The two ends may be of different families behind another proxy.
	c.local = netip.MustParseAddrPort("[2001:db8::1]:993")
	raw, err := proxyHeader(AddressProxy2, c)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readProxyHeader(bytes.NewReader(raw)); err != nil || got.client != c.client {
		t.Errorf("mixed families: %+v, %v", got, err)
	}
}

// FuzzProxyHeader holds that a header is read without panic, that nothing
// behind it is touched, and that what is read is a client's address.
func FuzzProxyHeader(f *testing.F) {
	for _, s := range []string{
		"PROXY TCP4 192.0.2.1 192.0.2.2 1024 993\r\n", "PROXY UNKNOWN\r\n", v2(0x20, 0, ""),
		v2(0x21, 0x11, v4Body+inTLS), v2(0x21, 0x21, strings.Repeat("\x20", 36)+"\x02\x00\x01x"),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		p, err := readProxyHeader(r)
		if err != nil {
			return
		}
		if !p.local && (!p.client.IsValid() || p.client.Addr().IsUnspecified()) {
			t.Errorf("%q: client %v", in, p.client)
		}
		if read := len(in) - r.Len(); read > maxProxyHeader {
			t.Errorf("read %d octets", read)
		}
		if p.authority != hostName(p.authority) {
			t.Errorf("%q: authority %q", in, p.authority)
		}
	})
}

func TestAppendDovecotCannotBeImitated(t *testing.T) {
	f := FailedLogin{
		Protocol: "imap", User: `x>, rip=203.0.113.9, lip=1.1.1.1 (auth failed, 1 attempts): user=<%2`, Mechanism: "command",
		Client: netip.MustParseAddrPort("192.0.2.1:1024"), Local: netip.MustParseAddrPort("192.0.2.2:993"),
		TLS: true, Session: "abc", Kind: AuthFailed, Attempts: 2,
	}
	got := string(f.AppendDovecot(nil))
	want := `imap-login: Disconnected: Connection closed (auth failed, 2 attempts in 0 secs): user=<x%3E%2C%20rip=203.0.113.9%2C%20lip=1.1.1.1%20%28auth%20failed%2C%201%20attempts%29:%20user=%3C%252>, method=PLAIN, rip=192.0.2.1, lip=192.0.2.2, TLS, session=<abc>`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	f.Kind = BackendDial
	if s := string(f.AppendDovecot(nil)); strings.Contains(s, "auth failed") {
		t.Errorf("a fault of ours would ban the client: %s", s)
	}
}

// Every kind has a name of its own, and none of them, but a wrong password, is
// answered like one.
func TestKinds(t *testing.T) {
	seen := make(map[string]Kind)
	for _, k := range Kinds() {
		if other, ok := seen[k.String()]; ok || k.String() == "" {
			t.Errorf("%d and %d are both called %q", other, k, k)
		}
		seen[k.String()] = k
		if code := (&Failure{Kind: k}).answer().Code; (code.String() == "authfailed") != (k == AuthFailed) {
			t.Errorf("%v is answered as %v", k, code)
		}
	}
}
