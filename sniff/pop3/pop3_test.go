package pop3

import (
	"net/netip"
	"strings"
	"testing"

	"usher.example/sniff"
	"usher.example/sniff/snifftest"
)

func TestFrontTranscripts(t *testing.T) {
	snifftest.Transcripts(t, "testdata/front-*.txt", func(_ *testing.T, o snifftest.Options) sniff.Conversation {
		return openFront(o)
	})
}

func TestBackTranscripts(t *testing.T) {
	snifftest.Transcripts(t, "testdata/back-*.txt", func(t *testing.T, o snifftest.Options) sniff.Conversation {
		return openBack(t, o)
	})
}

// openFront makes the front that the options ask for: tls, starttls, plaintext,
// trusted, peer, mechanisms (default: all), capabilities (lines split by "|").
func openFront(o snifftest.Options) sniff.Front {
	offer := sniff.Offer{Mechanisms: []sniff.Mechanism{
		sniff.ScramSHA256, sniff.ScramSHA1, sniff.OAuthBearer, sniff.XOAuth2, sniff.Plain, sniff.LoginSASL, sniff.Command, sniff.External,
	}}
	if o.Has("mechanisms") {
		offer.Mechanisms = nil
		for _, m := range o.Words("mechanisms") {
			offer.Mechanisms = append(offer.Mechanisms, sniff.Mechanism(m))
		}
	}
	offer.Capabilities = lines(o["capabilities"])
	return Protocol{}.Front(sniff.FrontOptions{
		Hostname: "mail.example.org", TLS: o.Has("tls"), StartTLS: o.Has("starttls"), Plaintext: o.Has("plaintext"),
		Trusted: o.Has("trusted"), Peer: o["peer"], Offer: offer,
	})
}

// openBack makes the back that the options ask for: tls, starttls, capabilities
// (lines split by "|"), probe greeting or login, announce, announce-tls, utf8,
// lang, master (user and password), separator, and a login: mech, user, authz,
// password, initial.
func openBack(t *testing.T, o snifftest.Options) sniff.Back {
	t.Helper()
	b := sniff.BackOptions{TLS: o.Has("tls"), StartTLS: o.Has("starttls")}
	if o.Has("capabilities") {
		b.Capabilities = append([]string{}, lines(o["capabilities"])...)
	}
	switch o["probe"] {
	case "greeting":
		b.Probe = sniff.ProbeGreeting
	case "login":
		b.Probe = sniff.ProbeLogin
	}
	if o.Has("announce") {
		b.Announce = sniff.Announcement{
			Form:   sniff.AnnounceXCLIENT,
			Client: netip.MustParseAddrPort("[2001:db8::7]:40123"), Local: netip.MustParseAddrPort("192.0.2.1:995"),
			ServerName: "pop.example.org", Session: "s/42+", TLS: o.Has("announce-tls"),
		}
	}
	if m := o.Words("master"); len(m) == 2 {
		b.Master = &sniff.Master{User: m[0], Password: sniff.Secret(m[1]), Separator: o["separator"]}
	}
	if !o.Has("user") {
		return Protocol{}.Back(b)
	}
	l := &sniff.Login{
		Mechanism: sniff.Command, User: o["user"], AuthID: o["user"], AuthzID: o["authz"],
		Password: sniff.Secret(unescape(o["password"])), Initial: sniff.Secret(unescape(o["initial"])),
		Before: sniff.Before{UTF8: o.Has("utf8"), Lang: o["lang"]},
	}
	if o.Has("mech") {
		l.Mechanism = sniff.Mechanism(o["mech"])
	}
	if l.AuthzID != "" {
		l.User = l.AuthzID
	}
	b.Login = l
	return Protocol{}.Back(b)
}

func lines(s string) []string {
	var out []string
	for l := range strings.SplitSeq(s, "|") {
		if l = strings.TrimSpace(l); l != "" {
			out = append(out, l)
		}
	}
	return out
}

