package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
)

// certExit ends the help of the commands about certificates.
const certExit = `

The exit status is 0 if it is done, 68 if there is no such certificate, 75 if it could
not be done now and a later try may help, 1 for other faults and 2 for a command line
that was not understood.`

func certList() *cobra.Command {
	var asJSON, check bool
	c := &cobra.Command{
		Use:   "list",
		Short: "show the certificates of this node, and what is wrong with them",
		Long: `list shows each certificate that this node has for its clients, and those that it wants
and has not yet: its names; its source, "file", "acme" (obtained automatically) or
"imported"; its key; the CA; when it expires; the listeners that show it; and why the
newest try to get or read it failed. In a fleet what was obtained or imported is the
same on all nodes, and files are each node's own.

With --check the exit status says whether somebody has to act, for monitoring: it is 0
if all is well, 1 if a certificate has a problem, or ends within seven days (or the last third
of its life, if that is less) and no other replaces it, and 75 if
it is not known: nobody answered, or who asks may not. Without, it is 0, or as for the other commands.`,
		Example: "  usher cert list\n  usher cert list --check",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := askCertificates(cmd)
			if exit := (*exitError)(nil); check && errors.As(err, &exit) && exit.code == exitFailed {
				return &exitError{exitTemporary, err} // 1 is about certificates
			}
			if err != nil {
				return err
			}
			now := time.Now()
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), list)
			} else {
				err = printCertificates(cmd.OutOrStdout(), list.Certificates, now)
			}
			if err == nil && check {
				err = checkCertificates(list.Certificates, now)
			}
			return err
		},
	}
	c.Flags().BoolVar(&check, "check", false, "have the exit status say whether all is well")
	jsonFlag(c, &asJSON)
	return c
}

// askCertificates asks for all of them.
func askCertificates(cmd *cobra.Command) (*admin.CertificateList, error) {
	client, err := adminOf(cmd)
	if err != nil {
		return nil, err
	}
	var list admin.CertificateList
	if err := client.get(cmd.Context(), admin.CertificatesPath, nil, &list); err != nil {
		return nil, err
	}
	return &list, nil
}

func printCertificates(out io.Writer, list []admin.Certificate, now time.Time) error {
	t := newTable(out, "ID", "NAMES", "SOURCE", "KEY", "ISSUER", "EXPIRES", "LISTENERS", "PROBLEM")
	for _, c := range list {
		t.row(cell(c.ID), cell(strings.Join(c.Names, ",")), cell(c.Source), text(c.Key), text(issuerName(c.Issuer)), expiry(c.NotAfter, now),
			cell(strings.Join(c.Listeners, ",")), text(c.Problem))
	}
	return t.print()
}

// issuerName is the common name of a CA in a list; show has all of it.
func issuerName(name string) string {
	for part := range strings.SplitSeq(name, ",") {
		if cn, ok := strings.CutPrefix(part, "CN="); ok {
			return shorten(cn, maxIssuer)
		}
	}
	return shorten(name, maxIssuer)
}

// maxIssuer keeps a CA's name from pushing dates off the screen.
const maxIssuer = 32

// expiry shows the end of a certificate as a day and how far that is.
func expiry(at, now time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.UTC().Format(time.DateOnly) + " (" + untilEnd(at, now) + ")"
}

// untilEnd says how far the end of a certificate is.
func untilEnd(at, now time.Time) string {
	switch left := at.Sub(now); {
	case left < 0:
		return "expired"
	case left < 48*time.Hour:
		return fmt.Sprintf("in %dh", left/time.Hour)
	default:
		return fmt.Sprintf("in %dd", left/(24*time.Hour))
	}
}

// checkCertificates is an error if somebody has to act, as /readyz has it.
func checkCertificates(list []admin.Certificate, now time.Time) error {
	var bad []string
	for _, c := range list {
		name := c.ID
		if len(c.Names) > 0 {
			name = c.Names[0]
		}
		switch {
		case c.Problem != "":
			bad = append(bad, fmt.Sprintf("%s: %s", cell(name), text(c.Problem)))
		case c.NotAfter.IsZero():
			bad = append(bad, fmt.Sprintf("%s: there is none yet", cell(name)))
		case c.Ending:
			bad = append(bad, fmt.Sprintf("%s: it expires on %s", cell(name), expiry(c.NotAfter, now)))
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return errors.New(plural(len(bad), "certificate") + " to see to: " + strings.Join(bad, "; ") + "; usher cert show tells more")
}
