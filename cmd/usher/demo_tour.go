package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"usher.example/cmd/internal/config"
	"usher.example/cmd/internal/demo"
)

const (
	// tourPatience bounds each wait for usher to notice something. The health
	// checks need 1.5 s for a fall and 2.5 s for a return.
	tourPatience = 15 * time.Second
	// tourPoll is the time between two looks at what is waited for.
	tourPoll = 10 * time.Millisecond
	// sampleNames is how many names are placed to show the weights, and
	// sampleError how far a share may be off, in percent: 10,000 throws of a
	// fair die with four sides stray by less than 2 in all but one of 10^5
	// runs, and these names are the same in every run.
	sampleNames = 10_000
	sampleError = 2
)

// A tour shows what usher does, step by step. Each step says what it did and
// returns an error if usher did not what it promises.
type tour struct {
	demoOptions
	out  *tourWriter
	site *demo.Site
	log  io.Writer // usher's

	node *node
	web  *web
	cfg  *config.Config

	homes   map[string]string      // back end by user, as of the first logins
	live    map[string]*demo.Login // a session of each user
	stopped *demo.Backend          // the one that is down
	moved   []string               // its users
}

// walk goes through the steps in order.
func (t *tour) walk(ctx context.Context) error {
	t.homes, t.live = make(map[string]string), make(map[string]*demo.Login)
	t.out.say("One usher, three IMAP servers and a dozen users, on this machine only.\n")
	for i, step := range []struct {
		title string
		run   func(context.Context) error
	}{
		{"A folder with certificates and a configuration", t.showFiles},
		{"Three IMAP servers with one storage", t.showBackends},
		{"usher in front of them", t.showNode},
		{"Everybody logs in, twice", t.everybody},
		{"Weights", t.weights},
		{"A server dies", t.outage},
		{"Everybody logs in again", t.again},
		{"The server comes back", t.comeBack},
		{"Lines to paste into another terminal", t.paste},
	} {
		t.out.say("\n%d. %s\n\n", i+1, step.title)
		done := t.out.remind()
		err := step.run(ctx)
		done()
		if err != nil {
			return fmt.Errorf("step %d, %q: %w", i+1, step.title, err)
		}
	}
	return nil
}

func (t *tour) showFiles(context.Context) error {
	t.out.table("", [][]string{
		{"folder", t.site.Dir, "removed at the end"},
		{"CA", t.site.CAFile(), "made for this run; its key is in no file"},
		{"configuration", t.site.ConfigFile()},
		{"usher's log", t.logName()},
	})
	return nil
}

func (t *tour) logName() string {
	if t.verbose {
		return "standard error"
	}
	return t.site.LogFile()
}

func (t *tour) showBackends(context.Context) error {
	var rows [][]string
	for _, b := range t.site.Backends {
		rows = append(rows, []string{b.Name, b.Addr().String(), fmt.Sprint(b.Weight), "verified", "PROXY v2"})
	}
	t.out.table("back end\taddress\tweight\tTLS to it\tclient's address", rows)
	return nil
}

// showNode starts usher and waits until it has seen all back ends.
func (t *tour) showNode(ctx context.Context) error {
	if err := t.start(ctx); err != nil {
		return err
	}
	t.out.say("   Started like this: usher serve -c %s\n\n", t.site.ConfigFile())
	var rows [][]string
	for _, l := range t.node.server.Listeners() {
		rows = append(rows, []string{l.Name, l.Address, "TLS: " + l.TLS})
	}
	rows = append(rows,
		[]string{"http", t.site.HTTP.String(), "/healthz /readyz /metrics"},
		[]string{"socket", t.site.Socket(), "for usher status, sessions, kick"})
	t.out.table("listener\taddress\t", rows)
	for _, b := range t.site.Backends {
		if _, err := t.awaitHealth(ctx, b.Name, true); err != nil {
			return err
		}
	}
	return t.checkReady(ctx)
}

// checkReady asks /readyz, as a monitor would.
func (t *tour) checkReady(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.site.HTTP.String()+"/readyz", nil)
	if err != nil {
		return err
	}
	req.Close = true
	answer, err := new(http.Transport).RoundTrip(req) // no proxy, whatever the environment says
	if err != nil {
		return fmt.Errorf("ask /readyz: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	if err != nil {
		return fmt.Errorf("ask /readyz: %w", err)
	}
	t.out.say("\n   /readyz: %s, %q\n", answer.Status, strings.TrimSpace(string(text)))
	if answer.StatusCode != http.StatusOK {
		return errors.New("usher is not ready")
	}
	return nil
}

