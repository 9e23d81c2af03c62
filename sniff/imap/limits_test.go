package imap_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"usher.example/sniff"
	"usher.example/sniff/imap"
)

// TestFrontLines holds the box of line limits: 8192 octets before login, more
// for SASL messages (OAuth tokens reach 12 to 16 KiB); above it BAD and the end.
func TestFrontLines(t *testing.T) {
	token := func(n int) string {
		return base64.StdEncoding.EncodeToString([]byte("user=joe\x01auth=Bearer " + strings.Repeat("x", n) + "\x01\x01"))
	}
	for _, tt := range []struct {
		name  string
		input string
		kind  sniff.Kind
		fails error
	}{
		{"8192 octets", "a LOGIN joe " + strings.Repeat("x", 8192-14) + "\r\n", sniff.LoggingIn, nil},
		{"one more", "a LOGIN joe " + strings.Repeat("x", 8192-13) + "\r\n", sniff.Quit, imap.ErrLine},
		{"without an end", strings.Repeat("x", 8193), sniff.Quit, imap.ErrLine},
		{"without an end, short", strings.Repeat("x", 8192), sniff.More, nil},
		{"initial response of 12 KiB", "a AUTHENTICATE XOAUTH2 " + token(12<<10) + "\r\n", sniff.LoggingIn, nil},
		{"answer of nearly 16 KiB", "a authenticate xoauth2\r\n" + token(16<<10-40) + "\r\n", sniff.LoggingIn, nil},
		{"answer without an end", "a AUTHENTICATE PLAIN\r\n" + strings.Repeat("x", sniff.MaxSASLLine+1), sniff.Quit, imap.ErrLine},
		{"initial response without an end", "a AUTHENTICATE PLAIN " + strings.Repeat("x", sniff.MaxSASLLine), sniff.Quit, imap.ErrLine},
		{"nearly AUTHENTICATE", "a AUTHENTICATED " + strings.Repeat("x", 8192), sniff.Quit, imap.ErrLine},
		{"a long line behind a literal", "a LOGIN {3+}\r\njoe " + strings.Repeat("x", 8192) + "\r\n", sniff.Quit, imap.ErrLine},
		{"a tag without an end", strings.Repeat("t", 9000) + " NOOP\r\n", sniff.Quit, imap.ErrLine},
	} {
		t.Run(tt.name, func(t *testing.T) {
			said, ev, _, err := talk(t, imap.Protocol{}.Front(frontOptions()), tt.input)
			if ev.Kind != tt.kind || !errors.Is(err, tt.fails) {
				t.Errorf("got %v, %v; want %v, %v", ev.Kind, err, tt.kind, tt.fails)
			}
			if tt.fails != nil && said[max(0, strings.LastIndex(said, "* BAD")):] != "* BAD Line too long\r\n* BYE Line too long\r\n" {
				t.Errorf("said %q", said)
			}
		})
	}
}

// TestFrontTag holds the row of the giant tag: it is bounded, and echoed exactly.
func TestFrontTag(t *testing.T) {
	for n, want := range map[int]string{
		128: strings.Repeat("t", 128) + " OK Completed\r\n",
		129: "* BAD Invalid tag\r\n",
	} {
		said, _, _, err := talk(t, imap.Protocol{}.Front(frontOptions()), strings.Repeat("t", n)+" NOOP\r\n")
		if said != want || err != nil {
			t.Errorf("tag of %d octets: got %q, %v; want %q", n, said, err, want)
		}
	}
}

