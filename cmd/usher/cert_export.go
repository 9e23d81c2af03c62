package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

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
private key, which only their owner may read. NAME is one of its names or its ID. Files
that are there stay, and nothing is written, unless --force says otherwise.

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
			return writeExport(cmd, out, args[0], &e, force)
		},
	}
	c.Flags().StringVar(&out, "out", ".", "folder for the files, or - for standard output")
	c.Flags().BoolVar(&key, "key", false, "the private key as well, on standard output")
	c.Flags().BoolVar(&force, "force", false, "replace files that are there")
	return c
}

// An exportFile is one of those that are written.
type exportFile struct {
	path, content string
	mode          fs.FileMode
}

func writeExport(cmd *cobra.Command, dir, asked string, e *admin.CertificateExported, force bool) error {
	name := asked
	if len(e.Names) > 0 {
		name = e.Names[0]
	}
	stem := filepath.Join(dir, fileName(name))
	files := []exportFile{{stem + ".pem", e.Certificate + e.Chain, 0o644}, {stem + ".key", e.Key, 0o600}}
	if e.Chain != "" {
		files = append(files, exportFile{stem + ".chain.pem", e.Chain, 0o644})
	}
	if !force {
		for _, f := range files {
			if _, err := os.Lstat(f.path); !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s is there already, and nothing was written; use --force to replace it, or --out with another folder", safe(f.path))
			}
		}
	}
	for _, f := range files {
		if err := f.write(dir, force); err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), safe(f.path))
	}
	return nil
}

// write makes the file appear whole and with its mode, or not at all.
func (f exportFile) write(dir string, force bool) error {
	tmp, err := os.CreateTemp(dir, ".usher-export-") // of mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(f.content)
	err = errors.Join(err, tmp.Chmod(f.mode), tmp.Close())
	switch {
	case err != nil:
		return err
	case force:
		return os.Rename(tmp.Name(), f.path)
	default: // a hard link is the one way to take a name only if it is free
		return os.Link(tmp.Name(), f.path)
	}
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
