package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"usher.example/cmd/internal/config"
)

func serveCommand() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "serve",
		Short: "run the balancer",
		Long: "serve runs until SIGTERM. Then it says on /readyz that it is draining, goes on as before\n" +
			"until others have noticed (withdraw), accepts nothing new, waits for sessions to end (drain),\n" +
			"and closes the rest; a second SIGTERM closes at once.\n" +
			"SIGHUP reads the configuration again. Sessions do not notice; a configuration that is not\n" +
			"good is reported and the one in force stays.",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), path) },
	}
	configFlag(c, &path)
	return c
}

// orders are what a manager of services tells a node. They have a channel each, so
// that any number of the one kind does not crowd out the other.
type orders struct {
	reload chan os.Signal // one stands for all that come before it is heeded
	stop   chan os.Signal // the first: drain, the second: close now
}

func serve(ctx context.Context, path string) error {
	// Never given back: a signal that comes between the end of the work and the end
	// of the process would make a clean stop look like a death by signal.
	o := orders{reload: make(chan os.Signal, 1), stop: make(chan os.Signal, 2)}
	signal.Notify(o.reload, syscall.SIGHUP)
	signal.Notify(o.stop, syscall.SIGTERM, syscall.SIGINT)
	return live(ctx, path, os.Stderr, o)
}

// untilSignal is a context that ends at the first of the signals, or with end. As in
// serve they are never given back; those that come later do nothing.
func untilSignal(ctx context.Context, sigs ...os.Signal) (_ context.Context, end func()) {
	ctx, end = context.WithCancel(ctx)
	got := make(chan os.Signal, 1)
	signal.Notify(got, sigs...)
	go func() { // ends with end
		select {
		case <-got:
			end()
		case <-ctx.Done():
		}
	}()
	return ctx, end
}

// live is the life of a node.
func live(ctx context.Context, path string, out io.Writer, o orders) error {
	ctx, stop := context.WithCancel(ctx)
	now, hurry := context.WithCancel(context.WithoutCancel(ctx))
	defer o.heed(stop, hurry)()

	cfg, warnings, err := load(ctx, path)
	if err != nil {
		return err
	}
	log := newLogger(out, cfg.Log)
	warn(log, warnings)
	raiseFiles(log)
	gc, reset := collect(os.DirFS("/"), machineMemory())
	defer reset()
	n, web, err := bringUp(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer web.close() // last: an operator can watch the drain
	systemdSockets().warnUnused(log, cfg.Listeners)
	log.Info("usher is ready", "event", "usher_started", "version", version(), "listeners", len(cfg.Listeners), "config", path,
		"gc_percent", gc.Percent, "memory_limit", gc.Limit)
	notify(daemon.SdNotifyReady + "\n" + n.statusLine())
	// At once, whatever a reload is doing: others are to send nobody here any more.
	defer context.AfterFunc(ctx, func() { n.draining.Store(true) })()
	stopWatchdog := watchdog(n.statusLine)
	defer stopWatchdog()

	first := cfg
	for ctx.Err() == nil {
		select {
		case <-o.reload:
			cfg = n.reloadFrom(ctx, path, first, cfg)
		case <-ctx.Done():
		}
	}
	log.Info("stopping", "event", "usher_stopping", "withdraw", cfg.Withdraw, "drain", cfg.Drain)
	notify(daemon.SdNotifyStopping + "\nSTATUS=draining")
	n.withdraw(now, cfg.Withdraw)
	drain, cancel := context.WithTimeout(now, cfg.Drain)
	defer cancel()
	n.stop(drain)
	log.Info("stopped", "event", "usher_stopped")
	return nil
}

// heed calls one function at each order to stop, at once, whatever else is going
// on. Its end calls those that are left, and nothing is heeded any more.
func (o orders) heed(steps ...func()) (end func()) {
	over := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for _, step := range steps {
			select {
			case <-o.stop:
			case <-over:
			}
			step()
		}
	})
	return func() { close(over); watching.Wait() }
}

// bringUp starts a node and what answers for it. Who called it stops the node
// and then closes the web.
func bringUp(ctx context.Context, cfg *config.Config, log *logger) (*node, *web, error) {
	n, err := newNode(cfg, log)
	if err != nil {
		return nil, nil, err
	}
	web, err := n.openWeb(cfg.Admin)
	if err != nil {
		n.stop(expired())
		return nil, nil, err
	}
	if err := n.start(ctx, cfg); err != nil {
		n.stop(expired())
		web.close()
		return nil, nil, err
	}
	n.reloads.Record(nil)
	return n, web, nil
}

// reloadFrom reads the configuration again and returns the one in force. What
// takes a restart is what differs from the first, which the process was started
// with. A stop ends it.
func (n *node) reloadFrom(ctx context.Context, path string, first, old *config.Config) *config.Config {
	notify(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, monotonicMicros()))
	defer func() { notify(daemon.SdNotifyReady + "\n" + n.statusLine()) }()
	cfg, warnings, err := load(ctx, path)
	if ctx.Err() != nil {
		n.log.Info("no reload: usher is being stopped", "config", path)
		return old
	}
	if err == nil {
		warn(n.log, warnings)
		err = takeSecrets(n.fleet, first)
	}
	var open func()
	if err == nil {
		open, err = n.web.reload(cfg.Admin.API)
	}
	if err == nil {
		err = n.applyUntil(ctx, cfg)
	}
	if err == nil {
		open()
	}
	n.reloads.Record(err)
	if err != nil {
		n.log.Error("the configuration is not good; the one in force stays", "event", "reload_failed", "config", path, "err", err)
		return old
	}
	for _, key := range config.NeedsRestart(first, cfg) {
		n.log.Warn("a change takes a restart to come into force", "event", "restart_needed", "key", key)
	}
	systemdSockets().warnUnused(n.log, cfg.Listeners)
	n.log.Info("configuration reloaded", "event", "reload_done", "config", path)
	return cfg
}

// expired returns a context that is over.
func expired() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func warn(log *logger, warnings config.Problems) {
	for _, w := range warnings {
		log.Warn("configuration", "problem", w.String())
	}
}

// statusLine is what systemctl status shows.
func (n *node) statusLine() string {
	sessions, prelogin := n.server.Counts()
	return fmt.Sprintf("STATUS=%d sessions, %d of them not logged in", sessions, prelogin)
}

// notify tells systemd, if it is there.
func notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		slog.Debug("sd_notify", "err", err)
	}
}

// watchdog feeds systemd's watchdog, if it asks for that, and refreshes the
// status line. The returned function ends it.
func watchdog(status func() string) (stop func()) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval <= 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(interval / 2)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				// The status takes the lock that everything needs: if it hangs,
				// so do we, and systemd starts us anew.
				notify(daemon.SdNotifyWatchdog + "\n" + status())
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

// monotonicMicros is CLOCK_MONOTONIC, as RELOADING=1 asks for.
func monotonicMicros() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return ts.Nano() / int64(time.Microsecond)
}

// raiseFiles raises the soft limit of open files to the hard one: a session
// takes two, or six while plaintext is being spliced.
func raiseFiles(log *logger) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		log.Warn("open files", "err", err)
		return
	}
	if limit.Cur < limit.Max {
		limit.Cur = limit.Max
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			log.Warn("open files", "err", err)
		}
	}
}
