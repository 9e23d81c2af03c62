package pop3

import (
	"errors"
	"io"
	"strings"
	"testing"

	"usher.example/sniff"
	"usher.example/sniff/snifftest"
)

// The other side of CVE-2011-0411: what a back end, or who sits between, says
// behind its answer to STLS is no answer to anything.
func TestBackSTLSInjection(t *testing.T) {
	for _, behind := range []string{"+OK Logged in.\r\n", "+", "\x16\x03\x03"} {
		for name, tt := range map[string]struct {
			peer io.Reader
			said string
		}{
			"before we asked": {strings.NewReader("+OK ready\r\n+OK begin\r\n" + behind), ""},
			"with the answer": {io.MultiReader(strings.NewReader("+OK ready\r\n"), strings.NewReader("+OK begin\r\n"+behind)), "STLS\r\n"},
		} {
			ev, said, err := drive(openBack(t, snifftest.Options{"starttls": "", "user": "joe", "password": "secret"}), tt.peer)
			if !errors.Is(err, sniff.ErrInjection) || ev.Kind != sniff.Quit || said != tt.said {
				t.Errorf("%q %s: event %v, error %v, said %q", behind, name, ev.Kind, err, said)
			}
		}
	}
}

// A greeting that runs ahead of itself: what stands there before STLS was sent
// is taken for its answer, and then TLS fails; no password goes out.
func TestBackSaysNothingBeforeTLS(t *testing.T) {
	for _, in := range []string{"+OK ready\r\n+OK\r\n+OK\r\n+OK\r\n", "+OK ready\r\n-ERR\r\n+OK\r\n", "+OK ready\r\n", "+OK [XCLIENT] ready\r\n"} {
		_, said, _ := drive(openBack(t, snifftest.Options{"starttls": "", "announce": "", "user": "joe", "password": "secret"}), strings.NewReader(in))
		if strings.Contains(said, "joe") || strings.Contains(said, "XCLIENT") {
			t.Errorf("%q makes us say %q in plaintext", in, said)
		}
	}
}

// security.md, hostile or dead back end: endless, huge, binary; memory is bounded
// by the line and by the count.
func TestBackBounds(t *testing.T) {
	for name, tt := range map[string]struct {
		head, text string
		most       int
		err        error
	}{
		"an endless greeting":        {"", "+OK x", maxReply + 4096, sniff.ErrTooLong},
		"an endless reply":           {"+OK\r\n", "+OK x", maxReply + 4096, sniff.ErrTooLong},
		"endless lines of greeting":  {"", "+OK\r\n", sniff.MaxInput, ErrReply},
		"an endless capability":      {"+OK\r\n+OK\r\n", "x", maxReply + 4096, sniff.ErrTooLong},
		"capabilities for ever":      {"+OK\r\n+OK\r\n", "TOP\r\n", sniff.MaxInput, ErrReply},
		"a binary greeting":          {"", "\x00\xff\x16\x03", sniff.MaxInput, sniff.ErrTooLong},
		"a binary greeting in lines": {"", "\x16\x03\xff\r\n", sniff.MaxInput, ErrGreeting},
	} {
		e := &endless{text: tt.text}
		ev, _, err := drive(openBack(t, snifftest.Options{"tls": "", "probe": "greeting"}), io.MultiReader(strings.NewReader(tt.head), e))
		if ev.Kind != sniff.Quit && ev.Kind != sniff.Accepted || !errors.Is(err, tt.err) && ev.Kind == sniff.Quit {
			t.Errorf("%s: event %v, error %v; want %v", name, ev.Kind, err, tt.err)
		}
		if e.n > tt.most {
			t.Errorf("%s: %d octets were taken, want at most %d", name, e.n, tt.most)
		}
	}
}

