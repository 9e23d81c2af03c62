package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
)

func certExport() *cobra.Command {
	var out string
	var force, key bool
	c := &cobra.Command{
		Use:   "export NAME",
		Short: "write a certificate and its key to files",
		Long: `export writes a certificate that usher serves to files, for another program: NAME.pem with
the certificate and its chain, NAME.chain.pem with the chain alone, and NAME.key with the
private key, which only their owner may read. NAME is one of its names or its ID, for which
the first name stands; if there are certificates with several kinds of keys for it, the
files are NAME.ecdsa.pem and so on. Files that are there stay, and nothing is written,
unless --force says otherwise.

With --out - the certificate and its chain go to standard output, and with --key the key
as well. Only root and usher's own user get keys, and each export is logged. A copy is not
renewed: export again after a renewal.` + certExit,
		Example: "  usher cert export mail.example.org --out /etc/postfix/tls\n  usher cert export mail.example.org --out -",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usageError("--out is empty; name a folder, or - for standard output")
			}
			client, err := adminOf(cmd)
			if err != nil {
				return err
			}
			order := admin.CertificateExport{Name: args[0], Key: key || out != "-", By: whoAmI()}
			var e admin.CertificateExported
			if err := client.post(cmd.Context(), admin.CertificateExportPath, order, &e); err != nil {
				return err
			}
			if out == "-" {
				_, err := io.WriteString(cmd.OutOrStdout(), e.Certificate+e.Chain+e.Key)
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop() // a key that is half written is taken away first
			w := exporting{dir: out, force: force, link: os.Link}
			paths, err := w.write(ctx, exportName(args[0], &e), &e)
			for _, path := range paths {
				fmt.Fprintln(cmd.OutOrStdout(), safe(path))
			}
			return err
		},
	}
	c.Flags().StringVar(&out, "out", ".", "folder for the files, or - for standard output")
	c.Flags().BoolVar(&key, "key", false, "the private key as well, on standard output")
	c.Flags().BoolVar(&force, "force", false, "replace files that are there")
	return c
}

// exportName is what the files are called: what was asked for, since another program
// is told of it; the first name if that was an ID. The kind of key is in it where a
// certificate with another kind is for the same name.
func exportName(asked string, e *admin.CertificateExported) string {
	name := strings.ToLower(strings.TrimSuffix(asked, "."))
	isID := e.ID != "" && (strings.HasPrefix(e.ID, name) || strings.HasPrefix(name, e.ID))
	if isID && !slices.Contains(e.Names, name) && len(e.Names) > 0 {
		name = e.Names[0]
	}
	if name = fileName(name); name == "" { // it was only dots
		name = fileName(e.ID)
	}
	if kind, _, _ := strings.Cut(strings.ToLower(e.Kind), " "); e.Several && kind != "" {
		name += "." + fileName(kind)
	}
	return name
}

// fileName makes a file's name of a certificate's.
func fileName(name string) string {
	return strings.TrimLeft(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '.', r == '_':
			return r
		default:
			return '_'
		}
	}, name), ".")
}