// TestFrontLiteralSizes holds the row of literal lengths (2005-2661, 2004-1035):
// -1, 2^31, 2^32, 2^63, 2^64. What is too long gets no "+", and what comes all
// the same ends it.
func TestFrontLiteralSizes(t *testing.T) {
	for _, tt := range []struct {
		size string
		want string // the first answer to {n}
		now  error  // with {n+}
	}{
		{"0", "+ go on", nil},
		{"8192", "+ go on", nil},
		{"8193", "a BAD [TOOBIG] Literal too long", imap.ErrLiteral},
		{"2147483648", "a BAD [TOOBIG] Literal too long", imap.ErrLiteral},
		{"4294967295", "a BAD [TOOBIG] Literal too long", imap.ErrLiteral},
		{"4294967296", "a BAD [TOOBIG] Literal too long", imap.ErrLiteral},
		{"4294967299", "a BAD [TOOBIG] Literal too long", imap.ErrLiteral}, // 3 in 32 bits
		{"9223372036854775808", "a BAD [TOOBIG] Literal too long", imap.ErrLiteral},
		{"18446744073709551619", "a BAD [TOOBIG] Literal too long", imap.ErrLiteral}, // 3 in 64 bits
		{strings.Repeat("9", 1000), "a BAD [TOOBIG] Literal too long", imap.ErrLiteral},
		{"-1", "a BAD Syntax error", nil},
		{"", "a BAD Syntax error", nil},
		{"0x3", "a BAD Syntax error", nil},
		{" 3", "a BAD Syntax error", nil},
	} {
		t.Run(tt.size[:min(len(tt.size), 24)], func(t *testing.T) {
			said, ev, _, err := talk(t, imap.Protocol{}.Front(frontOptions()), "a LOGIN {"+tt.size+"}\r\n")
			if said != tt.want+"\r\n" || ev.Kind != sniff.More || err != nil {
				t.Errorf("{n}: got %q, %v, %v; want %q", said, ev.Kind, err, tt.want)
			}
			said, _, _, err = talk(t, imap.Protocol{}.Front(frontOptions()), "a LOGIN {"+tt.size+"+}\r\n")
			if !errors.Is(err, tt.now) || strings.Contains(said, "+ ") {
				t.Errorf("{n+}: got %q, %v; want error %v", said, err, tt.now)
			}
		})
	}
}

// TestFrontLongestLogin: the longest name and password that may be, as literals.
func TestFrontLongestLogin(t *testing.T) {
	name, password := strings.Repeat("n", sniff.MaxUser), strings.Repeat("p", sniff.MaxPassword)
	_, ev, _, err := talk(t, imap.Protocol{}.Front(frontOptions()),
		fmt.Sprintf("a LOGIN {%d+}\r\n%s {%d+}\r\n%s\r\n", len(name), name, len(password), password))
	if err != nil || ev.Kind != sniff.LoggingIn || ev.Login.User != name || string(ev.Login.Password) != password {
		t.Errorf("got %v, %v", ev.Kind, err)
	}
}

// TestFrontLongName holds a part of the row 2019-10691: a name of 2000 octets is
// refused in the words of a wrong password.
func TestFrontLongName(t *testing.T) {
	said, ev, _, err := talk(t, imap.Protocol{}.Front(frontOptions()), "a LOGIN "+strings.Repeat("n", 2000)+" x\r\n")
	if want := "a NO [AUTHENTICATIONFAILED] Authentication failed\r\n"; said != want || ev.Kind != sniff.More || err != nil {
		t.Errorf("got %q, %v, %v; want %q", said, ev.Kind, err, want)
	}
}

// TestFrontCommands holds the budget of 1000 commands before login.
func TestFrontCommands(t *testing.T) {
	f := imap.Protocol{}.Front(frontOptions())
	if _, ev, _, err := talk(t, f, strings.Repeat("a NOOP\r\n", 1000)); ev.Kind != sniff.More || err != nil {
		t.Fatalf("1000 commands: got %v, %v", ev.Kind, err)
	}
	said, ev, _, err := talk(t, f, "a NOOP\r\n")
	if ev.Kind != sniff.Quit || !errors.Is(err, imap.ErrCommands) || said != "* BYE Too many commands before login\r\n" {
		t.Errorf("one more: got %q, %v, %v", said, ev.Kind, err)
	}
}

// TestFrontDrops: literals that do not wait are read over behind a refused
// command, but not for ever.
func TestFrontDrops(t *testing.T) {
	o := frontOptions()
	o.TLS = false
	literal := "{8000+}\r\n" + strings.Repeat("x", 8000)
	said, ev, _, err := talk(t, imap.Protocol{}.Front(o), "a LOGIN "+strings.Repeat(literal, 6)+"\r\nb NOOP\r\n")
	if ev.Kind != sniff.Quit || !errors.Is(err, imap.ErrLiteral) {
		t.Errorf("six literals: got %v, %v", ev.Kind, err)
	}
	if want := "a NO [PRIVACYREQUIRED] Log in under TLS only\r\n* BYE Literal too long\r\n"; said != want {
		t.Errorf("six literals: got %q, want %q", said, want)
	}
	said, _, _, err = talk(t, imap.Protocol{}.Front(o), "a LOGIN "+strings.Repeat(literal, 2)+"\r\nb NOOP\r\n")
	if want := "a NO [PRIVACYREQUIRED] Log in under TLS only\r\nb OK Completed\r\n"; said != want || err != nil {
		t.Errorf("two literals: got %q, %v; want %q", said, err, want)
	}
}

