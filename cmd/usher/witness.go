package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"usher.example/cluster"
	"usher.example/cmd/internal/config"
)

func witnessCommand() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "witness",
		Short: "vote in a fleet, and serve nobody",
		Long: `witness runs a node that only votes, until SIGTERM. With it two ushers have a third
voter, so that the fleet goes on deciding when one of the two is away; it may be a small
machine, best in a third place. Its configuration needs [fleet], and its name has to be
among voters. Listeners and pools, if there are any, are left alone.`,
		Example: "  usher witness -c /etc/usher/witness.toml",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, end := untilSignal(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer end()
			return witness(ctx, path, os.Stderr)
		},
	}
	configFlag(c, &path)
	return c
}

// witness is the life of a witness.
func witness(ctx context.Context, path string, out io.Writer) error {
	cfg, err := config.LoadWitness(path)
	if err != nil {
		return err
	}
	if bad := checkFleet(cfg); len(bad) > 0 {
		return bad
	}
	o, err := fleetOptions(cfg)
	if err != nil {
		return err
	}
	if !slices.Contains(o.Voters, o.Node) {
		return config.Problems{cfg.At("fleet.voters", fmt.Errorf("%q, this node, is not among them, and a witness only votes", o.Node))}
	}
	log := newLogger(out, cfg.Log)
	o.Witness, o.Log = true, log.With("fleet", cfg.Fleet.Name)
	f, err := cluster.OpenFleet(o)
	if err != nil {
		return err
	}
	defer f.Close()
	log.Info("the witness is ready", "version", version(), "config", path)
	notify(daemon.SdNotifyReady + "\n" + witnessStatus(f))
	defer watchdog(func() string { return witnessStatus(f) })()
	f.Run(ctx)
	log.Info("stopping")
	notify(daemon.SdNotifyStopping)
	return nil
}

// witnessStatus is what systemctl status shows.
func witnessStatus(f *cluster.Fleet) string {
	if o := f.Overview(); o.Quorum {
		return "STATUS=votes; the fleet is led by " + o.Leader
	}
	return "STATUS=votes; the fleet has no quorum"
}
