package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"usher.example/cluster/place"
	fleet "usher.example/cluster/table"
	"usher.example/cmd/internal/demo"
)

// newcomers is how many users without a session try a server that is drained.
const newcomers = 3

// nodeDies kills the usher that leads the fleet. Its users log in through the
// others and find their back ends.
func (t *tour) nodeDies(ctx context.Context) error {
	if t.lost = t.leader(); t.lost == nil {
		return errors.New("nobody leads the fleet")
	}
	users := slices.DeleteFunc(slices.Clone(t.site.Users), func(user string) bool { return t.through[user] != t.lost })
	begin := time.Now()
	t.lost.kill()
	t.out.say("   %s is gone, as by kill -9, and it led the fleet. It said goodbye to nobody.\n", t.lost.Name)
	if err := t.awaitEnds(ctx, users, begin); err != nil {
		return err
	}
	if err := t.othersAlive(ctx); err != nil {
		return err
	}
	var rows [][]string
	var errs []error
	for i, user := range users {
		d := t.pick(i)
		now, err := t.sitDown(ctx, d, user)
		if err != nil {
			return err
		}
		rows = append(rows, []string{user, t.lost.Name, d.Name, t.homes[user], now})
		if now != t.homes[user] {
			errs = append(errs, fmt.Errorf("%s was on %s, and through %s is on %s", user, t.homes[user], d.Name, now))
		}
	}
	t.out.say("   They log in again, and nobody had to ask anybody where they were:\n\n")
	t.out.table("user\twas through\tlogs in through\twas on\tis on", rows)
	return errors.Join(errs...)
}

// nodeReturns starts the usher again. What it knows it has from its own directory
// and from the others.
func (t *tour) nodeReturns(ctx context.Context) error {
	begin := time.Now()
	if err := t.restart(ctx, t.lost); err != nil {
		return err
	}
	if _, err := t.await(ctx, "an usher leads", func() bool { return t.leader() != nil }); err != nil {
		return err
	}
	t.out.say("   %s runs again and has joined after %v; %s leads.\n", t.lost.Name, time.Since(begin).Round(time.Millisecond), t.leader().Name)
	var errs []error
	for _, user := range t.site.Users {
		at, err := t.visit(ctx, t.lost, user)
		if err != nil {
			return err
		}
		if at != t.homes[user] {
			errs = append(errs, fmt.Errorf("%s is on %s, and through %s on %s", user, t.homes[user], t.lost.Name, at))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	t.out.say("   Through it all %d users are where they were.\n", len(t.site.Users))
	return t.checkReady(ctx)
}

// move moves a user who is connected through two ushers, by the third.
func (t *tour) move(ctx context.Context) error {
	user := t.site.Users[0]
	first := t.through[user]
	at := slices.Index(t.nodes, first)
	second, third := t.nodes[(at+1)%len(t.nodes)], t.nodes[(at+2)%len(t.nodes)]
	beside, err := t.logIn(ctx, second, user)
	if err != nil {
		return err
	}
	defer beside.Cut()
	from := t.homes[user]
	to := t.site.Backends[0].Name
	if to == from {
		to = t.site.Backends[1].Name
	}
	t.out.say("   %s is on %s through %s and %s; %s is told to move her to %s.\n", user, from, first.Name, second.Name, third.Name, to)
	if on := t.site.At(user); !slices.Equal(on, []string{from, from}) {
		return fmt.Errorf("%s is on %v by the servers' record, want twice on %s", user, on, from)
	}
	done := make(chan error, 1)
	begin := time.Now()
	go func() { // ends with the move, or with ctx
		done <- third.node.fleet.Move(ctx, demo.Pool, user, to, "demo")
	}()
	// Her mail program logs in again as soon as it can, wherever the move is.
	for _, l := range []*demo.Login{t.live[user], beside} {
		select {
		case <-l.Ended():
		case <-time.After(time.Until(begin.Add(tourPatience))):
			err = errors.Join(err, fmt.Errorf("a session of %s is still open, %v after she was to move", user, tourPatience))
		}
		l.Cut()
	}
	delete(t.live, user)
	closed := time.Since(begin)
	on := ""
	if err == nil {
		on, err = t.sitDown(ctx, second, user)
	}
	if err := errors.Join(err, <-done); err != nil {
		return err
	}
	t.out.say("   Her two sessions were closed within %v; she logged in again at once, and was let in after %v.\n",
		closed.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
	t.homes[user] = to
	var rows [][]string
	var errs []error
	for _, d := range t.nodes {
		at, err := t.visit(ctx, d, user)
		if err != nil {
			return err
		}
		rows = append(rows, []string{d.Name, at})
		if at != to || on != to {
			errs = append(errs, fmt.Errorf("%s is on %s through %s, want %s", user, at, d.Name, to))
		}
	}
	t.out.table("through\tis on", rows)
	t.out.say("   By the record of the servers themselves she never was on two of them at once.\n")
	return errors.Join(errs...)
}

// drain has a server take no new users. Who is on it stays, as long as he has a
// session.
func (t *tour) drain(ctx context.Context) error {
	drained := slices.MinFunc(t.site.Backends, func(a, b *demo.Backend) int {
		return len(t.usersOf(a.Name)) - len(t.usersOf(b.Name))
	}).Name
	if len(t.usersOf(drained)) == 0 { // the last one was moved away
		drained = t.homes[t.site.Users[0]]
	}
	admin := t.pick(0).node.fleet
	guests, err := t.guestsOf(drained)
	if err != nil {
		return err
	}
	if len(guests) < newcomers {
		return fmt.Errorf("%d guests are at home on %s, want %d", len(guests), drained, newcomers)
	}
	begin := time.Now()
	if err := t.adjust(ctx, admin.SetAdmin, drained, fleet.Draining, place.Drain); err != nil {
		return err
	}
	t.out.say("   %s drains, and all ushers know after %v. Each of its users logs in once more, and\n"+
		"   so do %d who have no session and would be at home there:\n\n", drained, time.Since(begin).Round(time.Millisecond), newcomers)
	var rows [][]string
	var errs []error
	for i, user := range slices.Concat(t.usersOf(drained), guests[:newcomers]) {
		at, err := t.visit(ctx, t.pick(i), user)
		if err != nil {
			return err
		}
		note := "new"
		if t.live[user] != nil {
			note = "logged in"
		}
		rows = append(rows, []string{user, note, at})
		if (at == drained) != (t.live[user] != nil) {
			errs = append(errs, fmt.Errorf("%s, who is %s, is on %s while %s drains", user, note, at, drained))
		}
	}
	t.out.table("user\tis\tlands on", rows)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := t.adjust(ctx, admin.SetAdmin, drained, fleet.Active, place.Up); err != nil {
		return err
	}
	t.out.say("\n   %s is taken back into service.\n", drained)
	return t.othersAlive(ctx)
}

// adjust changes a server's admin state and waits until every usher has it.
func (t *tour) adjust(ctx context.Context, set func(context.Context, string, string, fleet.Admin, string) error, backend string, to fleet.Admin, state place.State) error {
	if err := set(ctx, demo.Pool, backend, to, "demo"); err != nil {
		return err
	}
	_, err := t.awaitState(ctx, backend, state)
	return err
}
