package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"usher.example/balancer"
	"usher.example/balancer/admin"
	"usher.example/balancer/forward"
	"usher.example/cluster"
	"usher.example/cmd/internal/config"
	"usher.example/health"
)

func witnessCommand() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "witness",
		Short: "vote in a fleet, and serve nobody",
		Long: `witness runs a node that only votes, until SIGTERM. With it two ushers have a third
voter, so that the fleet goes on deciding when one of the two is away; it may be a small
machine, best in a third place. Its configuration needs [fleet], and its name has to be
among voters. Listeners and pools, if there are any, are left alone.

Its admin socket answers as that of any node: usher fleet status, node list, and orders.
/healthz, /readyz and /metrics are where admin.http says. SIGHUP has it read the fleet's
secret again, and the log level. usher check --witness examines its configuration.`,
		Example: "  usher witness -c /etc/usher/witness.toml",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			reload := make(chan os.Signal, 1)
			signal.Notify(reload, syscall.SIGHUP)
			ctx, end := untilSignal(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer end()
			return witness(ctx, path, os.Stderr, reload)
		},
	}
	configFlag(c, &path)
	return c
}

// A voter is a running witness.
type voter struct {
	log     *logger
	fleet   *cluster.Fleet
	reloads *admin.Reloads
	path    string
	first   *config.Config // that it was started with
	web     *web           // once it is open
}

// witness is the life of a witness.
func witness(ctx context.Context, path string, out io.Writer, reload <-chan os.Signal) error {
	cfg, warnings, err := loadWitness(ctx, path)
	if err != nil {
		return err
	}
	o, err := fleetOptions(cfg)
	if err != nil {
		return err
	}
	log := newLogger(out, cfg.Log)
	warn(log, warnings)
	o.Witness, o.Log = true, log.With("fleet", cfg.Fleet.Name)
	o.Events = log.events.Answer(o.Node)
	f, err := cluster.OpenFleet(o)
	if err != nil {
		return err
	}
	v := &voter{log, f, new(admin.Reloads), path, cfg, nil}
	web, err := v.openWeb(cfg.Admin)
	if err != nil {
		f.Close()
		return err
	}
	defer web.close()
	v.web = web
	v.reloads.Record(nil)
	log.Info("the witness is ready", "event", "usher_started", "version", version(), "config", path)
	notify(daemon.SdNotifyReady + "\n" + v.status())
	defer watchdog(v.status)()
	var running sync.WaitGroup
	defer running.Wait()
	defer f.Close()
	running.Go(func() { f.Run(context.WithoutCancel(ctx)) }) // until Close, which hands the lead on
	for ctx.Err() == nil {
		select {
		case <-reload:
			v.reload(ctx)
		case <-ctx.Done():
		}
	}
	log.Info("stopping", "event", "usher_stopping")
	notify(daemon.SdNotifyStopping)
	return nil
}

// openWeb opens the admin socket and the rest. The balancer behind it has nothing to
// do; what is counted of it is zero.
func (v *voter) openWeb(c config.Admin) (*web, error) {
	ready := new(health.Endpoint)
	ready.Add("fleet", v.fleet.Reasons)
	ready.AddDegraded("quorum", func() []health.Reason {
		if v.fleet.Overview().Quorum {
			return nil
		}
		return []health.Reason{{Code: health.NoQuorum, Text: "the fleet has no quorum"}}
	})
	idle := balancer.New(balancer.Deps{Log: v.log.Logger, Engine: new(forward.Copy), Placer: v.fleet})
	return openWeb(c, v.log, admin.Options{
		Version: version(), Started: time.Now(), Log: v.log.Logger, Node: idle, Places: v.fleet, Fleet: v.fleet,
		Reasons: ready.Reasons, Degraded: ready.Degraded, Reloads: v.reloads, Verdict: ready.Verdict,
		Events: v.log.events, EventPeers: v.fleet,
	}, ready.Handler())
}

// reload reads the configuration again, of which a witness can change its secret and
// what it logs.
func (v *voter) reload(ctx context.Context) {
	notify(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, monotonicMicros()))
	defer func() { notify(daemon.SdNotifyReady + "\n" + v.status()) }()
	cfg, warnings, err := loadWitness(ctx, v.path)
	if err == nil {
		warn(v.log, warnings)
		err = takeSecrets(v.fleet, v.first)
	}
	if err == nil {
		var open func()
		if open, err = v.web.reload(cfg.Admin.API); err == nil {
			open()
		}
	}
	v.reloads.Record(err)
	if err != nil {
		v.log.Error("the configuration is not good; the one in force stays", "event", "reload_failed", "config", v.path, "err", err)
		return
	}
	v.log.setLevel(cfg.Log.Level)
	for _, key := range config.NeedsRestart(v.first, cfg) {
		v.log.Warn("a change takes a restart to come into force", "event", "restart_needed", "key", key)
	}
	v.log.Info("configuration reloaded", "event", "reload_done", "config", v.path)
}

// status is what systemctl status shows.
func (v *voter) status() string {
	if o := v.fleet.Overview(); o.Quorum {
		return "STATUS=votes; the fleet is led by " + o.Leader
	}
	return "STATUS=votes; the fleet has no quorum"
}
