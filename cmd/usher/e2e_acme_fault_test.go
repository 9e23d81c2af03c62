package main_test

import (
	"crypto/x509"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"usher.example/balancer/certs/pebble"
)

// A fault of the CA, and what the node is to say of it.
type fault struct {
	what         string
	said, advice string // a pattern, and a text
	quiet        bool   // the log has said it in this hour
}

// suffers wants what is served to stay, by all doors, with logins; and the log, the
// list and who asks for a renewal to hear what is wrong and what to do. Nothing of it
// makes the node unready.
func (a *automatic) suffers(t testing.TB, f fault, served map[string]*x509.Certificate) {
	t.Helper()
	name, said := a.names[0], regexp.MustCompile(f.said)
	stays := func(when string) {
		t.Helper()
		for what, leaf := range a.shown(t) {
			if !leaf.Equal(served[what]) {
				t.Errorf("%s, %s: another certificate is served", f.what, when)
			}
		}
	}
	if !f.quiet {
		line := a.p.log.await(t, `level=WARN msg="certificate not obtained" name=`+name+`.*`+f.said, 1)[0]
		if !strings.Contains(field(line, "do"), f.advice) || field(line, "served") == "" || field(line, "again") == "" {
			t.Errorf("%s: the log says %s", f.what, line)
		}
	}
	stays("before a renewal")
	out, err := a.usher("cert", "renew", name, "--force")
	if err == nil || !said.MatchString(out) || !strings.Contains(out, f.advice) {
		t.Errorf("%s: usher cert renew: %v, %s, want %q and %q", f.what, err, out, f.said, f.advice)
	}
	a.p.log.await(t, `level=WARN msg="the order to renew a certificate came to nothing" name=`+name+`.*`+f.said, 1)
	stays("after one was tried")
	out = a.must(t, "cert", "show", name)
	if !said.MatchString(out) || !strings.Contains(out, f.advice) {
		t.Errorf("%s: usher cert show: want %q and %q in\n%s", f.what, f.said, f.advice, out)
	}
	if out, err := a.usher("cert", "list", "--check"); err == nil {
		t.Errorf("%s: usher cert list --check finds nothing: %s", f.what, out)
	}
	a.ready(t)
	a.logsIn(t, f.what)
}

// logsIn logs in by all doors.
func (a *automatic) logsIn(t testing.TB, when string) {
	t.Helper()
	for _, door := range doors {
		c := a.enter(door, entry{}) // by the certificate of the files
		if verdict := c.login("joe", "secret"); !good(verdict) {
			t.Errorf("%s: a login by %s: %s, %v", when, door, verdict, c.err)
		}
		c.Close()
	}
}

// renews renews all names by order, and returns what is served then.
func (a *automatic) renews(t testing.TB, what string, served map[string]*x509.Certificate) map[string]*x509.Certificate {
	t.Helper()
	for _, name := range a.names {
		a.must(t, "cert", "renew", name, "--force")
	}
	now := a.shown(t)
	for name, leaf := range now {
		if old := served[name]; old != nil && leaf.Equal(old) {
			t.Errorf("%s is over: %s is not renewed", what, name)
		}
	}
	for _, c := range a.obtained(t) {
		if c.Problem != "" {
			t.Errorf("%s is over: %v still has the problem %q", what, c.Names, c.Problem)
		}
	}
	return now
}

