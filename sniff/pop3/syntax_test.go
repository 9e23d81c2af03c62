package pop3

import (
	"errors"
	"strings"
	"testing"

	"usher.example/sniff"
)

func TestScan(t *testing.T) {
	const limit = 10
	for _, tt := range []struct {
		in, line string
		n        int
		err      error
	}{
		{"", "", 0, nil},
		{"CAPA", "", 0, nil},
		{"CAPA\r", "", 0, nil},
		{"CAPA\r\n", "CAPA", 6, nil},
		{"CAPA\r\nUSER", "CAPA", 6, nil},
		{"\r\n", "", 2, nil},
		{"12345678\r\n", "12345678", 10, nil},
		{"123456789", "", 0, nil},
		{"1234567890", "", 0, sniff.ErrTooLong},
		{"123456789\r\n", "", 0, sniff.ErrTooLong},
		{"CAPA\n", "", 0, ErrLine},
		{"\n", "", 0, ErrLine},
		{"CA\rPA\r\n", "", 0, ErrLine},
		{"CAPA\r\r\n", "", 0, ErrLine},
		{"CA\x00PA\r\n", "", 0, ErrLine},
		{"CA\xff\t\x80\r\n", "CA\xff\t\x80", 7, nil},
	} {
		line, n, err := scan([]byte(tt.in), limit)
		if string(line) != tt.line || n != tt.n || !errors.Is(err, tt.err) {
			t.Errorf("scan(%q) = %q, %d, %v; want %q, %d, %v", tt.in, line, n, err, tt.line, tt.n, tt.err)
		}
	}
}

// A verb that another makes of it by Unicode's rules (K, the Kelvin sign) is none.
func TestParseCommand(t *testing.T) {
	for _, tt := range []struct {
		in, verb, arg string
		args          bool
	}{
		{"pass  a b ", "PASS", " a b ", true},
		{"PASS ", "PASS", "", true},
		{"PASS", "PASS", "", false},
		{"", "", "", false},
		{" USER joe", "", "USER joe", true},
		{"XCLIENTS a", "", "a", true},
		{"USER\tjoe", "", "", false},
		{strings.Repeat("x", 4000), "", "", false},
	} {
		c := parseCommand([]byte(tt.in))
		if c.verb != tt.verb || string(c.arg) != tt.arg || c.args != tt.args {
			t.Errorf("parseCommand(%.20q) = %q %q %v, want %q %q %v", tt.in, c.verb, c.arg, c.args, tt.verb, tt.arg, tt.args)
		}
	}
}

func TestIsLang(t *testing.T) {
	for s, want := range map[string]bool{
		"de": true, "de-AT": true, "i-default": true, "*": true, strings.Repeat("a", maxLang): true,
		"": false, "-": false, "de-": false, "-de": false, "d e": false, "de\r\nQUIT": false, "dé": false, "**": false,
		strings.Repeat("a", maxLang+1): false,
	} {
		if got := isLang(s); got != want {
			t.Errorf("isLang(%q) = %v, want %v", s, got, want)
		}
	}
}

// RFC 2449 §8, RFC 3206 §2.
func TestRefusal(t *testing.T) {
	for text, want := range map[string]sniff.Refusal{
		"":                                  {Code: sniff.AuthFailed},
		"no":                                {Code: sniff.AuthFailed, Text: "no"},
		"[AUTH] no":                         {Code: sniff.AuthFailed, Text: "no"},
		"[auth]no":                          {Code: sniff.AuthFailed, Text: "no"},
		"[SYS/TEMP] later":                  {Code: sniff.Unavailable, Text: "later"},
		"[SYS/PERM] call us":                {Code: sniff.ContactAdmin, Text: "call us"},
		"[SYS/NEW/KIND] hm":                 {Code: sniff.Unavailable, Text: "hm"},
		"[SYS] hm":                          {Code: sniff.Unavailable, Text: "hm"},
		"[SYSTEM] hm":                       {Code: sniff.AuthFailed, Text: "hm"},
		"[IN-USE] locked":                   {Code: sniff.InUse, Text: "locked"},
		"[LOGIN-DELAY] wait":                {Code: sniff.InUse, Text: "[LOGIN-DELAY] wait"},
		"[UNAVAILABLE] away":                {Code: sniff.Unavailable, Text: "away"},
		"[LIMIT] too many":                  {Code: sniff.Limit, Text: "too many"},
		"[EXPIRED] old":                     {Code: sniff.Expired, Text: "old"},
		"[PRIVACYREQUIRED] use TLS":         {Code: sniff.ServerBug, Text: "use TLS"},
		"[unfinished":                       {Code: sniff.AuthFailed, Text: "[unfinished"},
		"[UTF8] a\tb\u202e" + "c\xff\x1b[m": {Code: sniff.AuthFailed, Text: "a?b?c??[m"},
	} {
		if got := *refusal([]byte(text), sniff.AuthFailed); got != want {
			t.Errorf("refusal(%q) = %v %q, want %v %q", text, got.Code, got.Text, want.Code, want.Text)
		}
		if got := *fault([]byte(text), sniff.Unavailable); got.Code == sniff.AuthFailed || got.Code == sniff.Expired {
			t.Errorf("fault(%q) = %v: nothing was said that could be wrong", text, got.Code)
		}
	}
}

func TestCleanIsBounded(t *testing.T) {
	for _, s := range []string{strings.Repeat("x", 10_000), strings.Repeat("ü", 10_000), strings.Repeat("\xff", 10_000), strings.Repeat("x", maxText-1) + "ü"} {
		if got := clean(s); len(got) > maxText || len(got) < maxText-1 || clean(got) != got {
			t.Errorf("clean(%.10q…) has %d octets: %.10q…", s, len(got), got)
		}
	}
}
