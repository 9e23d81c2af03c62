package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
)

// certTell is the time between two lines of progress. The first comes after it: what
// is quicker needs none.
const certTell = 2 * time.Second

func certRenew() *cobra.Command {
	var force, asJSON bool
	c := &cobra.Command{
		Use:   "renew NAME",
		Short: "have a certificate renewed now",
		Long: `renew has a certificate ordered anew at its CA, if it comes from one, or read again. NAME
is one of its names, for all kinds of keys, or the ID of one. It waits until the new one
is served, on all nodes of a fleet, or the try has failed; what is served stays until
then. Without --force one whose time has not come stays as it is. CAs allow few orders
for one name in a week: --force is for keys that were lost or certificates that the CA
revokes.

Nobody has to renew anything regularly; usher does so by itself. ^C gives the order up.` + certExit,
		Example: "  usher cert renew mail.example.org",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := adminOf(cmd)
			if err != nil {
				return err
			}
			client.http.Timeout = admin.RenewTime + answerTime
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			told := tellTime(cmd, cell(args[0]))
			var done admin.Done
			err = client.post(ctx, admin.CertificateRenewPath, admin.CertificateRenew{Name: args[0], Force: force, By: whoAmI()}, &done)
			told()
			if err != nil && ctx.Err() != nil {
				return &exitError{exitTemporary, errors.New("interrupted: the order was given up, and what was served still is")}
			}
			if err != nil {
				return err
			}
			return printDone(cmd, done, asJSON)
		},
	}
	c.Flags().BoolVar(&force, "force", false, "even if its time has not come")
	jsonFlag(c, &asJSON)
	return c
}

// tellTime says on standard error that something is under way, until the function
// that it returns is called.
func tellTime(cmd *cobra.Command, what string) func() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(cmd.Context()))
	ended := make(chan struct{})
	began := time.Now()
	go func() { // ends with what is returned, which waits for it
		defer close(ended)
		tick := time.NewTicker(certTell)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				fmt.Fprintf(cmd.ErrOrStderr(), "%s: under way for %s\n", what, age(time.Since(began)))
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}