// unescape writes what an option's value cannot hold.
func unescape(s string) string {
	s = strings.NewReplacer(`\1`, "\x01", `\r`, "\r", `\n`, "\n", `\s`, " ").Replace(s)
	if word, ok := strings.CutPrefix(s, "long:"); ok {
		return strings.Repeat(word, 300/len(word))
	}
	return s
}

func FuzzFront(f *testing.F) {
	for _, s := range []string{
		"CAPA\r\nUSER joe\r\nPASS secret word\r\nSTAT\r\n",
		"AUTH\r\nAUTH PLAIN AGpvZQBzZWNyZXQ=\r\nAUTH PLAIN\r\nAGpvZQBzZWNyZXQ=\r\n",
		"AUTH LOGIN\r\nam9l\r\nc2VjcmV0\r\nAUTH LOGIN am9l\r\n*\r\n",
		"AUTH SCRAM-SHA-256 biwsbj1qb2Uscj1hYmM=\r\nYz1iaXdz\r\n\r\nAUTH XOAUTH2 =\r\n",
		"STLS\r\nAUTH EXTERNAL =\r\nSTLS\r\nQUIT\r\n",
		"UTF8\r\nLANG de\r\nLANG\r\nXCLIENT ADDR=192.0.2.1 PORT=1 TTL=2 SESSION=x FORWARD=YQ==\r\nUSER jörg\r\nPASS \xff\x00\r\n",
		"APOP joe 00\r\nNOOP\r\nFOO\nBAR\r\n", "a\rb\r\n", "USER \x00\r\n",
	} {
		f.Add([]byte(s), uint64(1))
	}
	snifftest.FuzzCuts(f, func() sniff.Conversation {
		return openFront(snifftest.Options{"starttls": "", "plaintext": "", "trusted": "", "peer": "joe@example.org", "capabilities": "UTF8|LANG|TOP"})
	})
}

func FuzzBack(f *testing.F) {
	for _, s := range []string{
		"+OK [XCLIENT] ready\r\n+OK go\r\n+OK\r\nSASL SCRAM-SHA-256\r\n..x\r\n.\r\n+OK\r\n+OK\r\n-ERR\r\n+ cj1hYmM=\r\n+ dj0=\r\n+OK [X] in\r\nrest",
		"+OK\r\n+OK\r\n-ERR no CAPA\r\n+OK\r\n+OK\r\n+OK\r\n", "-ERR [SYS/TEMP] later\r\n", "* OK IMAP\r\n", "+OK\r\n-ERR no TLS\r\n",
		"+OK\r\n+OK\r\n+OK\r\nSASL SCRAM-SHA-256 SCRAM-SHA-256-PLUS\r\n.\r\n-ERR\r\n+OK\r\n+OK\r\n+ ?\r\n", "+OK\n", "+OK \x00\r\n", "+OK \r\r\n",
	} {
		f.Add([]byte(s), uint64(1))
	}
	snifftest.FuzzCuts(f, func() sniff.Conversation {
		return openBack(&testing.T{}, snifftest.Options{
			"starttls": "", "announce": "", "utf8": "", "lang": "de", "user": "joe", "mech": "SCRAM-SHA-256", "initial": "n,,n=joe,r=abc",
		})
	})
}

// FuzzProbe is the other half of what a back can be: in plaintext, with a
// password that wants SASL, and a QUIT in the end.
func FuzzProbe(f *testing.F) {
	for _, s := range []string{
		"+OK\r\n+OK\r\nUSER\r\n.\r\n+OK\r\n+OK in\r\n+OK bye\r\nrest",
		"+OK\r\n+OK\r\nUSER\r\nSASL PLAIN LOGIN\r\n.\r\n+ \r\n+OK in\r\n-ERR\r\n", "+OK\r\n-ERR\r\n+OK\r\n-ERR [IN-USE] locked\r\n",
	} {
		f.Add([]byte(s), uint64(1))
	}
	snifftest.FuzzCuts(f, func() sniff.Conversation {
		return openBack(&testing.T{}, snifftest.Options{"probe": "login", "user": "joe", "password": "long:secret"})
	})
}
