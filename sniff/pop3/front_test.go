package pop3

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"

	"usher.example/sniff"
	"usher.example/sniff/snifftest"
)

// conn is a peer's words and the record of ours.
type conn struct {
	io.Reader
	bytes.Buffer
}

func (c *conn) Read(p []byte) (int, error) { return c.Reader.Read(p) }

// drive runs a conversation until something happens.
func drive(c sniff.Conversation, peer io.Reader) (ev sniff.Event, said string, err error) {
	w := &conn{Reader: peer}
	ev, err = sniff.NewDriver(c).Drive(w)
	return ev, w.String(), err
}

// CVE-2011-0411 and its family, RFC 2595 §4: nothing behind STLS is looked at.
func TestFrontSTLSInjection(t *testing.T) {
	for _, in := range []string{"STLS\r\nUSER joe\r\n", "STLS\r\nx", "CAPA\r\nstls\r\n\r\n"} {
		ev, said, err := drive(openFront(snifftest.Options{"starttls": "", "plaintext": ""}), strings.NewReader(in))
		if !errors.Is(err, sniff.ErrInjection) || ev.Kind != sniff.Quit || strings.Contains(said, "Begin") {
			t.Errorf("%q: event %v, error %v, said %q", in, ev.Kind, err, said)
		}
	}
}

var refusalLine = regexp.MustCompile(`^-ERR (\[([A-Z/-]+)\] )?\S[^\r\n]*\r\n$`)

// RFC 2449 §4 and §8, RFC 3206: each code is answered in one line of at most 512
// octets; [AUTH] is for credentials only, and its text never tells two of them apart.
func TestRefuseEveryCode(t *testing.T) {
	for _, code := range sniff.Codes() {
		for _, text := range []string{"", "x", "[AUTH] x", "[LOGIN-DELAY] x", "a\r\n+OK b", strings.Repeat("ü", 1000), "\xff\x00", "\u202e"} {
			line := string(openFront(snifftest.Options{"tls": ""}).Refuse(nil, sniff.Refusal{Code: code, Text: text}))
			m := refusalLine.FindStringSubmatch(line)
			if m == nil || len(line) > 512 {
				t.Errorf("%v, %.20q: %q", code, text, line)
				continue
			}
			switch code {
			case sniff.AuthFailed, sniff.AuthzFailed:
				if want := "-ERR [AUTH] Authentication failed.\r\n"; line != want {
					t.Errorf("%v, %.20q: %q, want %q", code, text, line, want)
				}
			case sniff.Expired:
				if m[2] != "AUTH" || strings.Contains(line, "x ") {
					t.Errorf("%v, %.20q: %q", code, text, line)
				}
			default:
				if m[2] == "AUTH" {
					t.Errorf("%v looks like a wrong password: %q", code, line)
				}
			}
			if code == sniff.Unavailable && m[2] != "SYS/TEMP" {
				t.Errorf("a dead back end is told as %q", line)
			}
		}
	}
	if got := string(openFront(nil).Refuse(nil, sniff.Refusal{Code: 200})); !strings.HasPrefix(got, "-ERR [SYS/TEMP] ") {
		t.Errorf("an unknown code gives %q", got)
	}
}

// Goodbye is one line in any state; before Start it is the greeting (RFC 1939 §4).
func TestGoodbyeInAnyState(t *testing.T) {
	for name, in := range map[string]string{
		"ready": "CAPA\r\n", "after USER": "USER joe\r\n", "in a SASL exchange": "AUTH LOGIN\r\n", "waiting": "USER joe\r\nPASS x\r\n",
		"before TLS": "STLS\r\n", "at the end": "QUIT\r\n",
	} {
		f := openFront(snifftest.Options{"starttls": "", "plaintext": ""})
		if _, _, err := drive(f, strings.NewReader(in)); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		goodbye(t, name, f)
	}
	goodbye(t, "before Start", openFront(nil))
}

func goodbye(t *testing.T, name string, f sniff.Front) {
	t.Helper()
	for _, code := range sniff.Codes() {
		if got := string(f.Goodbye(nil, sniff.Refusal{Code: code})); !refusalLine.MatchString(got) {
			t.Errorf("%s, %v: %q", name, code, got)
		}
	}
	n, out, ev, err := f.Next(nil, []byte("USER joe\r\n"))
	if n != 0 || len(out) > 0 || ev.Kind != sniff.More || err != nil {
		t.Errorf("%s: after it the front still says %q, %v, %v", name, out, ev.Kind, err)
	}
}

// RFC 2449 §4 for the good answer; a back end's text is one cleaned line.
func TestAcceptText(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "+OK Logged in.\r\n",
		"[X] Hi":                  "+OK Hi\r\n",
		"a\r\n-ERR b":             "+OK a??-ERR b\r\n",
		"\x1b[2J":                 "+OK ?[2J\r\n",
		strings.Repeat("x", 2000): "+OK " + strings.Repeat("x", maxText) + "\r\n",
	} {
		if got := string(openFront(nil).Accept(nil, &sniff.Acceptance{Text: text})); got != want {
			t.Errorf("%.20q: got %q, want %q", text, got, want)
		}
	}
}

// RFC 1939 §7: without a timestamp there is no APOP.
func TestGreetingHasNoTimestamp(t *testing.T) {
	for _, host := range []string{"mail.example.org", "", "<1896.697170952@dbc.mtview.ca.us>", "a\r\nb"} {
		got := string(Protocol{}.Front(sniff.FrontOptions{Hostname: host}).Start(nil))
		if !strings.HasPrefix(got, "+OK ") || !strings.HasSuffix(got, " ready\r\n") || strings.ContainsAny(got, "<>") || strings.Count(got, "\n") != 1 {
			t.Errorf("host %q: %q", host, got)
		}
	}
}

