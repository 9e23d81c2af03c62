package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// script is a connection to a target that says what is written, in pieces of
// some size, whatever it is asked.
type script struct {
	net.Conn
	text  string
	piece int
}

func (s *script) Write(p []byte) (int, error) { return len(p), nil }

func (s *script) Read(p []byte) (int, error) {
	if s.text == "" {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.piece)], s.text)
	s.text = s.text[n:]
	return n, nil
}

// converse has a client go as far as the text lets it, and says how far.
func converse(text string, piece int, pop3 bool) string {
	c := newClient(context.Background(), nil, pop3, 0)
	c.conn = &script{text: text, piece: piece}
	done := 0
	for _, f := range []func() error{c.greeting, func() error { return c.Login("u", "p") }, c.Noop, c.Idle, c.Noop, c.Logout} {
		if err := f(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return fmt.Sprintf("%d: %v", done, err)
		}
		done++
	}
	if c.in != nil && c.in.r == c.in.w {
		return "keeps a buffer with nothing in it"
	}
	return "all"
}

var talks = map[string]struct {
	text string
	pop3 bool
	want string // begins so
}{
	"all":               {"* OK\r\na1 OK in\r\na2 OK\r\n+ idling\r\n* 1 EXISTS\r\na3 OK\r\na4 OK\r\n* BYE\r\na5 OK\r\n", false, "all"},
	"bare LF":           {"* OK\na1 OK in\na2 OK\n+\na3 OK\na4 OK\na5 OK\n", false, "all"},
	"POP3":              {"+OK\r\n+OK\r\n+OK in\r\n+OK\r\n+OK\r\n+OK\r\n", true, "all"},
	"long lines":        {"* OK " + strings.Repeat("x", 3*inputSize) + "\r\n* CAPABILITY " + strings.Repeat("x ", inputSize) + "\r\na1 NO\r\n", false, "1: refused"},
	"BYE":               {"* BYE\r\n", false, "0: greeting: refused"},
	"PREAUTH":           {"* PREAUTH\r\n", false, "0: greeting: unexpected answer"},
	"-ERR":              {"+OK\r\n-ERR\r\n", true, "1: refused"},
	"no":                {"* OK\r\na1 NO [AUTHENTICATIONFAILED] no\r\n", false, "1: refused: NO [AUTHENTICATIONFAILED] no"},
	"another's tag":     {"* OK\r\na2 OK\r\n", false, "1: unexpected answer"},
	"no verdict":        {"* OK\r\n" + strings.Repeat("* OK\r\n", 2*maxUntagged), false, "1: unexpected answer"},
	"no leave to idle":  {"* OK\r\na1 OK\r\na2 OK\r\na3 BAD\r\n", false, "3: refused"},
	"an end":            {"* OK\r\na1 O", false, "1: EOF"},
	"nothing":           {"", true, "0: greeting: EOF"},
	"another protocol":  {"220 smtp\r\n", false, "0: greeting: unexpected answer"},
	"a verdict on IDLE": {"* OK\r\na1 OK\r\na2 OK\r\n+\r\na3 NO\r\n", false, "4: refused"},
}

func TestAnswers(t *testing.T) {
	for name, row := range talks {
		for _, piece := range []int{1, 7, len(row.text) + 1} {
			if got := converse(row.text, piece, row.pop3); !strings.HasPrefix(got, row.want) {
				t.Errorf("%s, in pieces of %d: %q, want %q", name, piece, got, row.want)
			}
		}
	}
}

// FuzzAnswers wants a client to come to the same end however the network cuts
// what a target says, and to come to an end.
func FuzzAnswers(f *testing.F) {
	for _, row := range talks {
		f.Add(row.text, byte(3), row.pop3)
	}
	f.Fuzz(func(t *testing.T, text string, piece byte, pop3 bool) {
		// A line longer than the input is told by a part of it, which depends
		// on how it came.
		for line := range strings.Lines(text) {
			if len(line) >= inputSize {
				t.Skip()
			}
		}
		whole := converse(text, len(text)+1, pop3)
		if cut := converse(text, int(piece)+1, pop3); cut != whole {
			t.Errorf("in pieces of %d: %q, whole: %q", int(piece)+1, cut, whole)
		}
	})
}
