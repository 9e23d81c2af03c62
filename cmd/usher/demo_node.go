package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"usher.example/cluster"
	"usher.example/cmd/internal/config"
	"usher.example/cmd/internal/demo"
)

// A demoNode is one usher of the tour.
type demoNode struct {
	*demo.Node

	cfg  *config.Config
	node *node // nil while it does not run
	web  *web
}

// start brings usher up as serve does, from its usher.toml. It waits for its fleet.
func (d *demoNode) start(ctx context.Context, out io.Writer) error {
	cfg, warnings, err := load(ctx, d.ConfigFile())
	if err != nil {
		return err
	}
	log := newLogger(out, cfg.Log)
	log.Logger = log.With("node", d.Name)
	warn(log, warnings)
	d.cfg = cfg
	d.node, d.web, err = bringUp(ctx, cfg, log)
	return err
}

// stop ends usher as SIGTERM does.
func (d *demoNode) stop() {
	drain, cancel := context.WithTimeout(context.Background(), d.cfg.Drain)
	defer cancel()
	d.node.stop(drain)
	d.web.close()
	d.node = nil
}

// kill ends usher as kill -9 does, as far as others can see: first it falls silent
// towards its fleet, to which it has said no goodbye, then all its sockets are
// closed. Its users and the back ends see that at once, as they do when the kernel
// closes the sockets of a process. Other than there, a login that has not come to
// its end is told so, what was being written to the log of the fleet is written
// out, and the admin socket's file is removed.
func (d *demoNode) kill() {
	d.node.fleet.Abandon()
	d.node.server.Drain(expired())
	d.node.cancel()
	d.node.running.Wait()
	d.web.close()
	d.node = nil
}

// start brings the ushers up, with a secret made for them.
func (t *tour) start(ctx context.Context) error {
	for try := 1; ; try++ {
		secret := cluster.NewSecret().Text() + "\n"
		if err := os.WriteFile(t.site.SecretFile(), []byte(secret), 0o600); err != nil {
			return err
		}
		err := t.startAll(ctx)
		if !errors.Is(err, syscall.EADDRINUSE) || try == demoTries {
			return err
		}
		t.stopAll()
		if err := t.site.Configure(); err != nil {
			return err
		}
	}
}

// startAll starts the ushers at the same time, since none is ready without most of
// the others. If one cannot be started, the others are not waited for.
func (t *tour) startAll(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(t.nodes))
	var wg sync.WaitGroup
	for i, d := range t.nodes {
		wg.Go(func() {
			if err := d.start(ctx, t.log); err != nil {
				errs[i] = fmt.Errorf("start %s: %w", d.Name, err)
				cancel()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// restart starts an usher again. Its ports may have been lent to a connection to
// elsewhere meanwhile.
func (t *tour) restart(ctx context.Context, d *demoNode) error {
	var err error
	_, late := t.await(ctx, "the ports of "+d.Name+" are free", func() bool {
		err = d.start(ctx, t.log)
		return !errors.Is(err, syscall.EADDRINUSE)
	})
	if late != nil {
		return late
	}
	return err
}

// stopAll stops the ushers that run.
func (t *tour) stopAll() {
	var wg sync.WaitGroup
	for _, d := range t.running() {
		wg.Go(d.stop)
	}
	wg.Wait()
}

// running lists the ushers that run.
func (t *tour) running() []*demoNode {
	var list []*demoNode
	for _, d := range t.nodes {
		if d.node != nil {
			list = append(list, d)
		}
	}
	return list
}

// pick returns one of the running ushers, another one for each number up to theirs.
func (t *tour) pick(i int) *demoNode {
	list := t.running()
	return list[i%len(list)]
}

// leader finds the usher that leads the fleet, nil if none does now.
func (t *tour) leader() *demoNode {
	for _, d := range t.running() {
		for _, m := range d.node.fleet.Overview().Members {
			for _, other := range t.running() {
				if m.Leads && m.Node == other.Name {
					return other
				}
			}
		}
	}
	return nil
}
