package imap_test

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"usher.example/sniff"
	"usher.example/sniff/imap"
	"usher.example/sniff/snifftest"
)

// mechanisms are all that a front can offer.
var mechanisms = []sniff.Mechanism{
	sniff.Plain, sniff.LoginSASL, sniff.XOAuth2, sniff.OAuthBearer, sniff.ScramSHA256, sniff.ScramSHA1,
	sniff.External, sniff.Command,
}

// frontOptions is a front under TLS that offers everything.
func frontOptions() sniff.FrontOptions {
	return sniff.FrontOptions{
		Hostname: "mail.example.org",
		TLS:      true,
		Offer:    sniff.Offer{Mechanisms: mechanisms, Capabilities: []string{"IMAP4rev1", "SASL-IR", "LITERAL+", "ID"}},
	}
}

// TestFrontTranscripts plays testdata/front-*.txt. Options of a file:
//
//	plain       the connection is not under TLS
//	starttls    … and TLS may be asked for
//	insecure    logins are allowed without TLS
//	trusted     the peer is a proxy of ours
//	peer        the user named by the client certificate
//	mechanisms  what is offered; all if absent
//	capabilities
//	box         the box of the protocol list that it holds; for the reader
func TestFrontTranscripts(t *testing.T) {
	snifftest.Transcripts(t, "testdata/front-*.txt", func(_ *testing.T, o snifftest.Options) sniff.Conversation {
		f := frontOptions()
		f.TLS = !o.Has("plain")
		f.StartTLS = o.Has("starttls")
		f.Plaintext = o.Has("insecure")
		f.Trusted = o.Has("trusted")
		f.Peer = o["peer"]
		if o.Has("mechanisms") {
			f.Offer.Mechanisms = nil
			for _, m := range o.Words("mechanisms") {
				f.Offer.Mechanisms = append(f.Offer.Mechanisms, sniff.Mechanism(m))
			}
		}
		if o.Has("capabilities") {
			f.Offer.Capabilities = o.Words("capabilities")
		}
		return imap.Protocol{}.Front(f)
	})
}

// TestBackTranscripts plays testdata/back-*.txt. Options of a file:
//
//	login         MECHANISM USER PASSWORD, each a Go string if quoted; no login if absent
//	authz         the authorization identity
//	initial       the first message of a relayed mechanism, as a Go string
//	id            KEY=VALUE … that the client said; NIL stands for itself
//	master        USER PASSWORD [SEPARATOR]
//	starttls      TLS must be started
//	capabilities  what the back end is known for
//	announce      CLIENT LOCAL NAME SESSION, by ID
//	probe         greeting or login
//	box           the box of the protocol list that it holds; for the reader
func TestBackTranscripts(t *testing.T) {
	snifftest.Transcripts(t, "testdata/back-*.txt", func(t *testing.T, o snifftest.Options) sniff.Conversation {
		return imap.Protocol{}.Back(backOptions(t, o))
	})
}

func backOptions(t *testing.T, o snifftest.Options) sniff.BackOptions {
	t.Helper()
	var b sniff.BackOptions
	if w := o.Words("login"); len(w) > 0 {
		user := word(t, w[1])
		b.Login = &sniff.Login{Mechanism: sniff.Mechanism(w[0]), User: user, AuthID: user, AuthzID: o["authz"]}
		if b.Login.AuthzID != "" {
			b.Login.User = b.Login.AuthzID
		}
		if len(w) > 2 {
			b.Login.Password = sniff.Secret(word(t, w[2]))
		}
		if o.Has("initial") {
			b.Login.Initial = sniff.Secret(word(t, o["initial"]))
		}
		for _, pair := range o.Words("id") {
			key, value, _ := strings.Cut(pair, "=")
			b.Login.Before.ID = append(b.Login.Before.ID, sniff.Field{Key: key, Value: value, Nil: value == "NIL"})
		}
	}
	if w := o.Words("master"); len(w) > 0 {
		b.Master = &sniff.Master{User: w[0], Password: sniff.Secret(w[1])}
		if len(w) > 2 {
			b.Master.Separator = w[2]
		}
	}
	if w := o.Words("announce"); len(w) > 0 {
		b.Announce = sniff.Announcement{
			Form: sniff.AnnounceID, Client: netip.MustParseAddrPort(w[0]), Local: netip.MustParseAddrPort(w[1]),
			ServerName: w[2], Session: w[3], TLS: true,
		}
	}
	if o.Has("capabilities") {
		b.Capabilities = o.Words("capabilities")
	}
	b.StartTLS = o.Has("starttls")
	switch o["probe"] {
	case "greeting":
		b.Probe = sniff.ProbeGreeting
	case "login":
		b.Probe = sniff.ProbeLogin
	}
	return b
}

// word reads an option's word, which may be a Go string.
func word(t *testing.T, s string) string {
	t.Helper()
	if !strings.HasPrefix(s, `"`) {
		return s
	}
	u, err := strconv.Unquote(s)
	if err != nil {
		t.Fatalf("option %s: %v", s, err)
	}
	return u
}

// talk feeds input to c until it needs a reaction, ends or wants more. It
// returns what c said, the last event and how much it consumed.
func talk(t *testing.T, c sniff.Conversation, input string) (said string, ev sniff.Event, consumed int, err error) {
	t.Helper()
	var out []byte
	for {
		var n int
		n, out, ev, err = c.Next(out, []byte(input[consumed:]))
		consumed += n
		if ev.Kind != sniff.Step {
			return string(out), ev, consumed, err
		}
	}
}
