package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// newCompareCommand is `bench compare`.
func newCompareCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "compare OLD.json NEW.json",
		Short: "say what differs between two runs",
		Args:  cobra.ExactArgs(2),
		RunE:  func(*cobra.Command, []string) error { return errors.New("not built yet") },
	}
}
