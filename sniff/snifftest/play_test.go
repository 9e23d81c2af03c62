package snifftest

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"usher.example/sniff"
)

// scripted is a conversation made of a function.
type scripted func(in []byte) (n int, out string, ev sniff.Event, err error)

func (scripted) Start(dst []byte) []byte { return append(dst, "hello\r\n"...) }

func (s scripted) Next(dst, in []byte) (int, []byte, sniff.Event, error) {
	n, out, ev, err := s(in)
	return n, append(dst, out...), ev, err
}

func whole(left int) int { return left }
func single(int) int     { return 1 }

// byLine is a conversation as it should be.
func byLine(in []byte) (int, string, sniff.Event, error) {
	line, _, ok := bytes.Cut(in, []byte("\r\n"))
	if !ok {
		return 0, "", sniff.Event{}, nil
	}
	n := len(line) + 2
	switch string(line) {
	case "quit":
		return n, "bye\r\n", sniff.Event{Kind: sniff.Quit}, nil
	case "bad":
		return n, "", sniff.Event{Kind: sniff.Quit}, errors.New("bad line")
	case "half":
		return n, "no line end", sniff.Event{Kind: sniff.Step}, nil
	}
	return n, "ok\r\n", sniff.Event{Kind: sniff.Step}, nil
}

func TestPlay(t *testing.T) {
	for _, tt := range []struct{ name, input, want string }{
		{"nothing", "", "hello\n"},
		{"a line", "x\r\n", "hello\nok\n"},
		{"half a line", "x\r\ny", "hello\nok\n=> rest \"y\"\n"},
		{"an end with something behind", "quit\r\nmore\r\n", "hello\nbye\n=> quit\n=> rest \"more\\r\\n\"\n"},
		{"an error", "bad\r\n", "hello\n=> quit error=\"bad line\"\n"},
		{"an answer without line end", "half\r\n", "hello\nno line end\\c\n"},
	} {
		for cutting, cut := range map[string]func(int) int{"whole": whole, "single octets": single} {
			if got := play(scripted(byLine), []piece{{input: tt.input}}, cut); got != tt.want {
				t.Errorf("%s, %s: got %q, want %q", tt.name, cutting, got, tt.want)
			}
		}
	}
}

// The law that everything here is for must be seen to be broken.
func TestCutsShow(t *testing.T) {
	for name, c := range map[string]scripted{
		"a prefix is judged too early": func(in []byte) (int, string, sniff.Event, error) {
			if len(in) > 0 && !bytes.HasSuffix(in, []byte("\r\n")) {
				return len(in), "incomplete\r\n", sniff.Event{Kind: sniff.Quit}, nil
			}
			return byLine(in)
		},
		"a bound that counts what stands behind the line": func(in []byte) (int, string, sniff.Event, error) {
			if len(in) > 6 {
				return 0, "too long\r\n", sniff.Event{Kind: sniff.Quit}, nil
			}
			return byLine(in)
		},
	} {
		pieces := []piece{{input: "abc\r\ndef\r\n"}}
		if play(c, pieces, whole) == play(c, pieces, single) {
			t.Errorf("%s: nothing shows", name)
		}
	}
}

// A conversation must copy what it keeps: a Driver clears what was consumed.
func TestKeptInputShows(t *testing.T) {
	var kept []byte
	c := scripted(func(in []byte) (int, string, sniff.Event, error) {
		switch {
		case kept == nil && len(in) < 5:
			return 0, "", sniff.Event{}, nil
		case kept == nil:
			kept = in[:3]
			return 5, "", sniff.Event{Kind: sniff.Step}, nil
		}
		return 0, string(kept) + "\r\n", sniff.Event{Kind: sniff.Quit}, nil
	})
	if got := play(c, []piece{{input: "joe\r\n"}}, whole); strings.Contains(got, "joe") {
		t.Errorf("kept input goes unseen: %q", got)
	}
}

func TestBrokenConversationsPanic(t *testing.T) {
	for name, ret := range map[string]struct {
		n   int
		ev  sniff.Kind
		err error
	}{
		"more consumed than there is":  {n: 99, ev: sniff.Step},
		"a negative count":             {n: -1, ev: sniff.Step},
		"a step without progress":      {ev: sniff.Step},
		"an error that is not the end": {n: 1, ev: sniff.Step, err: errors.New("x")},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			play(scripted(func([]byte) (int, string, sniff.Event, error) {
				return ret.n, "", sniff.Event{Kind: ret.ev}, ret.err
			}), []piece{{input: "x"}}, whole)
		})
	}
}

func TestParse(t *testing.T) {
	options, pieces, err := parse("# tls\n# offer: PLAIN  LOGIN\nA \\x00\\\\ \"q\" \\r\\n\n\\c\nx\\c\n!secured\nend")
	if err != nil {
		t.Fatal(err)
	}
	if !options.Has("tls") || options.Has("plaintext") || strings.Join(options.Words("offer"), "|") != "PLAIN|LOGIN" {
		t.Errorf("options %q", options)
	}
	if len(pieces) != 2 || pieces[0].react == nil || pieces[1].react != nil {
		t.Fatalf("pieces %v", pieces)
	}
	if got, want := pieces[0].input, "A \x00\\ \"q\" \r\n\r\nx"; got != want {
		t.Errorf("first piece %q, want %q", got, want)
	}
	if got, want := pieces[1].input, "end\r\n"; got != want {
		t.Errorf("second piece %q, want %q", got, want)
	}
	for _, bad := range []string{"!shout", "!refuse nonsense", `\q`} {
		if _, _, err := parse(bad); err == nil {
			t.Errorf("parse(%q) gives no error", bad)
		}
	}
}

// A reaction that nothing asked for, or that belongs to the other side, is
// written down and ends the play.
func TestMisplacedReactions(t *testing.T) {
	react, err := parseReaction("accept")
	if err != nil {
		t.Fatal(err)
	}
	pieces := []piece{{input: "x\r\n", react: react}, {input: "y\r\n"}}
	if got, want := play(scripted(byLine), pieces, whole), "hello\nok\n=> nothing to react to in piece 1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	login := scripted(func(in []byte) (int, string, sniff.Event, error) {
		return len(in), "", sniff.Event{Kind: sniff.LoggingIn, Login: new(sniff.Login)}, nil
	})
	if got := play(login, pieces, whole); !strings.Contains(got, errSide.Error()) {
		t.Errorf("a front's reaction passes for another's: %q", got)
	}
}

func TestTranscripts(t *testing.T) {
	Transcripts(t, "testdata/*.txt", func(_ *testing.T, o Options) sniff.Conversation {
		if o.Has("deaf") {
			return scripted(func([]byte) (int, string, sniff.Event, error) { return 0, "", sniff.Event{}, nil })
		}
		return scripted(byLine)
	})
}