// TestFrontIDBounds holds the row 2026-27857 and its kin: an ID command may have
// 30 fields of full length (RFC 2971 §3.3), and no more.
func TestFrontIDBounds(t *testing.T) {
	field := func(i int) string {
		return fmt.Sprintf(" {30+}\r\n%030d {1024+}\r\n%s", i, strings.Repeat("v", 1024))
	}
	list := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(field(i))
		}
		return "a ID (" + b.String()[1:] + ")\r\n"
	}
	f := imap.Protocol{}.Front(frontOptions())
	said, _, _, err := talk(t, f, list(30))
	if want := "* ID (\"name\" \"usher\")\r\na OK Completed\r\n"; said != want || err != nil {
		t.Errorf("30 fields: got %q, %v; want %q", said, err, want)
	}
	_, ev, _, err := talk(t, f, "b LOGIN joe x\r\n")
	if err != nil || ev.Kind != sniff.LoggingIn || len(ev.Login.Before.ID) != 30 || len(ev.Login.Before.ID[29].Value) != 1024 {
		t.Errorf("login behind 30 fields: got %v, %v", ev.Kind, err)
	}
	said, _, _, err = talk(t, imap.Protocol{}.Front(frontOptions()), list(31))
	if err != nil || !strings.HasPrefix(said, "a BAD ") || strings.Contains(said, "OK") {
		t.Errorf("31 fields: got %q, %v; want BAD", said, err)
	}
}

// endless is a peer that says its beginning once and the rest for ever.
type endless struct {
	first, again string
	left         string
}

func (e *endless) Read(p []byte) (int, error) {
	if e.first != "" {
		e.left, e.first = e.first, ""
	}
	if e.left == "" {
		e.left = e.again
	}
	n := copy(p, e.left)
	e.left = e.left[n:]
	return n, nil
}

func (*endless) Write(p []byte) (int, error) { return len(p), nil }

// bounded reads so much of an endless peer, then fails.
type bounded struct {
	*endless
	left int
}

var errEnough = errors.New("enough for this test")

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errEnough
	}
	n, err := b.endless.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// TestFrontMemory holds the rows 2026-27857, -27858, -42006, -42391: 100
// connections that have sent as much as they can without being refused keep less
// than 128 KiB each.
func TestFrontMemory(t *testing.T) {
	const conns, each = 100, 128 << 10
	value := strings.Repeat("v", 1000)
	for _, tt := range []struct {
		name, first, again string
		sent               int
	}{
		{"parentheses", "a ID ", "(", 8192},
		{"ID with endless fields", "a ID (", `{4+}` + "\r\nname {1000+}\r\n" + value + " ", 30000},
		{"SASL message", "a AUTHENTICATE PLAIN\r\n", "QUFB", sniff.MaxSASLLine},
		{"many IDs", "", `a ID ("name" "` + value + `")` + "\r\n", 50 * 1000},
		{"literals", "a LOGIN ", "{8000+}\r\n" + strings.Repeat("x", 8000) + " ", 16000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			drivers := make([]*sniff.Driver, conns)
			before := heap()
			for i := range drivers {
				drivers[i] = sniff.NewDriver(imap.Protocol{}.Front(frontOptions()))
				peer := &bounded{&endless{first: tt.first, again: tt.again}, tt.sent}
				if ev, err := drivers[i].Drive(peer); !errors.Is(err, errEnough) {
					t.Fatalf("got %v, %v; want it to go on", ev.Kind, err)
				}
			}
			if grown := heap() - before; grown > conns*each {
				t.Errorf("%d connections keep %d octets each, want at most %d", conns, grown/conns, each)
			}
			runtime.KeepAlive(drivers)
		})
	}
}

