package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// commandsPage is the reference of the commands, written by this test with -update.
const commandsPage = "../../docs/commands.md"

// TestCommandsPage: the reference says what the program's own help says.
func TestCommandsPage(t *testing.T) {
	want := commandsReference(newRoot())
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" {
		if err := os.WriteFile(commandsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(commandsPage)
	if err != nil || string(got) != want {
		t.Errorf("docs/commands.md is not what the commands say (%v): go test ./cmd/usher -run TestCommandsPage -update", err)
	}
}

// commandsReference is a page with a section for each command.
func commandsReference(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("# Commands\n\nWritten from the program's own help by a test; change that, not this page. `usher help COMMAND` says the\n" +
		"same. All commands that ask a running usher take `--socket` (default `" + defaultSocket + "`).\n\n| command | |\n| --- | --- |\n")
	var all []*cobra.Command
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			if sub.Name() == "help" || sub.Hidden {
				continue
			}
			all = append(all, sub)
			walk(sub)
		}
	}
	walk(root)
	all = slices.DeleteFunc(all, func(c *cobra.Command) bool { return c.Name() == "completion" || c.Parent().Name() == "completion" })
	for _, c := range all {
		fmt.Fprintf(&b, "| [%s](#%s) | %s |\n", c.CommandPath(), strings.ReplaceAll(c.CommandPath(), " ", "-"), c.Short)
	}
	b.WriteString("| usher completion SHELL | completion for bash, zsh, fish, powershell |\n")
	for _, c := range all {
		fmt.Fprintf(&b, "\n## %s\n\n", c.CommandPath())
		var text strings.Builder
		text.WriteString(strings.TrimRight(c.Long, "\n") + "\n")
		if c.Runnable() {
			text.WriteString("\n" + c.UseLine() + "\n")
		}
		for line := range strings.Lines(c.LocalNonPersistentFlags().FlagUsages()) {
			if !strings.Contains(line, "--help ") {
				text.WriteString(line)
			}
		}
		if c.Example != "" {
			text.WriteString("\nfor example\n" + c.Example + "\n")
		}
		fmt.Fprintf(&b, "```text\n%s```\n", text.String())
	}
	return b.String()
}
