package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
)

// How often is looked at something that is being emptied. Each look asks all nodes:
// a drain may take a day, and its end should be seen at once.
const (
	// drainTick is the time between two looks while many are left, or nothing moves.
	drainTick = time.Second
	// drainSoon is that after a change among the last ones.
	drainSoon = 100 * time.Millisecond
	// drainFew are the last ones.
	drainFew = 100
)

// left is what is still there.
type left struct {
	users, sessions int
	unheard         string // a node that did not answer, so that it is not known
}

// An emptying waits until nobody is left on a back end or a node.
type emptying struct {
	cmd  *cobra.Command
	what string // "user" or "session", by which it is counted
	// goesOn is said of what an interrupt does not end.
	goesOn string
	look   func(ctx context.Context) (left, error)

	meter       *meter
	json        bool
	first, last int
}

// order gives the order to empty something, and has the wait end by ^C only.
func (e *emptying) order(path string, order any, asJSON bool) error {
	ctx, stop := signal.NotifyContext(e.cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	client, err := adminOf(e.cmd)
	if err != nil {
		return err
	}
	e.json = asJSON
	var done admin.Done
	if err := client.post(ctx, path, order, &done); err != nil {
		return e.interrupted(ctx, err)
	}
	switch {
	case asJSON:
		err = printJSON(e.cmd.OutOrStdout(), done)
	case done.Done:
		_, err = fmt.Fprintln(e.cmd.OutOrStdout(), "done")
	default: // it goes on, and is waited for
		_, err = fmt.Fprintln(e.cmd.ErrOrStderr(), "not all nodes go by it yet:", safe(done.Pending))
	}
	if err != nil {
		return err
	}
	return e.wait(ctx)
}

// wait looks again and again.
func (e *emptying) wait(ctx context.Context) error {
	e.meter = newMeter(e.cmd.ErrOrStderr(), e.json)
	e.meter.first = true // it is waited for
	defer e.meter.end()
	pause := drainSoon
	for n := 0; ; n++ {
		l, err := e.look(ctx)
		if err != nil {
			return e.interrupted(ctx, err)
		}
		count := l.users
		if e.what == "session" {
			count = l.sessions
		}
		if count == 0 && l.unheard == "" {
			e.meter.end()
			if !e.json {
				fmt.Fprintf(e.cmd.ErrOrStderr(), "no %s is left\n", e.what)
				return nil
			}
			e.meter.told = time.Time{} // the last one is always told
			now := time.Now()
			e.meter.tell(now, e.meter.pace(now, max(e.first, 0), max(e.first, 0), ""), "")
			return nil
		}
		if n == 0 {
			e.first, e.last = count, -1
		}
		if pause = min(2*pause, drainTick); count != e.last {
			pause = drainSoon
		}
		if count > drainFew {
			pause = drainTick
		}
		e.tell(time.Now(), count, l)
		e.last = count
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return e.interrupted(ctx, ctx.Err())
		}
	}
}

// tell says how far it is, if that is news. More may come than were there at first.
func (e *emptying) tell(now time.Time, count int, l left) {
	if count == e.last && l.unheard == "" && !e.meter.terminal {
		return
	}
	e.first = max(e.first, count)
	e.meter.tell(now, e.meter.pace(now, e.first-count, e.first, l.unheard), remaining(e.what, e.first-count, now.Sub(e.meter.began), l))
}

// remaining is a line of progress, of something that some have left since it began.
func remaining(what string, gone int, since time.Duration, l left) string {
	line, count := plural(l.sessions, "session")+" left", l.sessions
	if what == "user" {
		line, count = fmt.Sprintf("%s left, %s", plural(l.users, "user"), plural(l.sessions, "session")), l.users
	}
	if rate := float64(gone) / since.Seconds(); gone > 0 && since > 0 && count > 0 {
		line += fmt.Sprintf("; %.1f a second, %s to go at that rate", rate, age(seconds(float64(count)/rate)))
	}
	if l.unheard != "" {
		line += "; not counted: " + safe(l.unheard)
	}
	return line
}

// interrupted makes an error of one that an interrupt may have caused.
func (e *emptying) interrupted(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return &exitError{exitTemporary, errors.New("only the wait was interrupted: " + e.goesOn)}
}
