package main_test

import (
	"crypto/tls"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"usher.example/cmd/internal/dovecot"
)

// A way is a way to log in: a mechanism by a protocol. The verdict is the
// answer's line.
type way struct {
	name  string // as usher counts it
	login func(c *client, user string) string
}

// ways are all that usher knows; a user's token is his name behind "token-".
var ways = []way{
	{"command", func(c *client, user string) string { return c.login(user, "secret") }},
	{"PLAIN", func(c *client, user string) string { return c.authenticate(plain("", user, "secret"), true) }},
	{"LOGIN", func(c *client, user string) string { return c.authenticate(login2(user, "secret"), false) }},
	{"XOAUTH2", func(c *client, user string) string { return c.authenticate(xoauth2(user, "token-"+user), true) }},
	{"OAUTHBEARER", func(c *client, user string) string {
		return c.authenticate(oauthbearer(user, "token-"+user), false)
	}},
	{"SCRAM-SHA-1", func(c *client, user string) string { return c.authenticate(scramSHA1(user, "secret"), false) }},
	{"SCRAM-SHA-256", func(c *client, user string) string { return c.authenticate(scramSHA256(user, "secret"), true) }},
	{"EXTERNAL", func(c *client, _ string) string { return c.authenticate(external(""), true) }},
}

// identified is a site with two or more servers where all mechanisms work, for
// these users.
func identified(t testing.TB, servers int, users []string) (*site, []*dovecot.Server) {
	t.Helper()
	o := dovecot.Options{
		Storage: dovecot.NewStorage(t), Authority: dovecot.NewAuthority(t), RequireTLS: true,
		Masters: map[string]string{"boss": "master-secret"}, Tokens: map[string]string{},
	}
	for _, user := range users {
		o.Tokens["token-"+user] = user
	}
	var srvs []*dovecot.Server
	for i := range servers {
		o.Name = fmt.Sprintf("mail%d", i+1)
		srvs = append(srvs, dovecot.Start(t, o))
	}
	s := newSite(t, "shared", srvs...)
	s.put(s.file("master.secret"), "master-secret\n")
	s.pools[0].more += fmt.Sprintf("master_user = \"boss\"\nmaster_password_file = %q\n", s.file("master.secret"))
	for i := range s.listeners {
		s.listeners[i].more = fmt.Sprintf("client_ca_file = %q\n", s.authority.File)
	}
	return s, srvs
}

// TestPlace logs twenty users in a thousand times, through every door and in
// every way, and wants each on one back end only, by the servers' own logs.
func TestPlace(t *testing.T) {
	t.Parallel()
	const logins, workers = 1000, 8
	var users []string
	for i := range 20 {
		users = append(users, fmt.Sprintf("user%02d", i))
	}
	s, srvs := identified(t, 3, users)
	p := s.serve()
	certs := map[string]*tls.Config{}
	for _, user := range users {
		certs[user] = s.clientTLS(s.authority.Client(t, user))
	}

	next := make(chan int)
	faults := make(chan string, logins)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				user, door, way := users[i%len(users)], doors[i/len(users)%len(doors)], ways[(i+i/80)%len(ways)]
				e := entry{}
				if way.name == "EXTERNAL" {
					e.tls = certs[user]
				}
				c := s.enter(door, e)
				if verdict := way.login(c, user); c.err == nil && !good(verdict) {
					faults <- fmt.Sprintf("%s by %s through %s: %s", user, way.name, door, verdict)
				}
				if c.logout(); c.err != nil {
					faults <- fmt.Sprintf("%s by %s through %s: %v", user, way.name, door, c.err)
				}
			}
		})
	}
	for i := range logins {
		next <- i
	}
	close(next)
	wg.Wait()
	close(faults)
	for fault := range faults {
		t.Error(fault)
	}

	// What the servers saw.
	re := regexp.MustCompile(`-login: Info: Login: user=<([^>]*)>, method=([^,]*),`)
	homes := map[string]map[string]int{} // user -> server -> logins
	eventually(t, "every login is in a server's log", func() bool {
		clear(homes)
		n := 0
		for i, srv := range srvs {
			for _, m := range re.FindAllStringSubmatch(srv.Log(), -1) {
				if homes[m[1]] == nil {
					homes[m[1]] = map[string]int{}
				}
				homes[m[1]][fmt.Sprintf("mail%d", i+1)]++
				n++
			}
		}
		return n >= logins
	})
	used := map[string]int{}
	for _, user := range users {
		if len(homes[user]) != 1 {
			t.Errorf("%s logged in at %v, want one server", user, homes[user])
		}
		for srv, n := range homes[user] {
			used[srv]++
			if n != logins/len(users) {
				t.Errorf("%s: %d logins at %s, want %d", user, n, srv, logins/len(users))
			}
		}
	}
	if len(homes) != len(users) || len(used) < 2 {
		t.Errorf("users %v on servers %v; want %d users, and not all on one", slices.Sorted(maps.Keys(homes)), used, len(users))
	}
	t.Logf("users by server: %v", used)

	// What usher counted: each way as often as it was gone.
	lines := p.log.await(t, ` msg=session .*result=ok`, logins)
	got, total := tally(lines, "mech"), 0.0
	for _, way := range ways {
		n := p.metric(t, "usher_auth_total", `mech="`+way.name+`"`, `result="ok"`)
		total += n
		if int(n) != got[way.name] || n < logins/float64(len(ways))*0.9 {
			t.Errorf("%s: %d session lines, %v in metrics; want about %d", way.name, got[way.name], n, logins/len(ways))
		}
	}
	if total != logins {
		t.Errorf("metrics count %v logins, want %d", total, logins)
	}
	for _, line := range lines {
		if user := field(line, "user"); homes[user][field(line, "backend")] == 0 {
			t.Errorf("usher says that %s was at %s: %s", user, field(line, "backend"), line)
		}
	}
	for door, n := range tally(lines, "listener") {
		if n < logins/len(doors)*9/10 {
			t.Errorf("%d logins through %s, want about %d", n, door, logins/len(doors))
		}
	}
}

// TestSpelling wants one place for all spellings of a name, and the back end to
// get the name as it was written.
func TestSpelling(t *testing.T) {
	s, srvs := identified(t, 3, nil)
	s.head += "[users]\ndefault_domain = \"example.org\"\n"
	p := s.serve()
	spellings := []string{"joe", "Joe", "JOE", "joe@example.org", "joe@EXAMPLE.org"}
	for i, user := range spellings {
		c := enter(t, s, doors[i%len(doors)], entry{})
		if got := c.login(user, "secret"); !good(got) {
			t.Errorf("%s: %s", user, got)
		}
		c.logout()
	}
	lines := p.log.await(t, ` msg=session .*result=ok`, len(spellings))
	if places := tally(lines, "backend"); len(places) != 1 {
		t.Errorf("spellings of one name are at %v, want one back end", places)
	}
	// Dovecot writes names in lower case, and knows no default domain here.
	for i, srv := range srvs {
		for _, line := range srv.Logged("Login: user=") {
			if !strings.Contains(line, "user=<joe>") && !strings.Contains(line, "user=<joe@example.org>") {
				t.Errorf("mail%d: %s", i+1, line)
			}
		}
	}
}
