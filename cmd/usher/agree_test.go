package main_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"usher.example/cmd/internal/dovecot"
)

const (
	// agreeHog may have no more sessions at a time.
	agreeHog = 20

	// agreeDoor is how many sessions the listener has room for that is full.
	agreeDoor = 3

	// agreeHealth finds a dead server soon and does not mind a busy machine.
	agreeHealth = "interval = \"3s\"\nfast_interval = \"300ms\"\ntimeout = \"3s\"\nrise = 1\nfall = 3\n"
)

// An agreement is a run whose witnesses are to be asked.
type agreement struct {
	*clientele
	t       *testing.T
	p       *proc
	servers []*dovecot.Server
	answer  map[string]int // octets of a Dovecot's yes to a login, by protocol
	live    map[*dovecot.Server]int
	next    atomic.Int64 // addresses given away

	again    int             // wrong passwords given twice to the guard
	besieged map[string]bool // addresses of many who fail
}

func newAgreement(t *testing.T) *agreement {
	t.Helper()
	users := map[string]string{"hog": secretOf("hog")}
	for i := range agreeUsers {
		users[agreeUser(i)] = secretOf(agreeUser(i))
		users[fmt.Sprintf("held%d", i)] = secretOf(fmt.Sprintf("held%d", i))
	}
	o := dovecot.Options{Users: users, Storage: dovecot.NewStorage(t), Authority: dovecot.NewAuthority(t), Extra: bothCounts}
	a := &agreement{t: t, answer: map[string]int{}, live: map[*dovecot.Server]int{}}
	for i := range 3 {
		o.Name = fmt.Sprintf("mail%d", i+1)
		a.servers = append(a.servers, dovecot.Start(t, o))
	}
	text := []byte("From: a@example.org\nSubject: a letter\n\n" + strings.Repeat("What it says, at some length.\n", 200))
	for i := range agreeUsers {
		o.Storage.Deliver(t, agreeUser(i), "", text)
	}
	s := newSite(t, "shared", a.servers...)
	s.head = fmt.Sprintf("drain = \"20s\"\n[log]\nlevel = \"debug\"\n[limits]\nsessions_per_user = %d\ndial_wait = \"50ms\"\n[guard]\nexempt_networks = [\"10.0.0.0/9\"]\n", agreeHog)
	s.listeners = append(s.listeners, listener{name: "extra", protocol: "imap", tls: "starttls", port: portExtra, more: fmt.Sprintf("sessions = %d\n", agreeDoor)})
	for i := range s.listeners {
		s.listeners[i].more += "proxy_networks = [\"127.0.0.0/8\"]\n"
	}
	s.pools[0].health = agreeHealth
	s.pools[0].backends[1].more = "tls = \"none\"\n" // so that a path of its own is counted
	a.p = s.serve()
	good := s.clientTLS()
	good.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	a.clientele = &clientele{s: s, good: good}
	a.measure()
	return a
}

