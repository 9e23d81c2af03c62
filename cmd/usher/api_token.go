package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"usher.example/balancer/admin"
)

func adminCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "admin",
		Short: "who may use the API over TCP",
		Long:  `admin has the commands about those who use the API over TCP, as [admin.api] lets them.`,
	}
	c.AddCommand(tokenCommand(), whoamiCommand())
	return c
}

func tokenCommand() *cobra.Command {
	var role, file string
	c := &cobra.Command{
		Use:   "token NAME",
		Short: "make a token for somebody who uses the API over TCP",
		Long: `token makes a token for NAME and prints it, once: nobody can tell it later. It goes to
NAME, into a file that others cannot read. What usher needs is a line with the name, the
role and a hash of the token. With --file it is added to that file, the token_file of
[admin.api], which is made if it is not there; without, it is printed below the token, to be put
there. Reload usher then (SIGHUP).

The role read sees the node, the fleet, back ends and certificates; operate sees users, too,
and gives orders. To take a token back, take its line out and reload. To exchange one, make
another for the same name, and take the old line out when it is no longer used.`,
		Example: "  umask 077; usher admin token ann --role operate --file /etc/usher/api.tokens >ann.token",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := admin.ParseRole(role)
			if err != nil {
				return usageError("--role: %w", err)
			}
			token, line, err := admin.NewToken(args[0], r)
			if err != nil {
				return usageError("%q: %w", args[0], err)
			}
			if file == "" {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\n", token, line)
				return err
			}
			if err := addToken(file, line); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%s has the line of %s now; reload usher to have it taken up. The token, which nobody can tell later:\n", file, args[0])
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		},
	}
	c.Flags().StringVar(&role, "role", string(admin.RoleRead), "what the token lets one do: read or operate")
	c.Flags().StringVar(&file, "file", "", "add the line to this file")
	return c
}

// addToken adds a line to a file of tokens, which is good before and after. Two that add
// at the same time wait for each other.
func addToken(path, line string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	if _, err := admin.ReadTokens(path); err != nil {
		return fmt.Errorf("the line is not added: %w", err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if n := len(text); n > 0 && text[n-1] != '\n' {
		line = "\n" + line
	}
	if _, err := admin.ParseTokens([]byte(string(text) + line + "\n")); err != nil {
		return fmt.Errorf("the line is not added: %s: %w", path, err)
	}
	if _, err := f.WriteString(line + "\n"); err != nil {
		return err
	}
	return f.Sync()
}
