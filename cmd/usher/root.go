package main

import (
	"runtime/debug"

	"github.com/spf13/cobra"

	"usher.example/cmd/internal/config"
)

// defaultSocket is where the admin socket is when nobody says otherwise; the
// same as the default of admin.socket.
const defaultSocket = "/run/usher/usher.sock"

// newRoot returns the command tree.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "usher",
		Short: "a TLS-terminating load balancer that shows every mail user to his own back end",
		Long: "usher stands in front of IMAP and POP3 servers. It terminates TLS, reads the login,\n" +
			"finds the user's own back end, logs him in there, and then only moves bytes.\n\n" +
			"To see it work: usher demo. To set it up: usher config, usher check, usher serve.",
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError("%w; see %s --help", err, c.CommandPath())
	})
	root.PersistentFlags().String("socket", defaultSocket, "admin socket of the running usher")
	addRemoteFlags(root)
	root.AddCommand(
		serveCommand(), checkCommand(), configCommand(), demoCommand(),
		statusCommand(), sessionsCommand(), kickCommand(), manCommand(),
		userCommand(), backendCommand(), nodeCommand(), fleetCommand(), witnessCommand(), certCommand(), adminCommand(),
		eventsCommand(), explainCommand(), penaltyCommand(), checkHealthCommand(),
	)
	return root
}

// configFlag adds -c to a command that reads the configuration.
func configFlag(c *cobra.Command, path *string) {
	c.Flags().StringVarP(path, "config", "c", config.DefaultPath, "configuration file")
}

// release is the version that a package was built as (-ldflags -X); empty elsewhere.
var release string

// version is the package's, the module's, or the revision it was built from.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "devel-" + s.Value[:min(12, len(s.Value))]
		}
	}
	return "devel"
}
