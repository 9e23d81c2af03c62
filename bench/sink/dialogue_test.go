package sink

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

const refused = "wrong"

// protocols are fresh dialogues.
var protocols = map[string]func() dialogue{
	"imap": func() dialogue { return &imap{wrong: refused} },
	"pop3": func() dialogue { return &pop3{wrong: refused} },
}

// talk runs a dialogue over in, which comes in pieces of some size, and writes
// down what is said and done. Message octets that the client sends are taken from in.
func talk(t *testing.T, d dialogue, in []byte, piece int) string {
	t.Helper()
	var said strings.Builder
	there := 0 // how much of in has come
	idle := 0  // steps in a row that consumed and said nothing
	for {
		n, out, a := d.next(nil, in[:there])
		if n < 0 || n > there {
			t.Fatalf("consumed %d of %d octets", n, there)
		}
		said.Write(out)
		in, there = in[n:], there-n
		if idle++; n > 0 || len(out) > 0 || a.kind == more {
			idle = 0
		}
		if idle > 2 {
			t.Fatalf("goes round in circles at %.80q", in)
		}
		switch a.kind {
		case more:
			if there >= maxLine {
				t.Fatalf("wants more than %d octets", there)
			}
			if there == len(in) {
				return said.String()
			}
			there = min(len(in), there+piece)
		case step:
		case login:
			said.WriteString("<login>")
		case refusal:
			said.WriteString("<refusal>")
		case send:
			fmt.Fprintf(&said, "<send %d>", a.size)
		case drop:
			// What has not come yet is dropped as it comes.
			n := int(min(a.size, int64(len(in))))
			in, there = in[n:], max(0, there-n)
			fmt.Fprintf(&said, "<drop %d>", a.size)
		case quit:
			return said.String() + "<quit>"
		}
	}
}

