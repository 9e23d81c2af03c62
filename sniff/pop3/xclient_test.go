package pop3

import (
	"net/netip"
	"strings"
	"testing"

	"usher.example/sniff"
)

// nginx CVE-2026-28753: no value that came from outside adds to the line. What
// Dovecot reads verbatim is sent verbatim or not at all.
func TestAppendAnnouncement(t *testing.T) {
	client := netip.MustParseAddrPort("192.0.2.9:1234")
	const rest = " TTL=4 CLIENT-TRANSPORT=insecure\r\n"
	for _, tt := range []struct {
		name string
		a    sniff.Announcement
		want string
	}{
		{"the least", sniff.Announcement{Client: client}, "XCLIENT ADDR=192.0.2.9 PORT=1234" + rest},
		{"an IPv4 address in IPv6", sniff.Announcement{Client: netip.MustParseAddrPort("[::ffff:192.0.2.9]:1234")}, "XCLIENT ADDR=192.0.2.9 PORT=1234" + rest},
		{"a zone", sniff.Announcement{Client: netip.MustParseAddrPort("[fe80::1%eth0]:1")}, "XCLIENT ADDR=fe80::1 PORT=1" + rest},
		{"a session id as Dovecot's", sniff.Announcement{Client: client, Session: "a/B+c="}, "XCLIENT ADDR=192.0.2.9 PORT=1234 SESSION=a/B+c=" + rest},
		{"one with a space", sniff.Announcement{Client: client, Session: "a ADDR=::1"}, "XCLIENT ADDR=192.0.2.9 PORT=1234" + rest},
		{"one with a line end", sniff.Announcement{Client: client, Session: "a\r\nUSER x"}, "XCLIENT ADDR=192.0.2.9 PORT=1234" + rest},
		{"one too long", sniff.Announcement{Client: client, Session: strings.Repeat("a", maxSession+1)}, "XCLIENT ADDR=192.0.2.9 PORT=1234" + rest},
		{"a server name with a line end", sniff.Announcement{Client: client, ServerName: "a\r\nUSER x"}, "XCLIENT ADDR=192.0.2.9 PORT=1234" + rest},
		{"a server name of other letters", sniff.Announcement{Client: client, ServerName: "exämple.org"}, "XCLIENT ADDR=192.0.2.9 PORT=1234" + rest},
	} {
		if got := string(appendAnnouncement(nil, tt.a)); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	long := appendAnnouncement(nil, sniff.Announcement{
		Client:     netip.AddrPortFrom(netip.MustParseAddr("2001:db8:1111:2222:3333:4444:5555:6666"), 65535),
		Local:      netip.AddrPortFrom(netip.MustParseAddr("2001:db8:1111:2222:3333:4444:5555:6666"), 65535),
		ServerName: strings.Repeat("a", maxServerName), Session: strings.Repeat("s", maxSession),
	})
	if len(long) > 512 {
		t.Errorf("the longest has %d octets, and Dovecot takes 1024", len(long))
	}
}

// What we send we take, and know again.
func TestAnnouncementRoundTrip(t *testing.T) {
	line := appendAnnouncement(nil, sniff.Announcement{
		Client: netip.MustParseAddrPort("[2001:db8::7]:40123"), Local: netip.MustParseAddrPort("192.0.2.1:995"),
		ServerName: "pop.example.org", Session: "s/42+", TLS: true,
	})
	fields, ok := parseAnnouncement(string(parseCommand(line[:len(line)-2]).arg))
	if !ok || len(fields) != 8 || fields[0] != (sniff.Field{Key: "x-originating-ip", Value: "2001:db8::7"}) {
		t.Errorf("%q gives %v, %v", line, fields, ok)
	}
}
