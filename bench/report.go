package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// newReportCommand is `bench report`.
func newReportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "report RUN.json",
		Short: "make tables and plots of a run",
		Args:  cobra.ExactArgs(1),
		RunE:  func(*cobra.Command, []string) error { return errors.New("not built yet") },
	}
}
