package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
	"usher.example/balancer/certs"
)

func certImport() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "import CERT [KEY]",
		Short: "bring a certificate into the fleet",
		Long: `import reads a certificate with its chain and its key from files in PEM and gives them to
usher, which serves them on all nodes of the fleet, on listeners with imported
certificates ([[certificate]] with imported = true). Without KEY the key is in CERT as
well. What clients would refuse is refused here: a key that does not belong to it, a gap
in the chain, a name that is missing, dates that are over. The chain may be in any order.

The newest with the same first name and the same kind of key replaces the one before, on
all nodes, at the next handshake; sessions go on. The key goes over usher's socket only,
is kept sealed, and is never logged. The files are not needed any more afterwards. usher
warns of an imported certificate that expires, but cannot renew it.` + certExit,
		Example: "  usher cert import mail.example.org.pem mail.example.org.key",
		Args:    usageArgs(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := adminOf(cmd)
			if err != nil {
				return err
			}
			order := admin.CertificateImport{By: whoAmI()}
			if order.Certificate, err = readPEM(args[0], certs.MaxCertificatePEM); err != nil {
				return err
			}
			keyFile := args[len(args)-1]
			if order.Key, err = readPEM(keyFile, certs.MaxKeyPEM+certs.MaxCertificatePEM); err != nil {
				return err
			}
			if len(args) == 1 { // with certificates before or behind it
				order.Key = onlyKeys(order.Key)
			}
			warnOpenFile(cmd, keyFile)
			var result admin.CertificateImported
			if err := client.post(cmd.Context(), admin.CertificateImportPath, order, &result); err != nil {
				return err
			}
			for _, w := range result.Warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), "usher: warning:", safe(w))
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), result)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "imported %s for %s\n", cell(result.Certificate.ID), safe(strings.Join(result.Certificate.Names, " ")))
			return err
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

// readPEM reads a file that is not larger than it may be.
func readPEM(path string, limit int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return "", err
	}
	if int64(len(content)) > limit {
		return "", fmt.Errorf("%s has more than %d octets: give one certificate with its chain, and its key", path, limit)
	}
	return string(content), nil
}

// onlyKeys leaves out of a file in PEM what is between or around its keys.
func onlyKeys(file string) string {
	var kept strings.Builder
	in := false
	for line := range strings.Lines(file) {
		in = in || strings.HasPrefix(line, "-----BEGIN ") && strings.Contains(line, "PRIVATE KEY-----")
		if in {
			kept.WriteString(line)
		}
		in = in && !strings.HasPrefix(line, "-----END ")
	}
	return kept.String()
}

// warnOpenFile tells of a key that others may read.
func warnOpenFile(cmd *cobra.Command, path string) {
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o004 != 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "usher: warning: everybody on this machine may read the key: chmod 600 %s, or remove it\n", safe(path))
	}
}

// maxYes bounds the answer to a question in octets: it is yes, or something else.
const maxYes = 100

func certRemove() *cobra.Command {
	var yes, asJSON bool
	c := &cobra.Command{
		Use:   "remove NAME",
		Short: "take an imported certificate out of the fleet",
		Long: `remove takes an imported certificate out of the fleet; no node serves it any more. NAME is
one of its names or its ID. It asks first, unless --yes says so already. Certificates of
files, and those that are obtained, are the configuration's to remove.` + certExit,
		Example: "  usher cert remove old.example.org",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				fmt.Fprintf(cmd.ErrOrStderr(), "take the certificate of %s out of the fleet, on all nodes? [y/N] ", cell(args[0]))
				line, _ := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), maxYes)).ReadString('\n') // no answer is no
				if said := strings.ToLower(strings.TrimSpace(line)); said != "y" && said != "yes" {
					return fmt.Errorf("nothing was removed; say y, or use --yes")
				}
			}
			client, err := adminOf(cmd)
			if err != nil {
				return err
			}
			var gone admin.Certificate
			if err := client.post(cmd.Context(), admin.CertificateRemovePath, admin.CertificateRemove{Name: args[0], By: whoAmI()}, &gone); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), gone)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "removed %s of %s\n", cell(gone.ID), safe(strings.Join(gone.Names, " ")))
			return err
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	jsonFlag(c, &asJSON)
	return c
}
