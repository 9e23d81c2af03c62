package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"
)

// hostile are names that strangers could log in with, or try to.
var hostile = []string{
	"joe\x1b[2J\x1b]0;owned\a", "joe\tx", "joe\r\nann", "joe  imap  10.0.0.1", "joe\u202egro", "joe\u009b31m", "joe\xff",
	`joe"`, `joe\`, "\u2028", "\U000e0041", "joe\x00", strings.Repeat("x", 5000), strings.Repeat("\x1b", 5000),
}

// harmless tells whether a terminal shows s and does nothing else.
func harmless(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar })
}

func TestCell(t *testing.T) {
	for s, want := range map[string]string{
		"":                                 "-",
		"joe@example.org":                  "joe@example.org",
		"jürgen":                           "jürgen",
		"joe ann":                          `"joe ann"`,
		"joe\x1b[2J":                       `"joe\x1b[2J"`,
		"joe\u202egro":                     `"joe\u202egro"`,
		strings.Repeat("ü", maxCell):       strings.Repeat("ü", maxCell),
		strings.Repeat("ü", maxCell+1):     strings.Repeat("ü", maxCell-1) + "…",
		strings.Repeat("x", 5000) + "\x1b": strings.Repeat("x", maxCell-1) + "…",
	} {
		if got := cell(s); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
	for _, s := range hostile {
		if got := cell(s); !harmless(got) || strings.Contains(got, "  ") && !strings.HasPrefix(got, `"`) || len(got) > 10*maxCell {
			t.Errorf("%q: got %q", s, got)
		}
	}
}

func TestText(t *testing.T) {
	for _, s := range hostile {
		if got := text(s); !harmless(got) || len(got) > 10*maxText {
			t.Errorf("%q: got %q", s, got)
		}
	}
	if got, want := text("dial tcp: connection refused"), "dial tcp: connection refused"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPrintJSON(t *testing.T) {
	for _, s := range hostile {
		var out strings.Builder
		if err := printJSON(&out, map[string]string{"user": s}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			if !harmless(strings.TrimSuffix(line, "\n")) {
				t.Errorf("%q: got %q", s, line)
			}
		}
		var back map[string]string
		if err := json.Unmarshal([]byte(out.String()), &back); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); back["user"] != want {
			t.Errorf("got %q back, want %q", back["user"], want)
		}
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:                  "0s",
		59*time.Second + 999999999:    "59s",
		time.Minute:                   "1m00s",
		time.Hour - time.Second:       "59m59s",
		25 * time.Hour:                "1d01h",
		3*time.Hour + 4*time.Minute:   "3h04m",
		1000*24*time.Hour + time.Hour: "1000d01h",
	} {
		if got := age(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0", 1023: "1023", 1024: "1.0Ki", 1536: "1.5Ki", 50 << 20: "50.0Mi", 1<<64 - 1: "16.0Ei",
	} {
		if got := size(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func TestLines(t *testing.T) {
	for text, want := range map[string]string{
		"two \"lines\",\n\tC:\\x, ü\n": "two \"lines\",\n\tC:\\x, ü\n",
		"a\x1b[2Jb\r\nc":               `a\x1b[2Jb\r` + "\nc",
		"\xff\u202e\x00":               `\xff\u202e\x00`,
		"":                             "",
	} {
		if got := lines(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
