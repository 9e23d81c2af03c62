package main_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"usher.example/cmd/internal/dovecot"
)

// oddPassword has all that must be escaped somewhere: a quote, a backslash, a
// space, letters of other alphabets, and what looks like a literal.
const oddPassword = `"\ é € {3}`

// strict is a site of users with passwords of their own.
func strict(t testing.TB) (*site, *proc) {
	t.Helper()
	one, two := pair(t, dovecot.Options{
		Users:  map[string]string{"joe": "his", "odd": oddPassword},
		Tokens: map[string]string{"token-joe": "joe"},
	})
	s := newSite(t, "shared", one, two)
	return s, s.serve()
}

// refusals are the answers to wrong credentials, one text for all.
var refusals = map[string]string{
	"imap": "NO [AUTHENTICATIONFAILED] Authentication failed",
	"pop3": "-ERR [AUTH] Authentication failed.",
}

// TestRefusedLogins wants the one answer to all wrong credentials, each counted
// once, and a client that mistyped to get in on the same connection.
func TestRefusedLogins(t *testing.T) {
	s, p := strict(t)
	wrong := []struct {
		name  string
		login func(c *client) string
	}{
		{"command, wrong password", func(c *client) string { return c.login("joe", "hers") }},
		{"command, no such user", func(c *client) string { return c.login("nobody", "his") }},
		{"PLAIN", func(c *client) string { return c.authenticate(plain("", "joe", "hers"), true) }},
		{"PLAIN for somebody else", func(c *client) string { return c.authenticate(plain("joe", "odd", oddPassword), true) }},
		{"LOGIN", func(c *client) string { return c.authenticate(login2("joe", "hers"), false) }},
		{"SCRAM-SHA-1", func(c *client) string { return c.authenticate(scramSHA1("joe", "hers"), true) }},
		{"SCRAM-SHA-256", func(c *client) string { return c.authenticate(scramSHA256("joe", "hers"), false) }},
		{"SCRAM-SHA-256, no such user", func(c *client) string { return c.authenticate(scramSHA256("nobody", "his"), false) }},
		{"XOAUTH2", func(c *client) string { return c.authenticate(xoauth2("joe", "forged"), true) }},
		{"OAUTHBEARER", func(c *client) string { return c.authenticate(oauthbearer("joe", "forged"), false) }},
		{"OAUTHBEARER of somebody else", func(c *client) string { return c.authenticate(oauthbearer("odd", "token-joe"), true) }},
	}
	// All at once: each answer takes Dovecot half a second.
	n := 0
	var wg sync.WaitGroup
	for _, door := range doors {
		for _, tt := range wrong {
			n++
			wg.Go(func() {
				c := s.enter(door, entry{})
				defer c.Close()
				if got, want := tt.login(c), refusals[c.protocol]; got != want {
					t.Errorf("%s, %s: got %q, want %q", door, tt.name, got, want)
				}
				if got := c.login("joe", "his"); !good(got) {
					t.Errorf("%s, %s: right password on the same connection: got %q", door, tt.name, got)
				}
				if c.logout(); c.err != nil {
					t.Errorf("%s, %s: %v", door, tt.name, c.err)
				}
			})
		}
	}
	wg.Wait()
	p.log.await(t, `\(auth failed, 1 attempts in \d+ secs\): user=<`, n)
	if got := p.metric(t, "usher_auth_total", `result="failed"`); int(got) != n {
		t.Errorf("metrics count %v refused logins, want %d", got, n)
	}
	if got := p.metric(t, "usher_auth_total", `result="error"`); got != 0 {
		t.Errorf("metrics count %v faulty logins, want none", got)
	}
}

