package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// said finds commands that a page speaks of, in `code` and at the begin of lines of
// blocks: usher and the words behind it.
var said = regexp.MustCompile("(?:`|^ {4}|^|# |\\| |&& |ExecStart=/usr/local/bin/|= )usher ((?:[a-z][a-z-]*|--[a-z-]+)(?: [^ `|;&()]+)*)")

// shown are others' words that look like a command of usher's.
var shown = []string{
	"usher is ready", // in logs
}

// TestManualSpeaksTheTruth: commands that the manual and README speak of exist, with
// the flags that they are given there.
func TestManualSpeaksTheTruth(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range append(files, "../../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		inside, console := false, false // a block
		for i, line := range strings.Split(string(text), "\n") {
			if strings.HasPrefix(line, "```") {
				inside, console = !inside, line == "```console"
			}
			if console && !strings.Contains(line, "# ") {
				continue // what is printed
			}
			for _, m := range said.FindAllStringSubmatchIndex(line, -1) {
				words := line[m[2]:m[3]]
				prose := !inside && !strings.HasPrefix(line, "    ") && line[m[0]] != '`'
				if prose || slices.ContainsFunc(shown, func(s string) bool { return strings.HasPrefix("usher "+words, s) }) {
					continue
				}
				found++
				if wrong := spoken(strings.Fields(words)); wrong != "" {
					t.Errorf("%s:%d: usher %s: %s", filepath.Base(file), i+1, words, wrong)
				}
			}
		}
	}
	if found < 100 {
		t.Errorf("got %d commands, want hundreds: the pattern does not find them", found)
	}
}

// spoken says what is wrong with a command that is written about; it may lack
// arguments there.
func spoken(words []string) string {
	c := newRoot()
	for i, word := range words {
		if name, ok := strings.CutPrefix(word, "-"); ok {
			name, _, _ = strings.Cut(strings.TrimRight(strings.TrimPrefix(name, "-"), ".,"), "=")
			c.InitDefaultHelpFlag()
			known := c.Flag(name) != nil || len(name) == 1 && c.Flags().ShorthandLookup(name) != nil
			if name != "" && name != "version" && !known {
				return "there is no flag " + word
			}
			continue
		}
		next := subcommand(c, word)
		if next == nil && i == 0 || next == nil && c.HasSubCommands() && !c.Runnable() {
			return "there is no command " + word
		}
		if next == nil {
			continue // an argument
		}
		c = next
	}
	return ""
}

func subcommand(c *cobra.Command, name string) *cobra.Command {
	if !c.HasParent() && (name == "help" || name == "completion") {
		return &cobra.Command{Use: name, Run: func(*cobra.Command, []string) {}}
	}
	for _, sub := range c.Commands() {
		if sub.Name() == strings.TrimRight(name, ".,") {
			return sub
		}
	}
	return nil
}

// TestSpoken: what does not exist is noticed.
func TestSpoken(t *testing.T) {
	for text, good := range map[string]bool{
		"status": true, "status --json": true, "user move joe@example.org mail2": true, "user move --map FILE --dry-run": true,
		"check -c x.toml": true, "completion bash": true, "node list": true,
		"stats": false, "user teleport joe": false, "status --jsn": false, "user move --now joe": false,
	} {
		if wrong := spoken(strings.Fields(text)); (wrong == "") != good {
			t.Errorf("usher %s: got %q", text, wrong)
		}
	}
}
