package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"usher.example/bench/load"
	"usher.example/bench/result"
)

// day is an ordinary hour of an ordinary site, in less than an hour: all that
// users do is done, and only the time between is shorter.
func day(p Params) Course {
	return Course{
		Name: "day", Repetitions: p.share(p.DayShare), Weight: p.Hour + 4*time.Second,
		Parts: []Part{{
			Name: "day",
			Doc:  fmt.Sprintf("an hour of %d users on phones, at desks and with POP3, in %s", p.Users, p.Hour),
			// All get the same schedule, or it would be another figure.
			Needs: []string{"imap tls", "pop3 tls"}, Run: wholeDay,
		}},
	}
}

// A site is the users of a day while it lasts.
type site struct {
	r          *Round
	imap, pop3 load.Service
	scale      float64 // of real time to the day's
	began      time.Time

	mu               sync.Mutex // guards all below
	logins, commands []time.Duration
	failed           int
	first            error
	behind           time.Duration // the load's own lateness, at worst
}

// wholeDay runs the schedule. An event that comes late because the user's last one
// took long counts from when it was to be: a user waits from when he asks.
func wholeDay(ctx context.Context, r *Round) error {
	p := r.Params
	plan := newSchedule(p.Seed, p.Users)
	s := &site{
		r: r, scale: p.Hour.Seconds() / time.Hour.Seconds(),
		imap: r.service("imap", "tls", nil), pop3: r.service("pop3", "tls", nil),
	}
	sessions := make([]*load.Client, p.Users)
	defer func() { closeAll(sessions) }()
	r.say(fmt.Sprintf("logging in %d users", p.Users))
	if err := s.morning(ctx, plan, sessions); err != nil {
		return err
	}
	// Who plans for so many users has to hold so many sessions.
	r.set("sessions_per_user", strconv.FormatFloat(float64(plan.held())/float64(p.Users), 'f', 3, 64))
	r.say("the day")
	used, _, err := r.metered(func() error {
		s.began = time.Now()
		var users sync.WaitGroup
		for i := range sessions {
			users.Go(func() { sessions[i] = s.live(ctx, plan[i], sessions[i]) })
		}
		users.Wait()
		return errors.Join(ctx.Err(), wait(ctx, time.Until(s.began.Add(p.Hour)))) // what comes of the last, and of idling
	})
	if err != nil {
		return err
	}
	acted := len(s.commands) + len(s.logins)
	r.put("failed", "", result.Lower, float64(s.failed))
	if acted == 0 {
		return errors.New("nobody has done anything")
	}
	if tooMany(s.failed, acted-s.failed) {
		return fmt.Errorf("%d of %d actions failed, the first: %w", s.failed, acted, s.first)
	}
	// What has failed was not done: the hour is so much shorter.
	users := float64(p.Users) * float64(acted-s.failed) / float64(acted)
	r.put("cpu_ms_per_user_hour", "ms", result.Lower, each(used, 1)/1000/users)
	r.putAside("cpu_ms_per_user_hour_aside", "ms", 1e6*users)
	r.putBehind("behind_ms", s.behind)
	slices.Sort(s.logins)
	slices.Sort(s.commands)
	r.put("login_p99_ms", "ms", result.Lower, milliseconds(quantile(s.logins, 0.99)))
	r.put("p50_ms", "ms", result.Lower, milliseconds(quantile(s.commands, 0.50)))
	r.put("p99_ms", "ms", result.Lower, milliseconds(quantile(s.commands, 0.99)))
	return nil
}

// morning logs in who has a session all day.
func (s *site) morning(ctx context.Context, plan schedule, sessions []*load.Client) error {
	var users []int
	for i := range plan {
		if plan.imap(i) {
			users = append(users, i)
		}
	}
	rep := load.Closed(ctx, min(len(users), s.r.Params.StalledWorkers), len(users), func(_ context.Context, _, i int) (err error) {
		if sessions[users[i]], err = enter(ctx, s.imap, users[i]); err != nil {
			return err
		}
		return sessions[users[i]].Idle()
	})
	if rep.Done < len(users) {
		return fmt.Errorf("%d of %d users came in: %w", rep.Done, len(users), firstOf(rep, ctx))
	}
	return nil
}

// live is one user's day, and the session that he has in the end.
func (s *site) live(ctx context.Context, events []event, c *load.Client) *load.Client {
	for _, e := range events {
		due := s.began.Add(time.Duration(float64(e.at) * s.scale))
		early := time.Until(due) > 0
		if wait(ctx, time.Until(due)) != nil {
			return c
		}
		if early { // else he is late for what he has waited for
			s.woke(time.Since(due))
		}
		var err error
		c, err = s.act(ctx, e, c)
		s.took(e, time.Since(due)) // also in vain: the user has waited
		if err != nil {
			s.fault(e, err)
			if c != nil {
				c.Close()
				c = nil
			}
			continue
		}
		if c != nil && c.Idle() != nil { // not the user's wait
			c.Close()
			c = nil
		}
	}
	return c
}

// act does what an event asks for. A user whose session has broken logs in first:
// he waits for that, too.
func (s *site) act(ctx context.Context, e event, c *load.Client) (*load.Client, error) {
	switch e.action {
	case visitPOP:
		return nil, s.fetchPOP(ctx, e)
	case login:
		if c != nil {
			_ = c.Logout() // if it answers or not, we leave
			c.Close()
		}
		return enter(ctx, s.imap, e.user)
	case noop, fetch, store: // in a session
	}
	if c == nil {
		var err error
		if c, err = enter(ctx, s.imap, e.user); err != nil {
			return nil, err
		}
	}
	switch e.action {
	case fetch:
		return c, c.Download(e.octets)
	case store:
		return c, c.Upload(e.octets)
	default:
		return c, c.Noop()
	}
}

func (s *site) fetchPOP(ctx context.Context, e event) error {
	c, err := enter(ctx, s.pop3, e.user)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Noop(); err != nil {
		return err
	}
	if err := c.Download(e.octets); err != nil {
		return err
	}
	return c.Logout()
}

func (s *site) woke(late time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behind = max(s.behind, late)
}

func (s *site) took(e event, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.action == login || e.action == visitPOP {
		s.logins = append(s.logins, d)
	} else {
		s.commands = append(s.commands, d)
	}
}

func (s *site) fault(e event, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed++
	if s.first == nil {
		s.first = fmt.Errorf("user %d after %s: %w", e.user, e.at, err)
	}
}
