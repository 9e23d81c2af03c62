package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"usher.example/cluster/place"
	"usher.example/cmd/internal/demo"
)

const (
	// tourPatience bounds each wait for usher to notice something. The health
	// checks need 2.4 s for a fall and 3 s for a return.
	tourPatience = 15 * time.Second
	// tourPoll is the time between two looks at what is waited for.
	tourPoll = 10 * time.Millisecond
	// sampleNames is how many names are placed to show the weights, and
	// sampleError how far a share may be off, in percent: 20,000 throws of a
	// coin stray by less than 2 in all but one of 10^8 runs.
	sampleNames = 20_000
	sampleError = 2
)

// A tour shows what usher does, step by step. Each step says what it did and
// returns an error if usher did not what it promises.
type tour struct {
	demoOptions
	out   *tourWriter
	site  *demo.Site
	log   io.Writer // of the ushers
	nodes []*demoNode

	homes   map[string]string      // back end by user: where he belongs
	live    map[string]*demo.Login // a session of each user
	through map[string]*demoNode   // whose it is
	lost    *demoNode              // the usher that is down
	stopped *demo.Backend          // the back end that is down
	moved   []string               // its users
}

func newTourOf(site *demo.Site, out *tourWriter, log io.Writer, o demoOptions) *tour {
	t := &tour{
		out: out, site: site, log: log, demoOptions: o,
		homes: make(map[string]string), live: make(map[string]*demo.Login), through: make(map[string]*demoNode),
	}
	for _, n := range site.Nodes {
		t.nodes = append(t.nodes, &demoNode{Node: n})
	}
	return t
}

// walk goes through the steps in order.
func (t *tour) walk(ctx context.Context) error {
	t.out.say("Three ushers, three IMAP servers and a dozen users, on this machine only.\n")
	for i, step := range []struct {
		title string
		run   func(context.Context) error
	}{
		{"A folder with certificates and configurations", t.showFiles},
		{"Three IMAP servers with one storage", t.showBackends},
		{"A fleet of three ushers in front of them", t.showNodes},
		{"Everybody logs in, through each of the three", t.everybody},
		{"Weights", t.weights},
		{"An usher dies", t.nodeDies},
		{"The usher comes back", t.nodeReturns},
		{"A user is moved", t.move},
		{"A server is drained", t.drain},
		{"A server dies", t.outage},
		{"Everybody logs in again", t.again},
		{"The server comes back", t.comeBack},
		{"Lines to paste into another terminal", t.paste},
	} {
		t.out.say("\n%d. %s\n\n", i+1, step.title)
		done := t.out.remind()
		err := errors.Join(step.run(ctx), t.neverOnTwo())
		done()
		if err != nil {
			return fmt.Errorf("step %d, %q: %w", i+1, step.title, err)
		}
	}
	return nil
}

// neverOnTwo has the word of the back ends about the promise of them all.
func (t *tour) neverOnTwo() error {
	if twice := t.site.Twice(); len(twice) > 0 {
		return errors.New(strings.Join(twice, "; "))
	}
	return nil
}

func (t *tour) showFiles(context.Context) error {
	t.out.table("", [][]string{
		{"folder", t.site.Dir, "removed at the end"},
		{"CA", t.site.CAFile(), "made for this run; its key is in no file"},
		{"configurations", t.files((*demo.Node).ConfigFile)},
		{"fleet's secret", t.site.SecretFile(), "made for this run"},
		{"the ushers' log", t.logName()},
	})
	return nil
}

