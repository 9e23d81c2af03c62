package snifftest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"usher.example/sniff"
)

var update = flag.Bool("update", false, "rewrite our part of the transcripts")

// Options are the "# name: value" lines of a transcript.
type Options map[string]string

// Has tells whether the option was given, with or without a value.
func (o Options) Has(name string) bool { _, ok := o[name]; return ok }

// Words returns the option's value as words.
func (o Options) Words(name string) []string { return strings.Fields(o[name]) }

// Transcripts plays every file that the pattern matches. open makes the
// conversation that a file's options ask for.
func Transcripts(t *testing.T, pattern string, open func(t *testing.T, o Options) sniff.Conversation) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts match %s (%v)", pattern, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			peer, want, ok := strings.Cut(string(text), "\n----\n")
			if !ok && !*update {
				t.Fatalf("%s has no line ----", file)
			}
			options, pieces, err := parse(peer)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			got := play(open(t, options), pieces, func(left int) int { return left })
			if cut := play(open(t, options), pieces, func(int) int { return 1 }); cut != got {
				t.Errorf("cut in single octets it goes another way:\n%s\nwhole:\n%s", cut, got)
			}
			if *update {
				if err := os.WriteFile(file, []byte(strings.TrimSuffix(peer, "\n")+"\n----\n"+got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("%s\ngot:\n%s\nwant:\n%s", file, got, want)
			}
		})
	}
}

// parse reads the peer's part of a transcript.
func parse(text string) (Options, []piece, error) {
	options := make(Options)
	var pieces []piece
	var input strings.Builder
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		switch {
		case strings.HasPrefix(line, "#"):
			name, value, _ := strings.Cut(strings.TrimSpace(line[1:]), ":")
			options[strings.TrimSpace(name)] = strings.TrimSpace(value)
		case strings.HasPrefix(line, "!"):
			r, err := parseReaction(line[1:])
			if err != nil {
				return nil, nil, err
			}
			pieces = append(pieces, piece{input.String(), r})
			input.Reset()
		default:
			body, open := strings.CutSuffix(line, `\c`)
			s, err := strconv.Unquote(`"` + strings.ReplaceAll(body, `"`, `\"`) + `"`)
			if err != nil {
				return nil, nil, fmt.Errorf("line %q: %w", line, err)
			}
			input.WriteString(s)
			if !open {
				input.WriteString("\r\n")
			}
		}
	}
	return options, append(pieces, piece{input.String(), nil}), nil
}

var errSide = errors.New("reaction belongs to the other side")

func parseReaction(line string) (reaction, error) {
	verb, arg, _ := strings.Cut(line, " ")
	front := func(do func(f sniff.Front, dst []byte) []byte) reaction {
		return func(c sniff.Conversation, _ sniff.Event, dst []byte) ([]byte, error) {
			f, ok := c.(sniff.Front)
			if !ok {
				return dst, errSide
			}
			return do(f, dst), nil
		}
	}
	switch verb {
	case "secured":
		return func(c sniff.Conversation, _ sniff.Event, dst []byte) ([]byte, error) {
			switch c := c.(type) {
			case sniff.Front:
				c.Secured(arg)
			case sniff.Back:
				c.Secured()
			}
			return dst, nil
		}, nil
	case "accept":
		list, text, _ := strings.Cut(arg, "|")
		caps := strings.Fields(list)
		if len(caps) == 0 {
			caps = nil // the back end did not say
		}
		return front(func(f sniff.Front, dst []byte) []byte {
			return f.Accept(dst, &sniff.Acceptance{Capabilities: caps, Text: strings.TrimSpace(text)})
		}), nil
	case "refuse":
		name, text, _ := strings.Cut(arg, " ")
		for _, code := range sniff.Codes() {
			if code.String() == name {
				return front(func(f sniff.Front, dst []byte) []byte {
					return f.Refuse(dst, sniff.Refusal{Code: code, Text: text})
				}), nil
			}
		}
		return nil, fmt.Errorf("no code %q", name)
	case "challenge":
		return front(func(f sniff.Front, dst []byte) []byte { return f.Challenge(dst, []byte(arg)) }), nil
	case "respond":
		return func(c sniff.Conversation, _ sniff.Event, dst []byte) ([]byte, error) {
			b, ok := c.(sniff.Back)
			if !ok {
				return dst, errSide
			}
			return b.Respond(dst, []byte(arg)), nil
		}, nil
	}
	return nil, fmt.Errorf("no reaction %q", verb)
}
