package main_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"usher.example/cmd/internal/dovecot"
)

// A presence is a user on a server, by the server's own log.
type presence struct {
	user, server, session string
	from, to              time.Time // no to: he is there
}

// Lines of Dovecot's log. The first two are the beginning and the end of a
// session, which has a name of its own.
var (
	cameLine  = regexp.MustCompile(`^(\S+ \S+) (?:imap|pop3)-login: Info: Login: user=<([^>]*)>.*session=<([^>]*)>`)
	wentLine  = regexp.MustCompile(`^(\S+ \S+) (?:imap|pop3)\(([^)]*)\)<[^>]*><([^>]*)>: Info: (?:Logged out|Disconnected|Connection closed)`)
	stampForm = "2006-01-02 15:04:05.999999"
)

// presences reads a log; at the times of kills all sessions ended. Several
// processes write it, so that a short session may end in it before it begins.
func presences(server, log string, kills []time.Time) []presence {
	var list []presence
	ends := map[string]time.Time{}
	for line := range strings.Lines(log) {
		m, came := cameLine.FindStringSubmatch(line), true
		if m == nil {
			m, came = wentLine.FindStringSubmatch(line), false
		}
		if m == nil {
			continue
		}
		at, err := time.ParseInLocation(stampForm, m[1], time.Local)
		switch {
		case err != nil:
		case came:
			list = append(list, presence{m[2], server, m[3], at, time.Time{}})
		default:
			ends[m[3]] = at
		}
	}
	for i := range list {
		p := &list[i]
		if end, ok := ends[p.session]; ok {
			p.to = later(end, p.from)
			continue
		}
		for _, at := range kills {
			if at.After(p.from) {
				p.to = at
				break
			}
		}
	}
	return list
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// overlaps lists who was on two servers at once.
func overlaps(list []presence) []string {
	var bad []string
	byUser := map[string][]presence{}
	for _, p := range list {
		byUser[p.user] = append(byUser[p.user], p)
	}
	for _, user := range slices.Sorted(maps.Keys(byUser)) {
		ps := byUser[user]
		slices.SortFunc(ps, func(a, b presence) int { return a.from.Compare(b.from) })
		for i, a := range ps {
			for _, b := range ps[i+1:] {
				if a.server != b.server && (a.to.IsZero() || b.from.Before(a.to)) {
					bad = append(bad, fmt.Sprintf("%s: at %s from %s to %s, and at %s from %s", user,
						a.server, a.from.Format(stampForm), a.to.Format(stampForm), b.server, b.from.Format(stampForm)))
				}
			}
		}
	}
	return bad
}

// presences reads the logs of all servers.
func (r *rig) presences() []presence {
	var list []presence
	for i, s := range r.servers {
		list = append(list, presences(fmt.Sprintf("mail%d", i+1), s.Log(), r.killed[s])...)
	}
	return list
}

// checkPresence fails the test if a user was on two servers at once, or if the
// logs have fewer logins than the test made. Dovecot writes after it has answered.
func (r *rig) checkPresence(logins int) {
	r.t.Helper()
	var list []presence
	eventually(r.t, "every login is in a server's log", func() bool {
		list = r.presences()
		return len(list) >= logins
	})
	for _, bad := range overlaps(list) {
		r.t.Errorf("two back ends at once: %s", bad)
	}
}

// at lists the servers where a user has ever been.
func (r *rig) at(user string) []string {
	var list []string
	for _, p := range r.presences() {
		if p.user == user && !slices.Contains(list, p.server) {
			list = append(list, p.server)
		}
	}
	return list
}

// stays lists where a user has been, one after the other.
func (r *rig) stays(user string) []presence {
	ps := slices.DeleteFunc(r.presences(), func(p presence) bool { return p.user != user })
	slices.SortFunc(ps, func(a, b presence) int { return a.from.Compare(b.from) })
	return ps
}

// last waits for the user's n-th login and says where it was.
func (r *rig) last(user string, n int) string {
	r.t.Helper()
	var ps []presence
	eventually(r.t, fmt.Sprintf("login %d of %s is in a server's log", n, user), func() bool {
		ps = r.stays(user)
		return len(ps) >= n
	})
	return ps[len(ps)-1].server
}

// TestPresenceChecker shows that the checker of the other tests can fail: a user
// who goes round the fleet to two servers is found out, by the servers' own logs.
func TestPresenceChecker(t *testing.T) {
	storage, authority := dovecot.NewStorage(t), dovecot.NewAuthority(t)
	r := &rig{t: t, killed: map[*dovecot.Server][]time.Time{}}
	s := &site{t: t}
	for i := range 2 {
		srv := dovecot.Start(t, dovecot.Options{Name: fmt.Sprintf("mail%d", i+1), Storage: storage, Authority: authority, Extra: stamped})
		r.servers = append(r.servers, srv)
		s.authority = srv.Authority
	}
	direct := func(i int, user string) *client {
		s.host = r.servers[i].Address.String()
		config := s.clientTLS()
		config.ServerName = "localhost"
		c := enter(t, s, "imaps", entry{port: 10993, tls: config})
		if got := c.login(user, "secret"); !good(got) {
			t.Fatal(got)
		}
		return c
	}
	// One after the other is fine.
	direct(0, "joe").logout()
	r.servers[0].WaitLog(t, `imap\(joe\).*Logged out`)
	direct(1, "joe").logout()
	r.servers[1].WaitLog(t, `imap\(joe\).*Logged out`)
	r.checkPresence(2)
	// A killed server has nobody any more.
	direct(0, "ann")
	r.last("ann", 1)
	r.killServer(0)
	direct(1, "ann")
	r.last("ann", 2)
	if bad := overlaps(r.presences()); len(bad) != 0 {
		t.Errorf("found %q, want nothing", bad)
	}
	// At two at once is not.
	r.servers[0].Restart(t)
	direct(0, "eve")
	direct(1, "eve")
	r.last("eve", 2)
	if bad := overlaps(r.presences()); len(bad) != 1 || !strings.HasPrefix(bad[0], "eve: ") {
		t.Errorf("found %q, want eve at two servers", bad)
	}
}

// TestPresenceLines reads logs that are hard to read.
func TestPresenceLines(t *testing.T) {
	const (
		came = "2026-01-02 10:00:0%d.000000 imap-login: Info: Login: user=<joe>, method=PLAIN, TLS, session=<%s>\n"
		went = "2026-01-02 10:00:0%d.000000 imap(joe)<7><%s>: Info: Disconnected: Connection closed in=0 out=4\n"
	)
	line := func(form string, second int, session string) string { return fmt.Sprintf(form, second, session) }
	killed := time.Date(2026, 1, 2, 10, 0, 5, 0, time.Local)
	for _, tt := range []struct {
		name     string
		one, two string
		kills    []time.Time // of one
		want     int
	}{
		{"one after the other", line(came, 1, "a") + line(went, 2, "a"), line(came, 3, "b"), nil, 0},
		{"at once", line(came, 1, "a") + line(went, 4, "a"), line(came, 3, "b"), nil, 1},
		{"the first does not end", line(came, 1, "a"), line(came, 3, "b"), nil, 1},
		{"the end is written first", line(went, 1, "a") + line(came, 1, "a"), line(came, 3, "b"), nil, 0},
		{"the first is killed", line(came, 1, "a"), line(came, 6, "b"), []time.Time{killed}, 0},
		{"the first is killed too late", line(came, 1, "a"), line(came, 4, "b"), []time.Time{killed}, 1},
		{"it was killed before", line(came, 6, "a"), line(came, 7, "b"), []time.Time{killed}, 1},
	} {
		list := append(presences("one", tt.one, tt.kills), presences("two", tt.two, nil)...)
		if bad := overlaps(list); len(bad) != tt.want {
			t.Errorf("%s: got %q, want %d", tt.name, bad, tt.want)
		}
	}
}
