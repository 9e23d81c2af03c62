package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"usher.example/bench/result"
)

// newReportCommand is `bench report`.
func newReportCommand() *cobra.Command {
	var markdown, plots, update string
	c := &cobra.Command{
		Use:   "report RUN.json",
		Short: "make tables and plots of a run",
		Long: "Makes the report of a run: Markdown on standard output or into a file, and plots.\n" +
			"With --update it writes tables into a page, between the lines\n" +
			"  <!-- bench:begin PART [run=NAME] [pictures=DIR] -->  and  <!-- bench:end PART -->\n" +
			"where PART is verdict, losses, logins, idle, throughput, roundtrips, storm, day, fleet,\n" +
			"soak, other, capacity, targets, machine or faults; and plots into each DIR, which is seen from the page.\n" +
			"A part with run= is renewed from the result of that name only (its file, without the ending).",
		Example: "  bench report run.json --markdown report.md --svg report\n" +
			"  bench report bench/results/2026-11-30.json --update docs/performance.md",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := result.ReadFile(args[0])
			if err != nil {
				return err
			}
			var errs []error
			if plots != "" {
				_, err := result.WritePlots(plots, r)
				errs = append(errs, err)
			}
			if markdown != "" {
				errs = append(errs, writeReport(markdown, plots, r))
			}
			if update != "" {
				errs = append(errs, updatePage(update, args[0], r))
			}
			if plots == "" && markdown == "" && update == "" {
				errs = append(errs, result.Markdown(c.OutOrStdout(), r))
			}
			return errors.Join(errs...)
		},
	}
	c.Flags().StringVar(&markdown, "markdown", "", "write the report into this `file`")
	c.Flags().StringVar(&plots, "svg", "", "write the plots into this `directory`")
	c.Flags().StringVar(&update, "update", "", "write the tables between the markers of this `page`")
	return c
}

// writeReport writes a page of its own, with the plots if there are any.
func writeReport(page, plots string, r *result.Run) error {
	dir := ""
	if plots != "" {
		var err error
		if dir, err = filepath.Rel(filepath.Dir(page), plots); err != nil {
			return fmt.Errorf("see the plots from %s: %w", page, err)
		}
	}
	var b bytes.Buffer
	if err := result.MarkdownPictures(&b, r, filepath.ToSlash(dir)); err != nil {
		return err
	}
	return os.WriteFile(page, b.Bytes(), 0o644)
}

// updatePage renews what a page shows of a run: tables, and the plots that it
// names.
func updatePage(page, run string, r *result.Run) error {
	old, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	name := runName(run)
	text, err := result.Insert(string(old), r, name, true)
	if err != nil {
		return fmt.Errorf("update %s: %w", page, err)
	}
	for _, dir := range result.PictureDirs(text, name, true) {
		if _, err := result.WritePlots(filepath.Join(filepath.Dir(page), filepath.FromSlash(dir)), r); err != nil {
			return err
		}
	}
	return os.WriteFile(page, []byte(text), 0o644)
}

// runName is what a page calls a run: its file, without directory and ending.
func runName(file string) string {
	return strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
}
