package main_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"usher.example/balancer/admin"
	"usher.example/cmd/internal/dovecot"
)

// crowd are live sessions, one of each user.
type crowd struct {
	s       *site
	clients map[string]*client // by user
	at      map[string]string  // back end by user
	mu      sync.Mutex
	ends    map[string]time.Time // guarded by mu
	watched sync.WaitGroup
}

// together runs do for each name in several goroutines.
func together(names []string, do func(name string)) {
	const workers = 8
	next := make(chan string)
	var wg sync.WaitGroup
	for range min(workers, len(names)) {
		wg.Go(func() {
			for name := range next {
				do(name)
			}
		})
	}
	for _, name := range names {
		next <- name
	}
	close(next)
	wg.Wait()
}

// gather logs n users in, through all doors in turn; those of IMAP go into IDLE.
func gather(t testing.TB, s *site, p *proc, n int) *crowd {
	t.Helper()
	cr := &crowd{s: s, clients: map[string]*client{}, ends: map[string]time.Time{}}
	var users []string
	for i := range n {
		users = append(users, fmt.Sprintf("user%03d", i))
	}
	together(users, func(user string) {
		c := s.enter(doorOf(user), entry{})
		if got := c.login(user, "secret"); c.err != nil || !good(got) {
			t.Errorf("%s: %s %v", user, got, c.err)
		}
		if c.imap() {
			c.command("SELECT INBOX")
			c.send("i IDLE")
			c.until("+ ")
		}
		if c.err != nil {
			t.Errorf("%s: %v", user, c.err)
		}
		cr.mu.Lock()
		defer cr.mu.Unlock()
		cr.clients[user] = c
	})
	t.Cleanup(func() {
		for _, c := range cr.clients {
			c.Close()
		}
		cr.watched.Wait()
	})
	if t.Failed() {
		t.FailNow()
	}
	cr.at = p.places(t, s)
	if len(cr.at) != n {
		t.Fatalf("usher sessions shows %d users, want %d", len(cr.at), n)
	}
	return cr
}

// doorOf spreads users over all doors.
func doorOf(user string) string { return doors[int(user[len(user)-1])%len(doors)] }

// of lists the users at a back end.
func (cr *crowd) of(backend string) []string {
	var users []string
	for user, at := range cr.at {
		if at == backend {
			users = append(users, user)
		}
	}
	slices.Sort(users)
	return users
}

// watch notes when users' sessions end.
func (cr *crowd) watch(users []string) {
	for _, user := range users {
		cr.watched.Go(func() {
			if !cr.clients[user].ended() {
				return
			}
			cr.mu.Lock()
			defer cr.mu.Unlock()
			cr.ends[user] = time.Now()
		})
	}
}

// ended returns how many of the watched sessions have ended, and when the last.
func (cr *crowd) ended() (n int, last time.Time) {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	for _, at := range cr.ends {
		if at.After(last) {
			last = at
		}
	}
	return len(cr.ends), last
}

// places asks the running usher where its users are.
func (p *proc) places(t testing.TB, s *site) map[string]string {
	t.Helper()
	out, err := p.command("sessions", "--json", "--socket", s.socket())
	if err != nil {
		t.Fatalf("usher sessions: %v\n%s", err, out)
	}
	var answer admin.Sessions
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatalf("usher sessions: %v\n%s", err, out)
	}
	at := map[string]string{}
	for _, info := range answer.Sessions {
		if info.User != "" {
			at[info.User] = info.Backend
		}
	}
	return at
}

// alive shows that a session of the crowd goes on.
func (c *client) alive() bool {
	if c.imap() {
		c.send("DONE")
		return strings.HasPrefix(c.until("i "), "i OK") && c.err == nil
	}
	return c.works()
}

// temporary tells whether a verdict says that it is nobody's password.
func temporary(verdict string) bool {
	return strings.HasPrefix(verdict, "NO [UNAVAILABLE]") || strings.HasPrefix(verdict, "-ERR [SYS/TEMP]")
}

