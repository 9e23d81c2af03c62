package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
)

const (
	// maxTold bounds the failures that are told one by one; --json has all.
	maxTold = 100
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
	list, err := o.plan()
	if err != nil {
		return err
	}
	if o.dry {
		return o.show(list)
	}
	work := slices.DeleteFunc(slices.Clone(list), func(p *planned) bool { return p.Do == doNone })
	o.skipped = len(list) - len(work)
	interrupted, stop := signal.NotifyContext(o.cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	users := make(chan *planned)
	var workers sync.WaitGroup
	for range min(o.parallel, len(work)) {
		workers.Go(func() {
			for p := range users {
				o.move(p)
			}
		})
	}
	end := o.progress(len(list))
feed:
	for i, p := range work {
		if o.over() {
			break
		}
		select {
		case users <- p:
		case <-interrupted.Done():
			fmt.Fprintf(o.cmd.ErrOrStderr(), "usher: interrupted: %d are not begun, and who has been moved stays so; waiting for those that are under way\n", len(work)-i)
			break feed
		}
	}
	close(users)
	workers.Wait()
	end()
	return o.report(len(list))
}

func (o *bulk) over() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stopped != nil
}

// move moves one user and notes how it went.
func (o *bulk) move(p *planned) {
	var d admin.Done
	err := o.client.post(o.cmd.Context(), admin.MovePath, admin.Move{Pool: o.pool, User: p.spelled, Backend: p.Target, By: whoAmI()}, &d)
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err != nil:
		o.failed = append(o.failed, fmt.Errorf("%s: %w", safe(p.spelled), err))
		var exit *exitError
		var refusal *admin.Refusal
		if errors.As(err, &exit) && exit.code == exitTemporary && !errors.As(err, &refusal) || errors.As(err, &refusal) && refusal.NoQuorum {
			o.stopped = err
		}
	case d.Done:
		o.moved++
	default:
		o.pending++
	}
}

// progress tells how far a run is that takes longer.
func (o *bulk) progress(all int) (end func()) {
	m := newMeter(o.cmd.ErrOrStderr(), o.asJSON)
	over := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() {
		defer m.end()
		tick := time.NewTicker(redrawEvery)
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
			now := time.Now()
			m.tell(now, m.pace(now, n, all, ""), pace(n, all, now.Sub(m.began)))
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
		fmt.Fprintf(o.cmd.ErrOrStderr(), "usher: and %d more, all of which --json lists\n", more)
	}
	var err error
	if o.asJSON {
		err = printJSON(o.cmd.OutOrStdout(), r)
	} else {
		_, err = fmt.Fprintf(o.cmd.OutOrStdout(), "%s moved, %d there already, %d under way, %d failed, %d not tried\n",
			plural(r.Moved, "user"), r.Skipped, r.Pending, len(r.Failed), r.Left)
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