// measure finds how long the line is by which a Dovecot says yes. It counts among what
// a session has sent; usher reads it, and says yes in its own words.
func (a *agreement) measure() {
	a.t.Helper()
	for proto, at := range map[string]string{"imap": a.servers[0].IMAPS, "pop3": a.servers[0].POP3S} {
		conn, err := tls.Dial("tcp", at, &tls.Config{RootCAs: a.servers[0].Authority.Pool})
		if err != nil {
			a.t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		r := bufio.NewReader(conn)
		fmt.Fprint(conn, map[string]string{"imap": "L LOGIN held0 pw-held0\r\n", "pop3": "USER held0\r\nPASS pw-held0\r\n"}[proto])
		for line := ""; !strings.HasPrefix(line, "L OK") && !strings.HasPrefix(line, "+OK Logged in"); a.answer[proto] = len(line) {
			if line, err = r.ReadString('\n'); err != nil {
				a.t.Fatal(err)
			}
		}
		_ = conn.Close()
	}
}

// address is one that nobody had: of those that are exempt from the guard, or not.
func (a *agreement) address(guarded bool) string {
	n := a.next.Add(1)
	second := n >> 16
	if guarded {
		second += 200
	}
	return fmt.Sprintf("10.%d.%d.%d", second, n>>8&255, n&255)
}

// load has so many clients do what scripts say, some at a time.
func (a *agreement) load(clients int) {
	type job struct {
		i    int
		addr string
	}
	jobs := make(chan job)
	var wg sync.WaitGroup
	for range 24 {
		wg.Go(func() {
			for j := range jobs {
				scripts[j.i%len(scripts)](a.clientele, j.i, j.addr, doors[j.i/len(scripts)%len(doors)])
			}
		})
	}
	for _, i := range rand.Perm(clients) {
		jobs <- job{i, a.address(false)}
	}
	close(jobs)
	wg.Wait()
}

// hold logs in and stays.
func (a *agreement) hold(i int, user string) *caller {
	c := a.enter(a.address(false), doors[i%len(doors)])
	if a.must(c, i, user, secretOf(user)) {
		c.shown = "none"
	}
	return c
}

// run is usher's command, which has to go well.
func (a *agreement) run(args ...string) string {
	a.t.Helper()
	out, err := a.p.command(append(args, "--socket", a.s.socket())...)
	if err != nil {
		a.t.Fatalf("usher %v: %v\n%s", args, err, out)
	}
	return out
}

// scrape reads /metrics.
func (a *agreement) scrape() string {
	a.t.Helper()
	status, text := a.p.ask("/metrics")
	if status != 200 {
		a.t.Fatalf("/metrics: %d", status)
	}
	return text
}

// rest waits until everybody has gone but so many who are logged in, and the Dovecots
// have written that down as well.
func (a *agreement) rest(established int) {
	a.t.Helper()
	eventually(a.t, "usher is at rest", func() bool {
		now := series(a.scrape(), "usher_connections", "state")
		return now["login"] == 0 && now["forward"] == established
	})
	open := 0
	if !poll(patience, func() bool {
		open = 0
		for _, srv := range a.servers {
			log := srv.Log()
			open += unended(log) - a.live[srv]
		}
		return open == established
	}) {
		a.t.Fatalf("the Dovecots have %d sessions, want %d", open, established)
	}
}

// guarded has addresses fail that the guard looks at.
func (a *agreement) guarded(addresses int) {
	var wg sync.WaitGroup
	a.again = addresses
	for i := range addresses {
		addr := a.address(true)
		wg.Go(func() {
			user := agreeUser(i)
			c := a.enter(addr, doors[i%len(doors)])
			a.try(c, 0, user, "once")
			a.try(c, 1, user, "once") // the same mistake
			if a.must(c, 2, user, secretOf(user)) {
				c.shown = "none"
			}
			a.leave(c)
		})
	}
	wg.Wait()
}

// besiege has one address fail until it has one try at a time, and crowd then.
func (a *agreement) besiege() {
	addr := a.address(true)
	a.besieged = map[string]bool{addr: true}
	var wg sync.WaitGroup
	for round, n := range []int{4, 4, 12} {
		for i := range n {
			wg.Go(func() {
				c := a.enter(addr, doors[i%len(doors)])
				a.try(c, 0, fmt.Sprintf("nobody-%d-%d", round, i), "guess")
				c.Close()
			})
		}
		wg.Wait()
	}
}

// frozen has clients tear their connections down while the Dovecots cannot answer.
func (a *agreement) frozen(clients int) {
	a.t.Helper()
	placed := func() int { return series(a.scrape(), "usher_placements_total").sum() }
	for _, srv := range a.servers {
		srv.Freeze(a.t)
	}
	before := placed()
	var cs []*caller
	for i := range clients {
		c := a.enter(a.address(false), doors[i%len(doors)])
		c.ask(agreeUser(i))
		cs = append(cs, c)
	}
	eventually(a.t, "they are placed", func() bool { return placed() >= before+clients })
	for _, c := range cs {
		c.reset()
	}
	for _, srv := range a.servers {
		srv.Thaw(a.t)
	}
}

// limits has a user and a listener reach their limits.
func (a *agreement) limits() {
	a.t.Helper()
	var in []*caller
	for i := range agreeHog {
		in = append(in, a.hold(i, "hog"))
	}
	for i := range 4 {
		c := a.enter(a.address(false), doors[i])
		if a.try(c, i, "hog", secretOf("hog")) {
			a.fault("a user has more than %d sessions", agreeHog)
		}
		c.shown = "client_quit"
		a.leave(c)
	}
	for i := range agreeDoor {
		c := a.enter(a.address(false), "extra")
		if a.must(c, i, "held0", secretOf("held0")) {
			c.shown = "none"
		}
		in = append(in, c)
	}
	for range 3 {
		c, _ := a.dial(a.address(false), "extra", true)
		c.listen()
		c.until("* BYE")
		c.shown = "limit"
		c.Close()
	}
	for _, c := range in {
		a.leave(c)
	}
}

// TestFiguresAgree: what is counted is what was logged, by usher and by the back ends,
// and what clients saw: 600 clients, with USHER_LONG 14,000 with 10,000 logins, who do all that clients do,
// amid a reload, a drain, moves, kicks and a back end that is killed.
func TestFiguresAgree(t *testing.T) {
	require(t)
	clients := 600
	if long() {
		clients = 14000
	} else {
		t.Parallel()
	}
	a := newAgreement(t)
	began := time.Now()
	lap := func(what string) { t.Logf("%6.1f s: %s", time.Since(began).Seconds(), what) }
	a.guarded(6)
	lap("guarded")
	if long() {
		a.besiege()
	}
	a.load(clients / 4)
	lap("first load")

	// A reload, kicks and moves under load.
	var kicked, moved []*caller
	for i := range 8 {
		kicked = append(kicked, a.hold(i, fmt.Sprintf("held%d", 10+i)))
		moved = append(moved, a.hold(i, fmt.Sprintf("held%d", 20+i)))
	}
	done := make(chan struct{})
	go func() { defer close(done); a.load(clients / 4) }()
	a.s.listeners[0].more += "\n"
	a.s.write()
	a.p.signal(syscall.SIGHUP)
	for i := range kicked {
		a.run("kick", "--user", fmt.Sprintf("held%d", 10+i))
		a.run("user", "move", fmt.Sprintf("held%d", 20+i), "mail3")
	}
	<-done
	gone := 0
	for _, c := range append(kicked, moved...) {
		if c.works() {
			a.leave(c)
			continue
		}
		c.Close()
		gone++
	}
	lap("kicks and moves")
	a.run("backend", "drain", "mail3")
	a.limits()
	a.load(clients / 6)
	a.run("backend", "activate", "mail3")
	lap("limits and a drain")
	a.frozen(8)
	lap("frozen")

	// A back end dies with those who are there, and comes again.
	a.rest(0)
	var held []*caller
	for i := range 24 {
		held = append(held, a.hold(i, fmt.Sprintf("held%d", 40+i)))
	}
	a.rest(len(held))
	victim := a.servers[1]
	victim.Kill9(t)
	a.outage(30)
	lap("outage")
	victim.Restart(t)
	for _, c := range held {
		if c.works() {
			a.leave(c)
		}
		c.Close()
	}
	a.lose(victim)
	eventually(t, "all are up", func() bool {
		return series(a.scrape(), "usher_backend_up", "backend").sum() == len(a.servers)
	})
	lap("all are up")
	a.load(max(clients-len(a.all), 1))
	a.rest(0)
	took := time.Since(began)
	a.compare(gone)
	t.Logf("%d connections in %v", len(a.all), took.Round(time.Millisecond))
	for _, w := range a.wrong {
		t.Error(w)
	}
}

// outage has users log in while one back end is dead: they get in or are told to come
// again.
func (a *agreement) outage(clients int) {
	for i := range clients {
		c := a.enter(a.address(false), doors[i%len(doors)])
		if a.try(c, i, agreeUser(i), secretOf(agreeUser(i))) {
			c.shown = "none"
		} else {
			c.shown = "client_quit"
		}
		a.leave(c)
	}
}

// lose says that sessions of a Dovecot that was killed have no end in its log.
func (a *agreement) lose(srv *dovecot.Server) {
	a.live[srv] = unended(srv.Log())
}

// unended counts the sessions of a Dovecot that have no last line.
func unended(log string) int {
	return strings.Count(log, "-login: Info: Login: ") - strings.Count(log, " out=")
}

// eventsOf are the codes of what `usher events` shows.
func (a *agreement) eventsOf() figures {
	f := figures{}
	for line := range strings.Lines(a.run("events", "--json", "--limit", "2048")) {
		var e struct {
			Event string `json:"event"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			a.t.Fatalf("%v: %s", err, line)
		}
		f.add(1, e.Event)
	}
	return f
}