// TestFrontAborted holds the row 2017-15132: aborted exchanges leave nothing
// behind.
func TestFrontAborted(t *testing.T) {
	f := imap.Protocol{}.Front(frontOptions())
	abort := strings.Repeat("a AUTHENTICATE LOGIN\r\n"+base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("x"), 1000))+"\r\n*\r\n", 100)
	before := heap()
	for range 9 {
		if _, ev, _, err := talk(t, f, abort); ev.Kind != sniff.More || err != nil {
			t.Fatalf("got %v, %v", ev.Kind, err)
		}
	}
	if grown := heap() - before; grown > 256<<10 {
		t.Errorf("900 aborted exchanges keep %d octets", grown)
	}
	runtime.KeepAlive(f)
}

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestBackEndless holds the rows of endless and huge back ends: a greeting, a
// line, untagged lines, literals without end are errors, and cost no more than a
// Driver's buffer.
func TestBackEndless(t *testing.T) {
	greeting := "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=SCRAM-SHA-1] hello\r\n"
	for _, tt := range []struct {
		name         string
		first, again string
		fails        error
	}{
		{"greeting", "* OK ", "hello", imap.ErrLine},
		{"untagged line", greeting + "* ", "x", imap.ErrLine},
		{"untagged lines", greeting, "* OK still here\r\n", imap.ErrReply},
		{"untagged literals", greeting, "* X {8192}\r\n" + strings.Repeat("y", 8192) + "\r\n", imap.ErrReply},
		{"one line of literals", greeting + "* X", " {8192}\r\n" + strings.Repeat("y", 8192), imap.ErrReply},
		{"challenge", greeting + "+ ", "eHh4", imap.ErrLine},
		{"noise", "", "\x00\xff", imap.ErrOctet},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conv := imap.Protocol{}.Back(sniff.BackOptions{Login: &sniff.Login{
				Mechanism: sniff.ScramSHA1, User: "joe", AuthID: "joe", Initial: sniff.Secret("n,,n=joe,r=x"),
			}})
			peer := &bounded{&endless{first: tt.first, again: tt.again}, 8 << 20}
			ev, err := sniff.NewDriver(conv).Drive(peer)
			if ev.Kind != sniff.Quit || !errors.Is(err, tt.fails) {
				t.Errorf("got %v, %v; want %v", ev.Kind, err, tt.fails)
			}
		})
	}
}

// TestBackCapabilityBounds: a list of capabilities is bounded, and only atoms
// get into it.
func TestBackCapabilityBounds(t *testing.T) {
	conv := imap.Protocol{}.Back(sniff.BackOptions{Probe: sniff.ProbeGreeting})
	list := strings.Repeat(" A", 300) + " {x} " + strings.Repeat("L", 200)
	_, ev, _, err := talk(t, conv, "* OK hello\r\n* CAPABILITY IMAP4rev1 a\"b "+strings.Repeat("L", 129)+list+"\r\nC OK done\r\n* BYE\r\n")
	if err != nil || ev.Kind != sniff.Accepted {
		t.Fatalf("got %v, %v", ev.Kind, err)
	}
	if got := ev.Accepted.Capabilities; len(got) != 256 || got[1] != "A" {
		t.Errorf("got %d capabilities, %q…", len(got), got[:2])
	}
}

// TestBackText: what a back end says is bounded and holds no controls.
func TestBackText(t *testing.T) {
	conv := imap.Protocol{}.Back(sniff.BackOptions{Login: &sniff.Login{Mechanism: sniff.Command, User: "joe", AuthID: "joe"}})
	_, ev, _, err := talk(t, conv, "* BYE [UNAVAILABLE] "+strings.Repeat("\u00e4", 1000)+"\x1b\u202e\xff\r\n")
	if err != nil || ev.Kind != sniff.Refused {
		t.Fatalf("got %v, %v", ev.Kind, err)
	}
	if want := strings.Repeat("\u00e4", 128); ev.Refusal.Text != want {
		t.Errorf("got %q, want %q", ev.Refusal.Text, want)
	}
}

// TestBackLongToken: a token that makes a line longer than back ends must bear
// goes behind their "+" (RFC 4959 §3).
func TestBackLongToken(t *testing.T) {
	initial := "user=joe\x01auth=Bearer " + strings.Repeat("x", 12<<10) + "\x01\x01"
	conv := imap.Protocol{}.Back(sniff.BackOptions{Login: &sniff.Login{
		Mechanism: sniff.XOAuth2, User: "joe", AuthID: "joe", Initial: sniff.Secret(initial),
	}})
	said, _, _, err := talk(t, conv, "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] hello\r\n+ \r\n")
	want := "L AUTHENTICATE XOAUTH2\r\n" + base64.StdEncoding.EncodeToString([]byte(initial)) + "\r\n"
	if said != want || err != nil {
		t.Errorf("got %.60q, %v", said, err)
	}
}