// files lists a file of each node in short.
func (t *tour) files(of func(*demo.Node) string) string {
	var list []string
	for i, n := range t.site.Nodes {
		path := of(n)
		if i > 0 {
			path = filepath.Base(path)
		}
		list = append(list, path)
	}
	return strings.Join(list, ", ")
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

// showNodes starts the ushers and waits until they have seen all back ends.
func (t *tour) showNodes(ctx context.Context) error {
	begin := time.Now()
	if err := t.start(ctx); err != nil {
		return err
	}
	t.out.say("   Each started like this: usher serve -c %s\n\n", t.nodes[0].ConfigFile())
	var rows [][]string
	for _, d := range t.nodes {
		rows = append(rows, []string{d.Name, d.IMAPS.String(), d.IMAP.String(), d.HTTP.String(), d.Fleet.String()})
	}
	t.out.table("usher\tTLS\tSTARTTLS\t/readyz, /metrics\tother ushers", rows)
	for _, b := range t.site.Backends {
		if _, err := t.awaitHealth(ctx, b.Name, true); err != nil {
			return err
		}
	}
	if _, err := t.await(ctx, "an usher leads", func() bool { return t.leader() != nil }); err != nil {
		return err
	}
	t.out.say("\n   One fleet after %v; %s leads it.\n", time.Since(begin).Round(time.Millisecond), t.leader().Name)
	return errors.Join(t.checkReady(ctx), t.invite())
}

// invite sees to it that every back end is the home of somebody. Homes follow from
// a key that the fleet has made for itself, so a dozen may miss one.
func (t *tour) invite() error {
	at := make(map[string][]int) // indices of users by home
	for i, user := range t.site.Users {
		home, err := t.home(user)
		if err != nil {
			return err
		}
		at[home] = append(at[home], i)
	}
	for _, b := range t.site.Backends {
		if len(at[b.Name]) > 0 {
			continue
		}
		guests, err := t.guestsOf(b.Name)
		if err != nil {
			return err
		}
		if len(guests) == 0 {
			return fmt.Errorf("nobody is at home on %s", b.Name)
		}
		crowd := slices.MaxFunc(slices.Collect(maps.Values(at)), func(a, b []int) int { return len(a) - len(b) })
		last := crowd[len(crowd)-1]
		for home, list := range at {
			if list[len(list)-1] == last {
				at[home] = list[:len(list)-1]
			}
		}
		t.site.Users[last] = guests[0]
		at[b.Name] = []int{last}
	}
	return nil
}

// home is a user's back end by the hash.
func (t *tour) home(user string) (string, error) {
	w, err := t.pick(0).node.fleet.Where(demo.Pool, user)
	return w.Home, err
}

// guestsOf lists the guests, not among our users, whose home a back end is.
func (t *tour) guestsOf(backend string) ([]string, error) {
	var list []string
	for _, guest := range t.site.Guests {
		home, err := t.home(guest)
		if err != nil {
			return nil, err
		}
		if home == backend && !slices.Contains(t.site.Users, guest) {
			list = append(list, guest)
		}
	}
	return list, nil
}

// checkReady asks /readyz of each usher, as a monitor would.
func (t *tour) checkReady(ctx context.Context) error {
	for _, d := range t.running() {
		status, text, err := d.ready(ctx)
		if err != nil {
			return fmt.Errorf("ask %s for /readyz: %w", d.Name, err)
		}
		t.out.say("   /readyz of %s: %s, %q\n", d.Name, status, text)
		if status != "200 OK" {
			return fmt.Errorf("%s is not ready", d.Name)
		}
	}
	return nil
}

func (d *demoNode) ready(ctx context.Context) (status, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.HTTP.String()+"/readyz", nil)
	if err != nil {
		return "", "", err
	}
	req.Close = true
	answer, err := new(http.Transport).RoundTrip(req) // no proxy, whatever the environment says
	if err != nil {
		return "", "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	return answer.Status, strings.TrimSpace(string(body)), err
}

// everybody logs in through each usher: by TLS from the first byte, and once, at an
// usher that is not the same for all, in capitals by STARTTLS. That session stays
// open.
func (t *tour) everybody(ctx context.Context) error {
	t.out.say("   Each by TLS, which his mail program verifies; at one usher by STARTTLS and with his name in\n" +
		"   capitals. The server says itself who it is, in a mail about that very login.\n\n")
	var rows [][]string
	var errs []error
	for i, user := range t.site.Users {
		row := []string{user}
		for j, d := range t.nodes {
			at, err := "", error(nil)
			if i%len(t.nodes) == j {
				at, err = t.sitDown(ctx, d, user)
			} else {
				at, err = t.visit(ctx, d, user)
			}
			if err != nil {
				return err
			}
			row = append(row, at)
		}
		says, err := t.pick(i).node.fleet.Where(demo.Pool, user)
		if err != nil {
			return err
		}
		t.homes[user] = row[1]
		row = append(row, says.Place, says.Home)
		rows = append(rows, row)
		if len(slices.Compact(slices.Clone(row[1:]))) > 1 {
			errs = append(errs, fmt.Errorf("the words about %s differ", user))
		}
	}
	t.out.table("user\tby "+t.nodes[0].Name+"\tby "+t.nodes[1].Name+"\tby "+t.nodes[2].Name+"\tusher says\thome by hash", rows)
	return errors.Join(errs...)
}

// sitDown logs a user in by STARTTLS, with his name in capitals. The session stays
// open.
func (t *tour) sitDown(ctx context.Context, d *demoNode, user string) (backend string, err error) {
	l, err := t.site.LogIn(ctx, demo.Entrance{Address: d.IMAP.String(), StartTLS: true}, strings.ToUpper(user))
	if err != nil {
		return "", err
	}
	t.live[user], t.through[user] = l, d
	return l.Backend, nil
}

// visit logs a user in and out, and returns who served him.
func (t *tour) visit(ctx context.Context, d *demoNode, user string) (backend string, err error) {
	l, err := t.logIn(ctx, d, user)
	if err != nil {
		return "", err
	}
	return l.Backend, l.LogOut(ctx)
}

func (t *tour) logIn(ctx context.Context, d *demoNode, user string) (*demo.Login, error) {
	return t.site.LogIn(ctx, demo.Entrance{Address: d.IMAPS.String()}, user)
}

// weights compares the share of each back end with its due.
func (t *tour) weights(context.Context) error {
	users, names, total := make(map[string]int), make(map[string]int), 0
	for _, home := range t.homes {
		users[home]++
	}
	for i := range sampleNames {
		home, err := t.home(fmt.Sprintf("user%d@%s", i, demo.Domain))
		if err != nil {
			return err
		}
		names[home]++
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

// awaitHealth waits until every usher takes a back end for up, or down, and says
// how long that took.
func (t *tour) awaitHealth(ctx context.Context, backend string, up bool) (time.Duration, error) {
	state := map[bool]place.State{true: place.Up, false: place.Down}[up]
	return t.awaitState(ctx, backend, state)
}

// awaitState waits until every usher has a back end in a state.
func (t *tour) awaitState(ctx context.Context, backend string, state place.State) (time.Duration, error) {
	return t.await(ctx, fmt.Sprintf("all see that %s is %v", backend, state), func() bool {
		for _, d := range t.running() {
			if d.state(backend) != state.String() {
				return false
			}
		}
		return true
	})
}

func (d *demoNode) state(backend string) string {
	for _, p := range d.node.fleet.Status() {
		for _, b := range p.Backends {
			if b.Name == backend {
				return b.State
			}
		}
	}
	return ""
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
