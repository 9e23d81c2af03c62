package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestManCommand(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1768435200")
	dir := filepath.Join(t.TempDir(), "man8") // is made
	out, status, err := run(t, "man", dir)
	if status != 0 || !strings.Contains(out, " manual pages in "+dir) {
		t.Fatalf("got %d, %v, %q", status, err, out)
	}
	for _, name := range []string{"usher", "usher-status", "usher-sessions", "usher-kick", "usher-man", "usher-serve", "usher-completion-bash", "usher-user-move", "usher-fleet-recover", "usher-witness"} {
		page, err := os.ReadFile(filepath.Join(dir, name+".8"))
		if err != nil {
			t.Error(err)
			continue
		}
		text := string(page)
		for _, want := range []string{`.TH "` + strings.ToUpper(name) + `" "8" "Jan 2026"`, ".SH DESCRIPTION"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", name, want, text[:min(len(text), 300)])
			}
		}
		if strings.Contains(text, "cobra") {
			t.Errorf("%s names its generator", name)
		}
	}
}

// TestHelp: every command says in a line and at length what it does, and takes
// its help from the same text as the manual.
func TestHelp(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || c.HasParent() && strings.ToLower(c.Short[:1]) != c.Short[:1] {
			t.Errorf("%s: one line in lower case without a period, got %q", c.CommandPath(), c.Short)
		}
		if c.RunE == nil && c.Run == nil && !c.HasSubCommands() {
			t.Errorf("%s does nothing", c.CommandPath())
		}
		for line := range strings.SplitSeq(c.Long+"\n"+c.Example, "\n") {
			if len(line) > 110 {
				t.Errorf("%s: a line of %d characters: %s", c.CommandPath(), len(line), line)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot())
}
