package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
)

// minCertID is how much of an ID has to be given.
const minCertID = 4

func certShow() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "show NAME",
		Short: "show all about a certificate",
		Long: `show tells all about a certificate: names, key, chain, serial, fingerprint, where it comes
from, when it will be renewed, and why the newest try failed. NAME is one of its names,
or its ID or the beginning of that. If no certificate has the name in full, those whose
wildcard covers it are shown.` + certExit,
		Example: "  usher cert show mail.example.org",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := askCertificates(cmd)
			if err != nil {
				return err
			}
			named := certificatesOf(list.Certificates, args[0])
			if len(named) == 0 {
				return &exitError{exitNotFound, fmt.Errorf("no certificate of %s; usher cert list shows which there are", cell(args[0]))}
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), admin.CertificateList{Certificates: named})
			}
			for i, c := range named {
				if i > 0 {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				if err := printCertificate(cmd.OutOrStdout(), &c, time.Now()); err != nil {
					return err
				}
			}
			return nil
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

// certificatesOf finds those that a name stands for, as the node does for orders.
func certificatesOf(list []admin.Certificate, name string) []admin.Certificate {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	var exact, covering []admin.Certificate
	_, parent, _ := strings.Cut(name, ".")
	for _, c := range list {
		switch {
		case slices.ContainsFunc(c.Names, func(n string) bool { return strings.EqualFold(n, name) }),
			len(name) >= minCertID && strings.HasPrefix(c.ID, name), name != "" && c.Fingerprint == name:
			exact = append(exact, c)
		case parent != "" && slices.ContainsFunc(c.Names, func(n string) bool { return strings.EqualFold(n, "*."+parent) }):
			covering = append(covering, c)
		}
	}
	if len(exact) > 0 {
		return exact
	}
	return covering
}

func printCertificate(out io.Writer, c *admin.Certificate, now time.Time) error {
	t := newTable(out)
	line := func(head, value string) {
		if value != "" {
			t.row(head, safe(shorten(value, maxLine)))
		}
	}
	line("ID", c.ID)
	line("Names", strings.Join(c.Names, " "))
	line("Listeners", strings.Join(c.Listeners, " "))
	line("Source", strings.TrimSpace(c.Source+" "+c.From))
	line("Key", c.Key)
	line("Issuer", c.Issuer)
	line("Serial", c.Serial)
	line("SHA-256", c.Fingerprint)
	if c.NotAfter.IsZero() {
		line("Valid", "there is none yet")
	} else {
		line("Valid", moment(c.NotBefore)+" to "+moment(c.NotAfter)+" ("+untilEnd(c.NotAfter, now)+")")
	}
	switch {
	case !c.RenewAt.IsZero():
		line("Renewed", moment(c.RenewAt))
	case c.Source == "file":
		line("Renewed", "not by usher, which reads the file again when it changes")
	case c.Source == "imported":
		line("Renewed", "not by usher; usher cert import brings a newer one")
	}
	for i, l := range c.Chain {
		line(fmt.Sprintf("Chain %d", i+1), fmt.Sprintf("%s, by %s, until %s", l.Subject, l.Issuer, l.NotAfter.UTC().Format(time.DateOnly)))
	}
	line("Problem", c.Problem)
	return t.print()
}

// maxLine bounds a line of show: what is wrong is to be read whole, with its advice.
const maxLine = 2000