// TestBackendDeath kills one of two servers under two hundred sessions. Its own
// end within a second, those of the other stay; the next logins are let in
// elsewhere where storage is shared, and told to wait where it is not; and log
// and metrics agree with what the clients saw.
func TestBackendDeath(t *testing.T) {
	for _, storage := range []string{"shared", "local"} {
		t.Run(storage, func(t *testing.T) {
			const users = 200
			one, two := pair(t, dovecot.Options{})
			s := newSite(t, storage, one, two)
			s.pools[0].health = quickHealth
			p := s.serve()
			cr := gather(t, s, p, users)
			dead, rest := cr.of("mail1"), cr.of("mail2")
			if len(dead) < users/4 || len(rest) < users/4 {
				t.Fatalf("%d and %d users, want them spread", len(dead), len(rest))
			}

			cr.watch(dead)
			start := time.Now()
			one.Kill9(t)
			eventually(t, "the sessions of the dead server end", func() bool { n, _ := cr.ended(); return n == len(dead) })
			_, last := cr.ended()
			t.Logf("%d sessions ended within %v", len(dead), last.Sub(start).Round(time.Millisecond))
			if took := last.Sub(start); took > time.Second {
				t.Errorf("the last session of the dead server ended after %v, want within 1s", took)
			}

			var mu sync.Mutex
			verdicts := map[string]int{}
			again := func(users []string) {
				together(users, func(user string) {
					c := s.enter(doorOf(user), entry{})
					defer c.Close()
					verdict := c.login(user, "secret")
					kind := "other"
					switch {
					case c.err != nil:
						verdict = c.err.Error()
					case good(verdict):
						kind = "ok"
					case temporary(verdict):
						kind = "error"
					}
					mu.Lock()
					defer mu.Unlock()
					if verdicts[kind]++; kind == "other" {
						t.Errorf("%s after the death: %s", user, verdict)
					}
				})
			}
			again(dead[:10]) // before the node may know
			eventually(t, "the server counts as down", func() bool {
				return p.metric(t, "usher_backend_up", `backend="mail1"`) == 0
			})
			t.Logf("first logins: %v", verdicts)
			before := verdicts["ok"]
			again(dead)
			switch got := verdicts["ok"] - before; {
			case storage == "shared" && got != len(dead):
				t.Errorf("%d logins let in elsewhere, want %d: %v", got, len(dead), verdicts)
			case storage == "local" && verdicts["ok"] != 0:
				t.Errorf("%d users of the dead server were let in elsewhere, with local storage", verdicts["ok"])
			}
			together(rest, func(user string) {
				if c := cr.clients[user]; !c.alive() {
					t.Errorf("%s was at the other server, and his session is gone: %v", user, c.err)
				}
			})
			checkCounts(t, p, len(dead), users, verdicts)

			one.Restart(t)
			eventually(t, "the server counts as up", func() bool {
				return p.metric(t, "usher_backend_up", `backend="mail1"`) == 1
			})
			clear(verdicts)
			again(dead)
			if verdicts["ok"] != len(dead) {
				t.Errorf("after the restart: %v, want all %d let in", verdicts, len(dead))
			}
		})
	}
}

// checkCounts compares metrics and log with what the clients saw: ended sessions,
// first logins, and later verdicts.
func checkCounts(t *testing.T, p *proc, ended, first int, verdicts map[string]int) {
	t.Helper()
	lines := p.log.await(t, ` msg=session .* end=server_(closed|lost) `, ended)
	if len(lines) != ended {
		t.Errorf("log: %d sessions ended by the server, want %d", len(lines), ended)
	}
	got := p.metric(t, "usher_session_ends_total", `end="server_closed"`) + p.metric(t, "usher_session_ends_total", `end="server_lost"`)
	if int(got) != ended {
		t.Errorf("metrics: %v sessions ended by the server, want %d", got, ended)
	}
	for result, want := range map[string]int{"ok": first + verdicts["ok"], "error": verdicts["error"], "failed": 0} {
		if got := p.metric(t, "usher_auth_total", `result="`+result+`"`); int(got) != want {
			t.Errorf("metrics: %v logins %q, want %d", got, result, want)
		}
	}
	if got := len(p.log.lines(`-login: .*login not possible: `)); got != verdicts["error"] {
		t.Errorf("log: %d logins not possible, want %d", got, verdicts["error"])
	}
	if got := p.log.lines(`auth failed`); len(got) > 0 {
		t.Errorf("log: a fault looks like a wrong password: %s", got[0])
	}
}
