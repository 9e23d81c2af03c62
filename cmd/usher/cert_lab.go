package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"usher.example/balancer/certs"
)

// labDir is where a laboratory is when nobody says otherwise.
const labDir = "lab"

func certLab() *cobra.Command {
	var names []string
	c := &cobra.Command{
		Use:   "lab [DIR] --name NAME...",
		Short: "make a certificate for a laboratory, by a CA of its own",
		Long: `lab makes a CA in DIR (` + labDir + `), once, and a certificate by it for all the names given: host
names, *.example.org, addresses. Run again, it renews the certificate; clients
believe it still, since the CA stays. Nothing else is ever overwritten.

The CA may sign for the domains of its first names only, so that who steals its key
cannot be everybody. Its key is root's alone; that of the certificate can be read by the
group of the user usher, too, if there is one. All the same: it is for laboratories. Where users are, have
certificates of a public CA, or of your company's.`,
		Example: "  usher cert lab /etc/usher/lab --name mail.example.org --name '*.example.org'",
		Args:    usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(names) == 0 {
				return usageError("no name: usher cert lab --name mail.example.org")
			}
			dir := labDir
			if len(args) > 0 {
				dir = args[0]
			}
			dir, err := filepath.Abs(dir) // as usher.toml will need it
			if err != nil {
				return err
			}
			_, err = os.Stat(dir)
			fresh := errors.Is(err, fs.ErrNotExist)
			lab, err := certs.MakeLab(dir, names)
			if err == nil && fresh {
				err = handOver(dir, cmd.ErrOrStderr())
			}
			if err == nil && !lab.Renewed { // else its group is an administrator's choice
				err = handOver(lab.KeyFile, cmd.ErrOrStderr())
			}
			if err != nil {
				return err
			}
			return printLab(cmd.OutOrStdout(), lab)
		},
	}
	c.Flags().StringArrayVar(&names, "name", nil, "a host name or address that the certificate is for; may be given several times")
	return c
}

func printLab(out io.Writer, lab *certs.Lab) error {
	done := "made"
	if lab.Renewed {
		done = "renewed"
	}
	_, err := fmt.Fprintf(out, `%s %s, good until %s, for:
`, done, lab.CertFile, lab.NotAfter.UTC().Format(time.DateOnly))
	for _, name := range lab.Names {
		if err == nil {
			_, err = fmt.Fprintf(out, "  %s\n", name)
		}
	}
	if err == nil {
		_, err = fmt.Fprintf(out, `
For usher.toml (a running usher that has it already takes the new one up):

  [[certificate]]
  cert_file = %q
  key_file = %q

For clients, to be believed as a CA: %s
Try it:

  openssl s_client -quiet -crlf -connect HOST:993 -servername %s -CAfile %s
`, lab.CertFile, lab.KeyFile, lab.AuthorityFile, lab.Names[0], lab.AuthorityFile)
	}
	return err
}
