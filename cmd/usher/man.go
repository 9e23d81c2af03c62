package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manSection is that of commands for administrators.
const manSection = "8"

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "write the manual pages",
		Long: `man writes a manual page of section 8 for usher and for each of its commands into
a directory, which is made if it does not exist: usher.8, usher-status.8 and so
on. Packages do this when they are built. The date on the pages is today's, or
that of SOURCE_DATE_EPOCH, so that builds can be repeated.`,
		Example: "  usher man /usr/local/share/man/man8 && man usher-status",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := writeManual(cmd.Root(), args[0])
			if err != nil {
				return fmt.Errorf("write manual pages: %w", err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s in %s\n", plural(n, "manual page"), args[0])
			return err
		},
	}
}

// writeManual writes the pages of a command and all below it.
func writeManual(root *cobra.Command, dir string) (pages int, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		c.DisableAutoGenTag = true // no history of who generated it
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	header := &doc.GenManHeader{Section: manSection, Source: "usher", Manual: "usher"}
	if err := doc.GenManTree(root, header, dir); err != nil {
		return 0, err
	}
	written, err := filepath.Glob(filepath.Join(dir, root.Name()+"*."+manSection))
	return len(written), err
}
