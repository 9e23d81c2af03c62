package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"usher.example/cmd/internal/demo"
)

// endOfSession is how long the death of a back end may take to reach its
// users. It is meant to be one second; the other is for the machine.
const endOfSession = 2 * time.Second

// outage stops the back end with the most users. Their sessions end, those of
// all others do not notice.
func (t *tour) outage(ctx context.Context) error {
	t.stopped = slices.MaxFunc(t.site.Backends, func(a, b *demo.Backend) int {
		return len(t.usersOf(a.Name)) - len(t.usersOf(b.Name))
	})
	t.moved = t.usersOf(t.stopped.Name)
	if n := len(t.moved); n == 0 || n == len(t.site.Users) {
		return fmt.Errorf("%s has %d users: nothing to be seen", t.stopped.Name, n)
	}
	begin := time.Now()
	t.stopped.Stop()
	t.out.say("   %s is gone: its port is closed, and so are its connections.\n", t.stopped.Name)
	if err := t.awaitEnds(ctx, t.moved, begin); err != nil {
		return err
	}
	if err := t.othersAlive(ctx); err != nil {
		return err
	}
	took, err := t.awaitHealth(ctx, t.stopped.Name, false)
	if err != nil {
		return err
	}
	t.out.say("   Most ushers have it down since the %d. failed probe, so the fleet has, after %v.\n", demo.ProbeFall, took.Round(time.Millisecond))
	return t.checkReady(ctx)
}

// awaitEnds waits until the sessions of some users have ended.
func (t *tour) awaitEnds(ctx context.Context, users []string, begin time.Time) error {
	for _, user := range users {
		select {
		case <-t.live[user].Ended():
		case <-time.After(time.Until(begin.Add(endOfSession))):
			return fmt.Errorf("the session of %s on %s did not end within %v", user, t.live[user].Backend, endOfSession)
		case <-ctx.Done():
			return ctx.Err()
		}
		t.live[user].Cut()
		delete(t.live, user)
	}
	t.out.say("   The sessions of its %d users ended within %v.\n", len(users), time.Since(begin).Round(time.Millisecond))
	return nil
}

// othersAlive asks on every session that should be open.
func (t *tour) othersAlive(ctx context.Context) error {
	var errs []error
	for _, user := range slices.Sorted(maps.Keys(t.live)) {
		errs = append(errs, t.live[user].Alive(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	t.out.say("   The other %d sessions are alive.\n", len(t.live))
	return nil
}

// again logs everybody in: those of the dead back end land on the others,
// nobody else moves.
func (t *tour) again(ctx context.Context) error {
	var rows [][]string
	var errs []error
	landed := make(map[string]int)
	open := maps.Clone(t.live)
	for i, user := range t.site.Users {
		d := t.pick(i + 1) // another one than before
		l, err := t.logIn(ctx, d, user)
		if err != nil {
			return err
		}
		note := ""
		switch home := t.homes[user]; {
		case home == t.stopped.Name:
			note = "re-placed"
			landed[l.Backend]++
			t.live[user], t.through[user] = l, d // stays open
			if l.Backend == home {
				errs = append(errs, fmt.Errorf("%s is on %s, which is stopped", user, home))
			}
		default:
			if l.Backend != home {
				errs = append(errs, fmt.Errorf("%s moved from %s to %s for no reason", user, home, l.Backend))
			}
			errs = append(errs, l.LogOut(ctx))
		}
		rows = append(rows, []string{user, t.homes[user], l.Backend, note})
	}
	t.out.table("user\tbefore\tnow\t", rows)
	for user := range open {
		errs = append(errs, t.live[user].Alive(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	t.out.say("\n   The %d users of %s are now on %s.\n", len(t.moved), t.stopped.Name, spread(landed))
	t.out.say("   The %d others are where they were, and their first sessions are still open.\n", len(t.site.Users)-len(t.moved))
	return nil
}

// spread tells a few counts in words.
func spread(counts map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s (%d)", name, counts[name]))
	}
	return strings.Join(parts, " and ")
}

// comeBack starts the back end again. Who is logged in elsewhere stays there
// until he logs out: nobody is on two back ends at once.
func (t *tour) comeBack(ctx context.Context) error {
	if err := t.stopped.Start(); err != nil {
		return err
	}
	took, err := t.awaitHealth(ctx, t.stopped.Name, true)
	if err != nil {
		return err
	}
	t.out.say("   %s runs again; the fleet trusts it after %v: two good probes, and a pause for having fallen.\n\n",
		t.stopped.Name, took.Round(time.Millisecond))
	rows, errs := make([][]string, len(t.moved)), make([]error, len(t.moved))
	var wg sync.WaitGroup
	for i, user := range t.moved {
		wg.Go(func() { rows[i], errs[i] = t.goHome(ctx, user, t.live[user], t.through[user]) })
	}
	wg.Wait()
	for _, user := range t.moved {
		delete(t.live, user)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	t.out.table("user\tlogged in at\tanother login beside\tlogged out and sent home", rows)
	t.out.say("\n   All are home again; without an order they would be within five minutes of logging out.\n")
	if err := t.othersAlive(ctx); err != nil {
		return err
	}
	return t.goodbye(ctx)
}

// goHome logs a user in beside his session, ends that, and sends him home by an
// administrator's word: to where he is pinned, or else to where the hash says.
func (t *tour) goHome(ctx context.Context, user string, old *demo.Login, d *demoNode) (row []string, err error) {
	other := t.pick(slices.Index(t.running(), d) + 1)
	beside, err := t.visit(ctx, other, user)
	if err != nil {
		return nil, err
	}
	if beside != old.Backend {
		err = fmt.Errorf("%s is on %s and %s at once", user, old.Backend, beside)
	}
	if err := errors.Join(err, t.logOut(ctx, user, old, d)); err != nil {
		return nil, err
	}
	w, err := d.node.fleet.Where(demo.Pool, user)
	if err != nil {
		return nil, err
	}
	if err := d.node.fleet.Move(ctx, demo.Pool, user, w.Pin, "demo"); err != nil {
		return nil, fmt.Errorf("send %s home: %w", user, err)
	}
	after, err := t.visit(ctx, other, user)
	if err == nil && after != t.homes[user] {
		err = fmt.Errorf("%s did not come back to %s but to %s", user, t.homes[user], after)
	}
	return []string{user, old.Backend, beside, after}, err
}

// logOut ends a user's open session and waits until usher has let him go.
func (t *tour) logOut(ctx context.Context, user string, l *demo.Login, d *demoNode) error {
	if err := l.LogOut(ctx); err != nil {
		return err
	}
	_, err := t.await(ctx, user+" is logged out", func() bool {
		w, err := d.node.fleet.Where(demo.Pool, user)
		return err == nil && w.Holds == 0
	})
	return err
}

// goodbye logs everybody out; the ushers then have no session left.
func (t *tour) goodbye(ctx context.Context) error {
	for _, user := range slices.Sorted(maps.Keys(t.live)) {
		l := t.live[user]
		delete(t.live, user)
		if err := t.logOut(ctx, user, l, t.through[user]); err != nil {
			return err
		}
	}
	_, err := t.await(ctx, "no session is left", func() bool {
		for _, d := range t.running() {
			if sessions, _ := d.node.server.Counts(); sessions > 0 {
				return false
			}
		}
		return true
	})
	return err
}
