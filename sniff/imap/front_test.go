package imap_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"usher.example/sniff"
	"usher.example/sniff/imap"
)

// TestFrontCodes: each code has its answer, and only a wrong password looks like one.
func TestFrontCodes(t *testing.T) {
	for _, code := range sniff.Codes() {
		f := imap.Protocol{}.Front(frontOptions())
		if _, ev, _, err := talk(t, f, "a LOGIN joe x\r\n"); ev.Kind != sniff.LoggingIn {
			t.Fatalf("got %v, %v", ev.Kind, err)
		}
		no := string(f.Refuse(nil, sniff.Refusal{Code: code, Text: "bl\u00e4h\r\nb OK\x00\u202e"}))
		if !strings.HasPrefix(no, "a NO [") && (code != sniff.BadProtocol || !strings.HasPrefix(no, "a BAD [")) {
			t.Errorf("%v: got %q", code, no)
		}
		if got := strings.Contains(no, "[AUTHENTICATIONFAILED]"); got != (code == sniff.AuthFailed) {
			t.Errorf("%v: got %q", code, no)
		}
		if code == sniff.AuthFailed {
			if no != "a NO [AUTHENTICATIONFAILED] Authentication failed\r\n" {
				t.Errorf("%v shows a text: %q", code, no)
			}
		} else if !strings.HasSuffix(no, "] bl\u00e4h??b OK??\r\n") {
			t.Errorf("%v: got %q", code, no)
		}
		if said, ev, _, _ := talk(t, f, "b NOOP\r\n"); said != "b OK Completed\r\n" || ev.Kind != sniff.More {
			t.Errorf("%v: afterwards got %q, %v", code, said, ev.Kind)
		}
	}
}

// TestFrontGoodbye holds the box of BYE: at any time, also as the greeting, and
// nothing is answered after it.
func TestFrontGoodbye(t *testing.T) {
	for _, tt := range []struct {
		name  string
		input string
	}{
		{"ready", "a NOOP\r\n"},
		{"in a literal", "a LOGIN {3}\r\nj"},
		{"in an exchange", "a AUTHENTICATE LOGIN\r\n"},
		{"while logging in", "a LOGIN joe x\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := imap.Protocol{}.Front(frontOptions())
			f.Start(nil)
			_, _, _, _ = talk(t, f, tt.input)
			bye := string(f.Goodbye(nil, sniff.Refusal{Code: sniff.ShuttingDown}))
			if want := "* BYE [UNAVAILABLE] Server is shutting down\r\n"; bye != want {
				t.Errorf("got %q, want %q", bye, want)
			}
			if said, ev, n, err := talk(t, f, "b NOOP\r\n"); said != "" || ev.Kind != sniff.More || n != 0 || err != nil {
				t.Errorf("afterwards got %q, %v, %d, %v", said, ev.Kind, n, err)
			}
		})
	}
	t.Run("as greeting", func(t *testing.T) {
		for _, code := range sniff.Codes() {
			bye := string(imap.Protocol{}.Front(frontOptions()).Goodbye(nil, sniff.Refusal{Code: code}))
			if !strings.HasPrefix(bye, "* BYE [") || strings.Count(bye, "\r\n") != 1 {
				t.Errorf("%v: got %q", code, bye)
			}
		}
	})
}

// TestFrontEchoesNothing holds the law of sniff: but for the tag, nothing that a
// stranger wrote comes back (2021-3618, ALPACA).
func TestFrontEchoesNothing(t *testing.T) {
	const mark = "Canary"
	for _, input := range []string{
		"a " + mark + "\r\n",
		"a NOOP " + mark + "\r\n",
		"a LOGIN " + mark + "\r\n",
		"a LOGIN \"" + mark + "\r\n",
		"a LOGIN " + mark + "\xff x\r\n",
		"a LOGIN {9000}" + mark + "\r\n",
		"a LOGIN {6+}\r\n" + mark + "{x}\r\n",
		"a AUTHENTICATE " + mark + "\r\n",
		"a AUTHENTICATE PLAIN " + mark + "!\r\n",
		"a AUTHENTICATE PLAIN\r\n" + mark + "!\r\n",
		"a ID (\"" + mark + "\")\r\n",
		"a ID (\"name\" \"" + mark + "\")\r\n",
		"a STARTTLS " + mark + "\r\n",
		"a ENABLE " + mark + "\r\n",
		"+" + mark + "\r\n",
		"(" + mark + ") x\r\n",
		mark + "\n",
		"a LOGIN \x00" + mark + "\r\n",
		"a " + strings.Repeat(mark, 2000),
	} {
		f := imap.Protocol{}.Front(frontOptions())
		if said, _, _, err := talk(t, f, input); strings.Contains(said, mark) {
			t.Errorf("%.60q: echoed in %q", input, said)
		} else if err != nil && strings.Contains(err.Error(), mark) {
			t.Errorf("%.60q: echoed in error %q", input, err)
		}
	}
}