// everybody logs in by TLS from the first byte, and again in capitals by
// STARTTLS. The second session stays open.
func (t *tour) everybody(ctx context.Context) error {
	t.out.say("   Each by TLS, which his mail program verifies; the second time by STARTTLS and with his name\n" +
		"   in capitals. The server says itself who it is, in a mail about that very login.\n\n")
	var rows [][]string
	for _, user := range t.site.Users {
		first, err := t.visit(ctx, user)
		if err != nil {
			return err
		}
		second, err := t.site.LogIn(ctx, demo.Entrance{Address: t.site.IMAP.String(), StartTLS: true}, strings.ToUpper(user))
		if err != nil {
			return err
		}
		t.homes[user], t.live[user] = first, second
		says, err := t.node.places.Where(demo.Pool, user)
		if err != nil {
			return err
		}
		rows = append(rows, []string{user, first, second.Backend, says.Place, says.Home})
		if second.Backend != first || says.Place != first || says.Home != first {
			t.out.table("user\t1st login\t2nd login\tusher says\thome by hash", rows)
			return fmt.Errorf("the words about %s differ", user)
		}
	}
	t.out.table("user\t1st login\t2nd login\tusher says\thome by hash", rows)
	return nil
}

// visit logs a user in and out, and returns who served him.
func (t *tour) visit(ctx context.Context, user string) (backend string, err error) {
	l, err := t.site.LogIn(ctx, demo.Entrance{Address: t.site.IMAPS.String()}, user)
	if err != nil {
		return "", err
	}
	return l.Backend, l.LogOut(ctx)
}

// weights compares the share of each back end with its due.
func (t *tour) weights(context.Context) error {
	users, names, total := make(map[string]int), make(map[string]int), 0
	for _, home := range t.homes {
		users[home]++
	}
	for i := range sampleNames {
		w, err := t.node.places.Where(demo.Pool, fmt.Sprintf("user%d@%s", i, demo.Domain))
		if err != nil {
			return err
		}
		names[w.Home]++
	}
	for _, b := range t.site.Backends {
		total += b.Weight
	}
	var rows [][]string
	var errs []error
	for _, b := range t.site.Backends {
		due, share := percent(b.Weight, total), percent(names[b.Name], sampleNames)
		rows = append(rows, []string{
			b.Name, fmt.Sprint(b.Weight), fmt.Sprintf("%.1f %%", due), fmt.Sprint(users[b.Name]), fmt.Sprintf("%.1f %%", share),
		})
		if off := share - due; off > sampleError || off < -sampleError {
			errs = append(errs, fmt.Errorf("%s has %.1f %% of the names, want %.1f ± %d", b.Name, share, due, sampleError))
		}
	}
	t.out.table(fmt.Sprintf("back end\tweight\tdue\tof our %d users\tof %d made-up names", len(t.homes), sampleNames), rows)
	return errors.Join(errs...)
}

func percent(part, whole int) float64 { return 100 * float64(part) / float64(whole) }

// awaitHealth waits until usher takes a back end for up, or down, and says how
// long that took.
func (t *tour) awaitHealth(ctx context.Context, backend string, up bool) (time.Duration, error) {
	return t.await(ctx, fmt.Sprintf("usher sees that %s is up: %t", backend, up), func() bool {
		for _, p := range t.node.places.Status() {
			for _, b := range p.Backends {
				if b.Name == backend {
					return b.Up == up
				}
			}
		}
		return false
	})
}

// await waits until something is so.
func (t *tour) await(ctx context.Context, what string, so func() bool) (time.Duration, error) {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, tourPatience)
	defer cancel()
	tick := time.NewTicker(tourPoll)
	defer tick.Stop()
	for !so() {
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("wait until %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
	return time.Since(begin), nil
}

// usersOf lists whose home a back end is.
func (t *tour) usersOf(backend string) []string {
	return slices.DeleteFunc(slices.Clone(t.site.Users), func(user string) bool { return t.homes[user] != backend })
}