// TestACMEFaults goes through what CAs do to a node: whatever it is, what is served
// stays and the node says what to do; when it is over a renewal succeeds.
func TestACMEFaults(t *testing.T) {
	t.Parallel()
	pebble.Require(t)
	srv := newServer(t)
	frozen := newFrozen(t, srv)

	a := newAutomatic(t, srv, pebble.Options{}, "mail.example.net")
	a.asks(a.ca.Directory, a.ca.CAFile, "http-01", "")
	a.ca.Stop()
	a.p = a.serve()
	down := fault{what: "no CA from the start", said: "connection refused", advice: "nobody listens at the CA's address"}
	line := a.p.log.await(t, `level=WARN msg="certificate not obtained" name=mail.example.net.*`+down.said, 1)[0]
	if !strings.Contains(field(line, "do"), down.advice) || field(line, "served") != "nothing" {
		t.Errorf("no CA from the start: %s", line)
	}
	if out := a.must(t, "cert", "show", a.names[0]); !strings.Contains(out, "there is none yet") || !strings.Contains(out, down.advice) {
		t.Errorf("no CA from the start: usher cert show says\n%s", out)
	}
	a.ready(t)
	a.logsIn(t, down.what)
	a.ca.Restart()
	a.roots = a.ca.Roots()
	if long() { // the first pause is a minute
		if !poll(2*time.Minute, func() bool { _, err := a.shows("imaps", a.trust(a.names[0])); return err == nil }) {
			t.Error("the CA is back, and it is not asked again")
		}
	}
	served := a.renews(t, down.what, nil)

	a.ca.Stop()
	down.what, down.quiet = "the CA is stopped", true
	a.suffers(t, down, served)
	a.ca.Restart() // with another root
	a.roots = a.ca.Roots()
	served = a.renews(t, down.what, served)

	hour := time.Hour
	for _, tt := range []struct {
		fault
		ca *badCA
	}{
		{fault{what: "the CA limits its rate", said: "too many certificates", advice: "the CA limits its rate: wait, it is tried again by itself"}, newBadCA(t, a.site, -hour, hour, "/order", limitsRate)},
		{fault{what: "the CA is a web server", said: "text/html", advice: "that is no ACME server"}, newBadCA(t, a.site, -hour, hour, "/dir", webPage)},
		{fault{what: "the clock is slow", said: "not yet valid: current time [^ ]* is before", advice: "check this machine's clock"}, newBadCA(t, a.site, hour, 2*hour, "/dir", webPage)},
		{fault{what: "the clock is fast", said: "certificate has expired or is not yet valid: current time [^ ]* is after", advice: "check this machine's clock", quiet: true}, newBadCA(t, a.site, -2*hour, -hour, "/dir", webPage)},
	} {
		a.asks(tt.ca.directory, tt.ca.caFile, "http-01", "")
		if line := a.p.reload(t, a.site); !strings.Contains(line, "configuration reloaded") {
			t.Fatalf("%s: %s", tt.what, line)
		}
		a.suffers(t, tt.fault, served)
		if tt.ca.path == "/order" {
			a.leavesAlone(t, tt.ca)
		}
	}
	a.asks(a.ca.Directory, a.ca.CAFile, "http-01", "")
	a.p.reload(t, a.site)
	eventually(t, "the CA that gave the certificate has no problem", func() bool {
		return !slices.ContainsFunc(a.obtainedProblems(t), func(p string) bool { return p != "" })
	})
	a.renews(t, "bad CAs", served)
	frozen(t)
}

// obtainedProblems are those of the obtained certificates.
func (a *automatic) obtainedProblems(t testing.TB) (list []string) {
	t.Helper()
	for _, c := range a.obtained(t) {
		list = append(list, c.Problem)
	}
	return list
}

// leavesAlone: a CA that said for how long is not asked before, unless an administrator
// means it.
func (a *automatic) leavesAlone(t testing.TB, ca *badCA) {
	t.Helper()
	before := ca.orders.Load()
	if _, err := a.usher("cert", "renew", a.names[0], "--force"); err == nil || ca.orders.Load() == before {
		t.Errorf("an administrator's order was not given to the CA (%v)", err)
	}
	before = ca.orders.Load()
	out, err := a.usher("cert", "renew", a.names[0])
	if err == nil || !strings.Contains(out, "(not before ") || ca.orders.Load() != before {
		t.Errorf("it is asked %d times more: %v, %s", ca.orders.Load()-before, err, out)
	}
}
