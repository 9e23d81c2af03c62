package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
	"usher.example/cluster"
	"usher.example/cluster/place"
)

const (
	// quietTime is how long a run says nothing of its progress.
	quietTime = 2 * time.Second
	// maxTold bounds the failures that are told one by one.
	maxTold = 20
)

// A bulk is a move of many users.
type bulk struct {
	client   *adminClient
	cmd      *cobra.Command
	pool     string
	file     string
	dry      bool
	asJSON   bool
	parallel int

	mu      sync.Mutex // guards what follows
	moved   int
	skipped int
	pending int
	failed  []error
	stopped error // nothing more can be done now
}

// moved is what is printed of a run, as JSON.
type bulkResult struct {
	Moved   int      `json:"moved"`
	Skipped int      `json:"skipped"` // they are pinned there already
	Pending int      `json:"pending"` // they go on
	Failed  []string `json:"failed"`
	Left    int      `json:"left"` // not tried, as the run was ended
}

func (o *bulk) run() error {
	if o.parallel < 1 {
		return usageError("--parallel %d: want at least 1", o.parallel)
	}
	pins, err := o.read()
	if err != nil {
		return err
	}
	users := make(chan string)
	var workers sync.WaitGroup
	for range min(o.parallel, len(pins)) {
		workers.Go(func() {
			for u := range users {
				o.count(u, pins[u])
			}
		})
	}
	end := o.progress(len(pins))
	for _, u := range slices.Sorted(maps.Keys(pins)) {
		o.mu.Lock()
		over := o.stopped != nil || o.cmd.Context().Err() != nil
		o.mu.Unlock()
		if over {
			break
		}
		users <- u
	}
	close(users)
	workers.Wait()
	end()
	return o.report(len(pins))
}

// read reads the map and holds it against the pool's back ends.
func (o *bulk) read() (cluster.Pins, error) {
	var all admin.Backends
	if err := o.client.get(o.cmd.Context(), admin.BackendsPath, nil, &all); err != nil {
		return nil, err
	}
	var pools []string
	pool := cluster.Pool{Name: o.pool}
	for _, b := range all.Backends {
		if !slices.Contains(pools, b.Pool) {
			pools = append(pools, b.Pool)
		}
		if (o.pool == "" || b.Pool == o.pool) && b.State != "removed" {
			pool.Backends = append(pool.Backends, cluster.Backend{Name: b.Name})
		}
	}
	switch {
	case o.pool == "" && len(pools) > 1:
		return nil, usageError("say --pool NAME; there are: %v", pools)
	case len(pool.Backends) == 0:
		return nil, &exitError{exitNotFound, fmt.Errorf("no pool %q; there are: %v", o.pool, pools)}
	}
	file := o.file
	if file == "-" {
		file = "/dev/stdin"
	}
	return cluster.ReadPins(file, place.Names{}, pool)
}

// count moves one user and notes how it went.
func (o *bulk) count(name, backend string) {
	done, skipped, err := o.step(name, backend)
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case skipped:
		o.skipped++
	case err != nil:
		o.failed = append(o.failed, fmt.Errorf("%s: %w", safe(name), err))
		var exit *exitError
		var refusal *admin.Refusal
		if errors.As(err, &exit) && exit.code == exitTemporary && !errors.As(err, &refusal) || errors.As(err, &refusal) && refusal.NoQuorum {
			o.stopped = err
		}
	case done:
		o.moved++
	default:
		o.pending++
	}
}

func (o *bulk) step(name, backend string) (done, skipped bool, err error) {
	var w cluster.Whereabouts
	if err := o.client.where(o.cmd, o.pool, name, &w); err != nil {
		return false, false, err
	}
	if w.Pin == backend && w.Place == backend {
		return false, true, nil
	}
	if o.dry {
		o.mu.Lock()
		defer o.mu.Unlock()
		_, err := fmt.Fprintf(o.cmd.OutOrStdout(), "%s: %s -> %s\n", cell(name), cell(w.Place), cell(backend))
		return true, false, err
	}
	var d admin.Done
	err = o.client.post(o.cmd.Context(), admin.MovePath, admin.Move{Pool: o.pool, User: name, Backend: backend, By: whoAmI()}, &d)
	return d.Done, false, err
}

// progress tells how far a run is that takes longer.
func (o *bulk) progress(all int) (end func()) {
	began := time.Now()
	over := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() {
		tick := time.NewTicker(quietTime)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
			}
			o.mu.Lock()
			n := o.moved + o.skipped + o.pending + len(o.failed)
			o.mu.Unlock()
			fmt.Fprintln(o.cmd.ErrOrStderr(), pace(n, all, time.Since(began)))
		}
	})
	return func() { close(over); telling.Wait() }
}

// pace is the line of a progress.
func pace(n, all int, since time.Duration) string {
	rate := float64(n) / since.Seconds()
	left := "unknown"
	if n > 0 {
		left = age(seconds(float64(all-n) / rate))
	}
	return fmt.Sprintf("%d of %d users, %.1f a second, %s left", n, all, rate, left)
}

func (o *bulk) report(all int) error {
	r := bulkResult{o.moved, o.skipped, o.pending, []string{}, all - o.moved - o.skipped - o.pending - len(o.failed)}
	for i, err := range o.failed {
		r.Failed = append(r.Failed, err.Error())
		if i < maxTold {
			fmt.Fprintln(o.cmd.ErrOrStderr(), "usher:", err)
		}
	}
	if more := len(o.failed) - maxTold; more > 0 {
		fmt.Fprintf(o.cmd.ErrOrStderr(), "usher: and %d more\n", more)
	}
	var err error
	verb := "moved"
	if o.dry {
		verb = "to be moved"
	}
	if o.asJSON && !o.dry {
		err = printJSON(o.cmd.OutOrStdout(), r)
	} else {
		_, err = fmt.Fprintf(o.cmd.OutOrStdout(), "%s %s, %d there already, %d under way, %d failed, %d not tried\n",
			plural(r.Moved, "user"), verb, r.Skipped, r.Pending, len(r.Failed), r.Left)
	}
	switch {
	case err != nil:
		return err
	case r.Left > 0 || r.Pending > 0:
		return &exitError{exitTemporary, errors.New("not all is done; run it again: who is there already is skipped")}
	case len(r.Failed) > 0:
		return fmt.Errorf("%s could not be moved", plural(len(r.Failed), "user"))
	}
	return nil
}