// The CVE-2021-3618 (ALPACA) mitigations, perdition CVE-2007-5740: nothing of a
// stranger's comes back to him, and he is soon gone.
func TestNothingIsEchoed(t *testing.T) {
	const mark = "zqxj"
	for _, in := range []string{
		mark, "USER " + mark, "PASS " + mark, "AUTH " + mark, "AUTH PLAIN " + mark, "AUTH PLAIN =" + mark, "LANG " + mark, "UTF8 " + mark, "CAPA " + mark,
		"STLS " + mark, "QUIT " + mark, "XCLIENT ADDR=" + mark, "APOP " + mark, mark + "%n%s", mark + "\x00", mark + "\rx", "USER " + mark + "\r\nPASS \xff" + mark + "\r\nNOOP",
		"AUTH LOGIN\r\n" + mark, strings.Repeat(mark, 20_000),
	} {
		_, said, _ := drive(openFront(snifftest.Options{"tls": "", "trusted": "", "capabilities": "UTF8|LANG"}), strings.NewReader(in+"\r\n"))
		if strings.Contains(strings.ToLower(said), mark) {
			t.Errorf("%.40q is answered with %q", in, said)
		}
	}
}

// endless repeats its text and counts what was taken.
type endless struct {
	text string
	n    int
}

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e.text[(e.n+i)%len(e.text)]
	}
	e.n += len(p)
	return len(p), nil
}

// Lines, commands and errors are bounded; the end of each is said.
func TestFrontBounds(t *testing.T) {
	for name, tt := range map[string]struct {
		head, text string
		most       int // octets taken
		err        error
	}{
		"an endless line":                      {"", "x", 2 * maxLine, sniff.ErrTooLong},
		"an endless password":                  {"USER joe\r\nPASS ", "x", 2 * maxLine, sniff.ErrTooLong},
		"an endless AUTH":                      {"AUTH PLAIN ", "A", sniff.MaxInput, sniff.ErrTooLong},
		"an endless answer":                    {"AUTH PLAIN\r\n", "A", sniff.MaxInput, sniff.ErrTooLong},
		"CAPA for ever":                        {"", "CAPA\r\n", 6*maxLines + sniff.MaxInput, ErrBudget},
		"USER for ever":                        {"", "USER joe\r\n", 10*maxLines + sniff.MaxInput, ErrBudget},
		"1000 cancelled AUTH (CVE-2017-15132)": {"", "AUTH PLAIN\r\n*\r\n", 15*maxLines + sniff.MaxInput, ErrBudget},
		"empty lines":                          {"", "\r\n", sniff.MaxInput, ErrBudget},
		"malformed names":                      {"", "USER \xff\r\nPASS x\r\n", sniff.MaxInput, ErrBudget},
		"malformed SASL":                       {"", "AUTH PLAIN AAAA\r\n", sniff.MaxInput, ErrBudget},
		"NULs":                                 {"", "\x00", sniff.MaxInput, sniff.ErrTooLong},
	} {
		e := &endless{text: tt.text}
		ev, said, err := drive(openFront(snifftest.Options{"tls": ""}), io.MultiReader(strings.NewReader(tt.head), e))
		if ev.Kind != sniff.Quit || !errors.Is(err, tt.err) {
			t.Errorf("%s: event %v, error %v; want quit, %v", name, ev.Kind, err, tt.err)
		}
		if e.n > tt.most {
			t.Errorf("%s: %d octets were taken, want at most %d", name, e.n, tt.most)
		}
		if last := said[strings.LastIndex(said[:len(said)-2], "\n")+1:]; !strings.HasPrefix(last, "-ERR ") {
			t.Errorf("%s: the last words are %q", name, last)
		}
	}
}

// The longest password that any form of login takes is taken by this one, and by
// SASL; one octet more by none.
func TestLongestPassword(t *testing.T) {
	for _, extra := range []int{0, 1} {
		password := strings.Repeat("p", sniff.MaxPassword+extra)
		for name, in := range map[string]string{
			"PASS":       "USER joe\r\nPASS " + password + "\r\n",
			"AUTH PLAIN": string(appendBase64(nil, "AUTH PLAIN ", []byte("\x00joe\x00"+password))),
			"answer":     string(appendBase64([]byte("AUTH PLAIN\r\n"), "", []byte("\x00joe\x00"+password))),
		} {
			ev, _, err := drive(openFront(snifftest.Options{"tls": ""}), strings.NewReader(in))
			if extra == 0 && (err != nil || ev.Kind != sniff.LoggingIn || string(ev.Login.Password) != password) {
				t.Errorf("%s: event %v, error %v; want a login", name, ev.Kind, err)
			}
			if extra == 1 && ev.Kind == sniff.LoggingIn {
				t.Errorf("%s: takes %d octets", name, len(password))
			}
		}
	}
}

// RFC 5034 §4 sets no bound to SASL lines; tokens and tickets of 16 KiB pass.
func TestLongToken(t *testing.T) {
	msg := "user=joe\x01auth=Bearer " + strings.Repeat("t", sniff.MaxSASL-25) + "\x01\x01"
	for _, in := range []string{
		string(appendBase64(nil, "AUTH XOAUTH2 ", []byte(msg))),
		string(appendBase64([]byte("AUTH XOAUTH2\r\n"), "", []byte(msg))),
	} {
		ev, _, err := drive(openFront(snifftest.Options{"tls": ""}), strings.NewReader(in))
		if err != nil || ev.Kind != sniff.LoggingIn || string(ev.Login.Initial) != msg {
			t.Errorf("%.14q…: event %v, error %v; want a login", in, ev.Kind, err)
		}
	}
}