// TestFrontOfNothing: the zero options offer no login and say so.
func TestFrontOfNothing(t *testing.T) {
	f := imap.Protocol{}.Front(sniff.FrontOptions{})
	if got, want := string(f.Start(nil)), "* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] ready\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	said, ev, _, err := talk(t, f, "a LOGIN joe {6}\r\n")
	if want := "a NO [PRIVACYREQUIRED] Log in under TLS only\r\n"; said != want || ev.Kind != sniff.More || err != nil {
		t.Errorf("got %q, %v, %v; want %q", said, ev.Kind, err, want)
	}
}

// script is a connection whose peer says these pieces, one at each read.
type script struct {
	pieces []string
	said   strings.Builder
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.pieces[0])
	if s.pieces[0] = s.pieces[0][n:]; s.pieces[0] == "" {
		s.pieces = s.pieces[1:]
	}
	return n, nil
}

func (s *script) Write(p []byte) (int, error) { return s.said.Write(p) }

// TestStartTLSInjection holds the row 2011-0411 for both sides, under the Driver:
// behind STARTTLS in one piece it is an injection; in two, what comes later is
// TLS's to judge; with LF only it is refused.
func TestStartTLSInjection(t *testing.T) {
	plain := frontOptions()
	plain.TLS, plain.StartTLS = false, true
	front := func() sniff.Conversation { return imap.Protocol{}.Front(plain) }
	back := func() sniff.Conversation {
		return imap.Protocol{}.Back(sniff.BackOptions{StartTLS: true, Probe: sniff.ProbeGreeting})
	}
	for _, tt := range []struct {
		name   string
		open   func() sniff.Conversation
		pieces []string
		kind   sniff.Kind
		fails  error
		last   string // what was said last
	}{
		{"client, one piece", front, []string{"a STARTTLS\r\nb LOGOUT\r\n"}, sniff.Quit, sniff.ErrInjection, "ready\r\n"},
		{"client, half a line behind", front, []string{"a STARTTLS\r\nb"}, sniff.Quit, sniff.ErrInjection, "ready\r\n"},
		{"client, two pieces", front, []string{"a STARTTLS\r\n", "b LOGOUT\r\n"}, sniff.StartTLS, nil, "a OK Begin TLS negotiation now\r\n"},
		{"client, LF only", front, []string{"a STARTTLS\nb LOGOUT\n"}, sniff.Quit, imap.ErrOctet, "* BYE Protocol error\r\n"},
		{"back end, one piece", back, []string{"* OK hello\r\n", "S OK go\r\nC OK x\r\n"}, sniff.Quit, sniff.ErrInjection, "S STARTTLS\r\n"},
		{"back end, with the greeting", back, []string{"* OK hello\r\nS OK go\r\n* CAPABILITY X\r\n"}, sniff.Quit, sniff.ErrInjection, ""},
		{"back end, two pieces", back, []string{"* OK hello\r\n", "S OK go\r\n", "C OK x\r\n"}, sniff.StartTLS, nil, "S STARTTLS\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rw := &script{pieces: tt.pieces}
			ev, err := sniff.NewDriver(tt.open()).Drive(rw)
			if ev.Kind != tt.kind || !errors.Is(err, tt.fails) {
				t.Errorf("got %v, %v; want %v, %v", ev.Kind, err, tt.kind, tt.fails)
			}
			if !strings.HasSuffix(rw.said.String(), tt.last) {
				t.Errorf("said %q, want %q at last", rw.said.String(), tt.last)
			}
		})
	}
}
