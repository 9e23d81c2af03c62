package main

import "github.com/spf13/cobra"

func certCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "cert",
		Short: "see to the certificates that clients are shown",
		Long: `cert has the commands about certificates. Those of files are read again when the files
change; nobody has to say so.`,
	}
	c.AddCommand(certList(), certShow(), certRenew(), certImport(), certRemove(), certExport(), certLab())
	return c
}