func TestDialogues(t *testing.T) {
	const (
		caps  = "IMAP4rev1 SASL-IR ID IDLE LITERAL+ AUTH=PLAIN"
		imap  = "a LOGIN u p\r\n"
		inn   = "a OK [CAPABILITY " + caps + "] logged in\r\n<login>"
		pop   = "USER u\r\nPASS p\r\n"
		popIn = "+OK\r\n+OK logged in\r\n<login>"
	)
	for name, row := range map[string]struct{ protocol, in, want string }{
		"quoted":                       {"imap", `a login "u \"x\\" "p"` + "\r\n", inn},
		"quoted, refused":              {"imap", `a LOGIN u "wro\ng"` + "\r\n", "a NO [AUTHENTICATIONFAILED] wrong\r\n<refusal>"},
		"literals, as nginx has them":  {"imap", "a LOGIN {1}\r\nu {1}\r\np\r\n", "+ go on\r\n+ go on\r\n" + inn},
		"literals, refused":            {"imap", "a LOGIN {1}\r\nu {5}\r\nwrong\r\n", "+ go on\r\n+ go on\r\na NO [AUTHENTICATIONFAILED] wrong\r\n<refusal>"},
		"literals without leave":       {"imap", "a LOGIN {1+}\r\nu {1+}\r\np\r\n", inn},
		"a literal with lines in it":   {"imap", "a LOGIN {3+}\r\n\"\r\n p\r\n", inn},
		"an empty literal":             {"imap", "a LOGIN {0+}\r\n {1+}\r\np\r\n", inn},
		"no literal":                   {"imap", "a LOGIN {x}\r\nb NOOP\r\n", "a BAD syntax\r\nb OK done\r\n"},
		"an open quote":                {"imap", "a LOGIN \"u p\r\nb NOOP\r\n", "a BAD syntax\r\nb OK done\r\n"},
		"one word":                     {"imap", "a LOGIN u\r\n", "a BAD log in first\r\n"},
		"SASL-IR":                      {"imap", "a AUTHENTICATE PLAIN AHUAcA==\r\n", inn},
		"SASL":                         {"imap", "a AUTHENTICATE plain\r\nAHUAcA==\r\n", "+ \r\n" + inn},
		"SASL, refused":                {"imap", "a AUTHENTICATE plain AHUAd3Jvbmc=\r\n", "a NO [AUTHENTICATIONFAILED] wrong\r\n<refusal>"},
		"SASL, cancelled":              {"imap", "a AUTHENTICATE PLAIN\r\n*\r\nb NOOP\r\n", "+ \r\na BAD malformed\r\nb OK done\r\n"},
		"another mechanism":            {"imap", "a AUTHENTICATE CRAM-MD5\r\n", "a NO only PLAIN\r\n"},
		"as Dovecot's proxy":           {"imap", "I ID (\"x-session-id\" \"1\")\r\nL LOGIN u p\r\n", "* ID NIL\r\nI OK done\r\nL" + inn[1:]},
		"CAPABILITY":                   {"imap", "a CAPABILITY\r\n", "* CAPABILITY " + caps + "\r\na OK done\r\n"},
		"FETCH":                        {"imap", imap + "b FETCH 1 BODY[]<0.77>\r\n", inn + "* 1 FETCH (BODY[]<0> {77}\r\n<send 77>)\r\nb OK fetched\r\n"},
		"FETCH of nothing":             {"imap", imap + "b FETCH 1 BODY[]<0.-1>\r\nc FETCH 1 FLAGS\r\n", inn + "b BAD expected BODY[]<0.octets>\r\nc BAD expected BODY[]<0.octets>\r\n"},
		"FETCH before login":           {"imap", "b FETCH 1 BODY[]<0.77>\r\n", "b BAD log in first\r\n"},
		"APPEND":                       {"imap", imap + "b APPEND INBOX (\\Seen) {7}\r\n1\r\n3456\r\nc NOOP\r\n", inn + "+ go on\r\n<drop 7>b OK appended\r\nc OK done\r\n"},
		"APPEND without leave":         {"imap", imap + "b APPEND INBOX {3+}\r\n123\r\n", inn + "<drop 3>b OK appended\r\n"},
		"APPEND without a message":     {"imap", imap + "b APPEND INBOX\r\n", inn + "b BAD APPEND without a literal\r\n"},
		"IDLE":                         {"imap", imap + "b IDLE\r\nDONE\r\nc NOOP\r\n", inn + "+ idling\r\nb OK idle done\r\nc OK done\r\n"},
		"IDLE, but not DONE":           {"imap", imap + "b IDLE\r\nc NOOP\r\n", inn + "+ idling\r\nb BAD expected DONE\r\n"},
		"LOGOUT":                       {"imap", "a LOGOUT\r\nb NOOP\r\n", "* BYE\r\na OK done\r\n<quit>"},
		"unknown":                      {"imap", imap + "b SELECT INBOX\r\n\r\n", inn + "b BAD unknown\r\n BAD unknown\r\n"},
		"PROXY v1":                     {"imap", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\na NOOP\r\n", "a OK done\r\n"},
		"PROXY v2":                     {"imap", string(proxyV2) + "\x21\x11\x00\x0c123456789\r\n2a NOOP\r\n", "a OK done\r\n"},
		"PROXY v2, LOCAL":              {"imap", string(proxyV2) + "\x20\x00\x00\x00a NOOP\r\n", "a OK done\r\n"},
		"PROXY once":                   {"imap", "a NOOP\r\nPROXY NOOP\r\n", "a OK done\r\nPROXY OK done\r\n"},
		"a tag that begins like PROXY": {"imap", "PRO NOOP\r\n", "PRO OK done\r\n"},
		"USER and PASS":                {"pop3", pop, popIn},
		"PASS with spaces":             {"pop3", "USER u\r\nPASS wrong \r\nPASS wrong\r\n", "+OK\r\n+OK logged in\r\n<login>-ERR [AUTH] wrong\r\n<refusal>"},
		"PASS alone":                   {"pop3", "PASS p\r\n", "-ERR USER first\r\n"},
		"AUTH":                         {"pop3", "AUTH PLAIN\r\nAHUAcA==\r\n", "+ \r\n+OK logged in\r\n<login>"},
		"AUTH at once, refused":        {"pop3", "auth plain AHUAd3Jvbmc=\r\n", "-ERR [AUTH] wrong\r\n<refusal>"},
		"AUTH, malformed":              {"pop3", "auth plain AHU\r\nauth plain AA==\r\n", "-ERR malformed\r\n-ERR malformed\r\n"},
		"AUTH?":                        {"pop3", "AUTH\r\nAUTH LOGIN\r\n", "+OK\r\nPLAIN\r\n.\r\n-ERR only PLAIN\r\n"},
		"CAPA":                         {"pop3", "CAPA\r\n", "+OK\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nUSER\r\nSASL PLAIN\r\n.\r\n"},
		"RETR":                         {"pop3", pop + "RETR 77\r\nSTAT\r\nNOOP\r\nQUIT\r\n", popIn + "+OK\r\n<send 75>\r\n.\r\n+OK 0 0\r\n+OK\r\n+OK\r\n<quit>"},
		"RETR of nothing":              {"pop3", pop + "RETR 1\r\nRETR x\r\n", popIn + strings.Repeat("-ERR expected the octets to send, 2 or more\r\n", 2)},
		"RETR before login":            {"pop3", "RETR 77\r\nUIDL\r\n", "-ERR log in first\r\n-ERR log in first\r\n"},
		"PROXY v1, POP3":               {"pop3", "PROXY UNKNOWN\r\nNOOP\r\n", "+OK\r\n"},
		"unknown, POP3":                {"pop3", pop + "XCLIENT ADDR=192.0.2.1\r\n", popIn + "-ERR unknown\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, piece := range []int{1, 2, 3, len(row.in)} {
				got := talk(t, protocols[row.protocol](), []byte(row.in), piece)
				if got != row.want {
					t.Fatalf("in pieces of %d octets\n%q: says\n%q, want\n%q", piece, row.in, got, row.want)
				}
			}
		})
	}
}

