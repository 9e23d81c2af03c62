package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"usher.example/cmd/internal/config"
)

func checkCommand() *cobra.Command {
	var path string
	var witness bool
	c := &cobra.Command{
		Use:   "check",
		Short: "examine the configuration as a start would",
		Long: "check reads the configuration by the same code as serve and tries what it names:\n" +
			"certificates and keys, CAs, secrets, pins, host names. All problems are printed at once,\n" +
			"each with file, line and column. The exit status is 0 if usher would start, else 1.\n\n" +
			"With --witness it is examined as usher witness would: it needs [fleet], and its listeners\n" +
			"and pools are not looked at.",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			examine := load
			if witness {
				examine = loadWitness
			}
			cfg, warnings, err := examine(cmd.Context(), path)
			for _, w := range warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), w)
			}
			if err != nil {
				return err
			}
			if witness {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: good, node %s votes in fleet %s, %d warnings\n", path, nodeName(cfg), cfg.Fleet.Name, len(warnings))
				return nil
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: good, %d listeners, %d pools, %d warnings\n",
				path, len(cfg.Listeners), len(cfg.Pools), len(warnings))
			return nil
		},
	}
	configFlag(c, &path)
	c.Flags().BoolVar(&witness, "witness", false, "examine the configuration of usher witness")
	return c
}

func configCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "print the annotated reference of the configuration file",
		Long:  "config prints a valid configuration file with every key, its meaning, its default and what is allowed.",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(cmd.OutOrStdout(), config.Reference())
			return err
		},
	}
	var path string
	dump := &cobra.Command{
		Use:   "dump",
		Short: "print the file's configuration, defaults filled in",
		Long: "dump reads the file, as serve would now, and prints all that it means: every key, with the defaults\n" +
			"filled in and back ends with what they have from their pool. It does not ask a running usher, which\n" +
			"goes by what it read when it was started or told to reload; \"usher status\" says when that was.",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(path)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), cfg.Dump())
			return err
		},
	}
	configFlag(dump, &path)
	c.AddCommand(dump)
	return c
}
