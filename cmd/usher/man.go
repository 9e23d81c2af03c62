package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"usher.example/cmd/internal/config"
)

// manSection is that of commands for administrators.
const manSection = "8"

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "write the manual pages",
		Long: `man writes a manual page of section 8 for usher and for each of its commands into
a directory, which is made if it does not exist: usher.8, usher-status.8 and so
on; and usher.toml.5, every key of the configuration, into the directory man5
beside it if it is called man8, else into the same. Packages do this when they are
built. The date on the pages is today's, or that of SOURCE_DATE_EPOCH, so that
builds can be repeated.`,
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
	if err != nil {
		return 0, err
	}
	return len(written) + 1, writeFilePage(dir)
}

// writeFilePage writes the page of the configuration file, given the folder of the
// others.
func writeFilePage(dir string) error {
	if filepath.Base(dir) == "man"+manSection {
		dir = filepath.Join(filepath.Dir(dir), "man5")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	date := time.Now()
	if text := os.Getenv("SOURCE_DATE_EPOCH"); text != "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
		}
		date = time.Unix(seconds, 0)
	}
	return os.WriteFile(filepath.Join(dir, "usher.toml.5"), []byte(config.Manual(date.UTC())), 0o644)
}