// A back end cannot keep a client busy with challenges.
func TestBackBoundsChallenges(t *testing.T) {
	b := openBack(t, snifftest.Options{"tls": "", "capabilities": "SASL SCRAM-SHA-1", "user": "joe", "mech": "SCRAM-SHA-1", "initial": "n,,n=joe,r=abc"})
	d := sniff.NewDriver(b)
	w := &conn{Reader: io.MultiReader(strings.NewReader("+OK\r\n"), &endless{text: "+ AAAA\r\n"})}
	for range maxChallenges {
		if ev, err := d.Drive(w); err != nil || ev.Kind != sniff.Challenge {
			t.Fatalf("event %v, error %v; want a challenge", ev.Kind, err)
		}
		d.Queue(func(dst []byte) []byte { return b.Respond(dst, []byte("x")) })
	}
	if ev, err := d.Drive(w); !errors.Is(err, ErrReply) {
		t.Errorf("event %v, error %v; want ErrReply", ev.Kind, err)
	}
}

// A back end that goes away is an error at every step, never a refusal.
func TestBackGoesAway(t *testing.T) {
	const whole = "+OK ready\r\n+OK\r\nUSER\r\n.\r\n+OK\r\n+OK Logged in.\r\n"
	o := snifftest.Options{"user": "joe", "password": "secret"}
	for i := range len(whole) {
		if ev, _, err := drive(openBack(t, o), strings.NewReader(whole[:i])); !errors.Is(err, io.EOF) {
			t.Errorf("after %q: event %v, error %v; want EOF", whole[:i], ev.Kind, err)
		}
	}
	if ev, _, err := drive(openBack(t, o), strings.NewReader(whole)); err != nil || ev.Kind != sniff.Accepted {
		t.Errorf("event %v, error %v; want accepted", ev.Kind, err)
	}
}

// What no client can send, a directory or a file could: no name and no password
// adds a command or a field of PLAIN.
func TestBackSaysNoOtherLine(t *testing.T) {
	for _, bad := range []string{"x\r\nDELE 1", "x\nDELE 1", "x\r", "x\x00y"} {
		for _, l := range []sniff.Login{
			{Mechanism: sniff.Command, User: bad, AuthID: bad, Password: sniff.Secret("p")},
			{Mechanism: sniff.Command, User: "joe", AuthID: "joe", Password: sniff.Secret(bad)},
			{Mechanism: sniff.Plain, User: bad, AuthID: "joe", AuthzID: bad, Password: sniff.Secret("p")},
		} {
			for _, capa := range [][]string{{"USER"}, {"USER", "SASL PLAIN"}} {
				b := Protocol{}.Back(sniff.BackOptions{TLS: true, Login: &l, Capabilities: capa})
				_, said, err := drive(b, strings.NewReader("+OK\r\n+OK\r\n+OK\r\n"))
				if strings.Contains(said, "DELE") || strings.Contains(said, "\x00") || strings.Count(said, "\r") != strings.Count(said, "\r\n") {
					t.Errorf("%q: said %q", bad, said)
				}
				nul := strings.Contains(bad, "\x00")
				if (nul || len(capa) == 1) && !errors.Is(err, ErrCannotCarry) {
					t.Errorf("%q with %q: error %v, said %q; want ErrCannotCarry", bad, capa, err, said)
				}
			}
		}
	}
}

// RFC 6856 §3.1: a language that is none is not said.
func TestBackSaysNoOtherLanguage(t *testing.T) {
	l := &sniff.Login{Mechanism: sniff.Command, User: "joe", AuthID: "joe", Before: sniff.Before{Lang: "de\r\nQUIT"}}
	if _, said, _ := drive(Protocol{}.Back(sniff.BackOptions{TLS: true, Login: l}), strings.NewReader("+OK\r\n")); said != "USER joe\r\n" {
		t.Errorf("said %q", said)
	}
}

func TestProtocol(t *testing.T) {
	if p := (Protocol{}); p.Name() != "pop3" || p.ALPN() != "pop3" {
		t.Errorf("name %q, ALPN %q", p.Name(), p.ALPN())
	}
}
