package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// Exit statuses, which scripts may rely on. Those from 64 on have the meaning
// that sysexits.h and Dovecot's doveadm give them.
const (
	exitFailed    = 1  // for another reason
	exitUsage     = 2  // the command was not understood
	exitNoUser    = 67 // the user has none of what was asked for
	exitNotFound  = 68 // there is nothing that was asked for
	exitTemporary = 75 // usher does not answer, or cannot do it now; later it may
)

// An exitError ends the process with a status.
type exitError struct {
	code int
	err  error
}

// Error says what went wrong.
func (e *exitError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *exitError) Unwrap() error { return e.err }

// usageError is about the command line.
func usageError(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// usageArgs makes a usage error of arguments that check refuses.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError("%w; see %s --help", err, cmd.CommandPath())
		}
		return nil
	}
}