// TestCancel has clients give up at every step, and log in afterwards.
func TestCancel(t *testing.T) {
	s, p := strict(t)
	for _, tt := range []struct {
		name   string
		mech   func() *mechanism
		early  bool
		failed bool // it is known by then that the credentials are wrong
	}{
		{"PLAIN", func() *mechanism { return plain("", "joe", "his").cancelling(1) }, false, false},
		{"LOGIN at the name", func() *mechanism { return login2("joe", "his").cancelling(1) }, false, false},
		{"LOGIN at the password", func() *mechanism { return login2("joe", "his").cancelling(2) }, true, false},
		{"SCRAM at once", func() *mechanism { return scramSHA256("joe", "his").cancelling(1) }, false, false},
		{"SCRAM at the salt", func() *mechanism { return scramSHA1("joe", "his").cancelling(2) }, true, false},
		{"XOAUTH2 at once", func() *mechanism { return xoauth2("joe", "token-joe").cancelling(1) }, false, false},
		{"XOAUTH2 at the refusal", func() *mechanism { return xoauth2("joe", "forged").cancelling(2) }, true, true},
		{"OAUTHBEARER at the refusal", func() *mechanism { return oauthbearer("joe", "forged").cancelling(2) }, false, true},
	} {
		for _, door := range []string{"imaps", "pop3"} {
			t.Run(door+"/"+tt.name, func(t *testing.T) {
				before := len(p.log.lines(`\(auth failed, `))
				c := enter(t, s, door, entry{})
				got := c.authenticate(tt.mech(), tt.early)
				c.must(t)
				want := map[string]string{"imap": "BAD ", "pop3": "-ERR "}[c.protocol]
				if !strings.HasPrefix(got, want) || strings.Contains(got, "[AUTH") {
					t.Errorf("got %q, want %s without a verdict", got, want)
				}
				if got := c.login("joe", "his"); !good(got) {
					t.Errorf("login afterwards: got %q", got)
				}
				c.logout()
				c.must(t)
				// Whoever knows the verdict cannot hide his guess by giving up.
				if got := len(p.log.lines(`\(auth failed, `)) - before; got > 0 != tt.failed {
					t.Errorf("%d failed logins in the log, want some: %v", got, tt.failed)
				}
			})
		}
	}
}

// TestArguments sends names and passwords in all forms that there are.
func TestArguments(t *testing.T) {
	s, _ := strict(t)
	quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(oddPassword) + `"`
	n := len(oddPassword)
	for _, tt := range []struct {
		name  string
		parts []string // each but the last waits for a "+"
	}{
		{"atom and quoted", []string{"a LOGIN odd " + quoted}},
		{"quoted both", []string{`a LOGIN "odd" ` + quoted}},
		{"literal password", []string{fmt.Sprintf("a LOGIN odd {%d}", n), oddPassword}},
		{"literals both", []string{"a LOGIN {3}", fmt.Sprintf("odd {%d}", n), oddPassword}},
		{"literal name", []string{"a LOGIN {3}", "odd " + quoted}},
		{"literal+ password", []string{fmt.Sprintf("a LOGIN odd {%d+}\r\n%s", n, oddPassword)}},
		{"literal+ both", []string{fmt.Sprintf("a LOGIN {3+}\r\nodd {%d+}\r\n%s", n, oddPassword)}},
		{"literal then literal+", []string{"a LOGIN {3}", fmt.Sprintf("odd {%d+}\r\n%s", n, oddPassword)}},
		{"lower case", []string{"a login odd " + quoted}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := enter(t, s, "imaps", entry{})
			for i, part := range tt.parts {
				if i > 0 {
					c.until("+ ")
				}
				c.send("%s", part)
			}
			if got := c.until("a "); !strings.HasPrefix(got, "a OK ") {
				t.Errorf("got %q", got)
			}
			c.must(t)
			c.logout()
			c.must(t)
		})
	}
	for _, door := range doors {
		t.Run("PLAIN/"+door, func(t *testing.T) {
			c := enter(t, s, door, entry{})
			if got := c.authenticate(plain("", "odd", oddPassword), false); !good(got) {
				t.Errorf("got %q", got)
			}
			c.must(t)
		})
	}
	t.Run("PASS", func(t *testing.T) {
		c := enter(t, s, "pop3s", entry{})
		if got := c.login("odd", oddPassword); !good(got) {
			t.Errorf("got %q", got)
		}
		c.must(t)
	})
}
