package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
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
	for _, user := range t.moved {
		select {
		case <-t.live[user].Ended():
		case <-time.After(time.Until(begin.Add(endOfSession))):
			return fmt.Errorf("the session of %s on %s did not end within %v", user, t.stopped.Name, endOfSession)
		case <-ctx.Done():
			return ctx.Err()
		}
		t.live[user].Cut()
		delete(t.live, user)
	}
	t.out.say("   The sessions of its %d users ended within %v.\n", len(t.moved), time.Since(begin).Round(time.Millisecond))
	if err := t.othersAlive(ctx); err != nil {
		return err
	}
	t.out.say("   The sessions of the %d others are alive.\n", len(t.live))
	took, err := t.awaitHealth(ctx, t.stopped.Name, false)
	if err != nil {
		return err
	}
	t.out.say("   usher takes %s for down since its %d. failed probe, after %v.\n", t.stopped.Name, demo.ProbeFall, took.Round(time.Millisecond))
	return t.checkReady(ctx)
}

// othersAlive asks on the session of everybody whose back end is well.
func (t *tour) othersAlive(ctx context.Context) error {
	var errs []error
	for _, user := range slices.Sorted(maps.Keys(t.live)) {
		if t.homes[user] != t.stopped.Name {
			errs = append(errs, t.live[user].Alive(ctx))
		}
	}
	return errors.Join(errs...)
}

// again logs everybody in: those of the dead back end land on the others,
// nobody else moves.
func (t *tour) again(ctx context.Context) error {
	var rows [][]string
	var errs []error
	landed := make(map[string]int)
	for _, user := range t.site.Users {
		l, err := t.site.LogIn(ctx, demo.Entrance{Address: t.site.IMAPS.String()}, user)
		if err != nil {
			return err
		}
		note := ""
		switch home := t.homes[user]; {
		case home == t.stopped.Name:
			note = "re-placed"
			landed[l.Backend]++
			t.live[user] = l // stays open
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
	errs = append(errs, t.othersAlive(ctx))
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
	t.out.say("   %s runs again; usher trusts it after %v: two good probes, and a pause for having fallen.\n\n",
		t.stopped.Name, took.Round(time.Millisecond))
	var rows [][]string
	var errs []error
	for _, user := range t.moved {
		old := t.live[user]
		beside, err := t.visit(ctx, user)
		if err != nil {
			return err
		}
		if err := t.logOut(ctx, user); err != nil {
			return err
		}
		after, err := t.visit(ctx, user)
		if err != nil {
			return err
		}
		rows = append(rows, []string{user, old.Backend, beside, after})
		if beside != old.Backend {
			errs = append(errs, fmt.Errorf("%s is on %s and %s at once", user, old.Backend, beside))
		}
		if after != t.homes[user] {
			errs = append(errs, fmt.Errorf("%s did not come back to %s but to %s", user, t.homes[user], after))
		}
	}
	t.out.table("user\tlogged in at\tanother login beside\tafter logging out", rows)
	errs = append(errs, t.othersAlive(ctx))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	t.out.say("\n   All are home again. The %d others have not noticed anything.\n", len(t.live))
	return t.goodbye(ctx)
}

// logOut ends a user's open session and waits until usher has let him go.
func (t *tour) logOut(ctx context.Context, user string) error {
	l := t.live[user]
	delete(t.live, user)
	if err := l.LogOut(ctx); err != nil {
		return err
	}
	_, err := t.await(ctx, user+" is logged out", func() bool {
		w, err := t.node.places.Where(demo.Pool, user)
		return err == nil && w.Holds == 0
	})
	return err
}

// goodbye logs everybody out; usher then has no session left.
func (t *tour) goodbye(ctx context.Context) error {
	for _, user := range slices.Sorted(maps.Keys(t.live)) {
		if err := t.logOut(ctx, user); err != nil {
			return err
		}
	}
	_, err := t.await(ctx, "no session is left", func() bool {
		sessions, _ := t.node.server.Counts()
		return sessions == 0
	})
	return err
}