// TestBounds has a client that never comes to an end.
func TestBounds(t *testing.T) {
	for name, in := range map[string]string{
		"a line":                        "a NOOP" + strings.Repeat(" ", maxLine),
		"a quoted string":               "a LOGIN \"" + strings.Repeat("u", maxLine),
		"a literal":                     fmt.Sprintf("a LOGIN {%d+}\r\n", maxLine) + strings.Repeat("u", maxLine),
		"a PROXY header of version 1":   "PROXY " + strings.Repeat("u", maxLine),
		"a PROXY header of version 2":   string(proxyV2) + "\x21\x11\xff\xff" + strings.Repeat("u", maxLine),
		"a response without a line end": "a AUTHENTICATE PLAIN\r\n" + strings.Repeat("A", maxLine),
	} {
		t.Run(name, func(t *testing.T) {
			if got := talk(t, protocols["imap"](), []byte(in), 100); !strings.HasSuffix(got, "* BYE too long\r\n<quit>") {
				t.Errorf("says %q, want its end", got)
			}
		})
	}
}

// FuzzDialogues holds both dialogues to their laws: they consume no more than
// there is, get on or want more, up to a bound, and say the same however the
// network cuts what they are told.
func FuzzDialogues(f *testing.F) {
	for _, in := range []string{
		"a LOGIN {1}\r\nu {1}\r\np\r\nb FETCH 1 BODY[]<0.77>\r\n",
		"a AUTHENTICATE PLAIN\r\nAHUAcA==\r\nb APPEND INBOX {3}\r\nabc\r\nc IDLE\r\nDONE\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\na LOGIN \"u\\\"\" p\r\nb LOGOUT\r\n",
		string(proxyV2) + "\x21\x11\x00\x0c123456789012a NOOP {1}\r\n",
		"USER u\r\nPASS p\r\nRETR 77\r\nAUTH PLAIN\r\nAHUAcA==\r\nQUIT\r\n",
	} {
		f.Add([]byte(in), byte(1))
	}
	f.Fuzz(func(t *testing.T, in []byte, piece byte) {
		for name, open := range protocols {
			whole := talk(t, open(), bytes.Clone(in), len(in))
			if cut := talk(t, open(), bytes.Clone(in), int(piece)+1); cut != whole {
				t.Errorf("%s: %q in pieces of %d says\n%q, whole\n%q", name, in, int(piece)+1, cut, whole)
			}
		}
	})
}
