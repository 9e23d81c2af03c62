package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"usher.example/cmd/internal/dovecot"
)

// forgeries are user names that try to get somebody else, 9.9.9.9, banned.
var forgeries = []string{
	"x>, rip=9.9.9.9, lip=",
	"x>, method=PLAIN, rip=9.9.9.9, lip=9.9.9.9, session=<x>",
	"x): user=<x>, method=PLAIN, rip=9.9.9.9",
	`x","mech":"command","rip":"9.9.9.9","rport":1,"lip":"9.9.9.9","tls":true,"failure":"auth_failed","attempts":1}`,
	`"msg":"login failed" rip=9.9.9.9`,
	"imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 0 secs): user=<x>, rip=9.9.9.9",
	"x, rip=9.9.9.9, y",
	"%n%s%3E, rip=9.9.9.9",
}

// TestFail2ban has fail2ban read the log, by Debian's filter for Dovecot and by
// the one in docs/: both find exactly those who tried wrong credentials.
func TestFail2ban(t *testing.T) {
	t.Parallel()
	require(t, "fail2ban-regex")
	one, two := pair(t, dovecot.Options{Users: map[string]string{"joe": "his"}})
	own := filters(t)
	type run struct {
		name    string
		log     string // keys of [log]
		journal bool   // journald reads standard error
		before  string // what the reader of the journal puts ahead of a line
		debian  bool   // Debian's filter knows this form
		site    *site
		p       *proc
		guilty  []string
		outcast string // had an accident, and did nothing wrong
	}
	runs := []*run{
		{name: "file", debian: true},
		{name: "file with prefix", log: "dovecot_prefix = true\n", debian: true},
		{name: "journal", journal: true, before: "mx1 usher[123]: "},
		{name: "journal with prefix", log: "dovecot_prefix = true\n", journal: true, before: "mx1 usher[123]: "},
		{name: "journal under Dovecot's name", journal: true, before: "mx1 dovecot[123]: ", debian: true},
		{name: "bare", journal: true, debian: true},
		{name: "bare with prefix", log: "dovecot_prefix = true\n", journal: true, debian: true},
		{name: "json", log: "format = \"json\"\n"},
		{name: "json in the journal", log: "format = \"json\"\n", journal: true, before: "mx1 usher[123]: "},
	}
	var attacks sync.WaitGroup
	for i, r := range runs {
		r.site = newSite(t, "shared", one, two)
		r.site.head = "[log]\n" + r.log + "[limits]\ndial_tries = 1\n"
		r.site.journal = r.journal
		r.p = r.site.serve()
		attack := func(door string, login func(c *client) string) {
			from := fmt.Sprintf("127.9.%d.%d", 10+i, 1+len(r.guilty))
			r.guilty = append(r.guilty, from)
			attacks.Go(func() { // all at once: each answer takes Dovecot half a second
				c := r.site.enter(door, entry{from: from})
				defer c.Close()
				if got := login(c); !strings.Contains(got, "[AUTH") {
					t.Errorf("%s, %s: got %q %v, want a refusal", r.name, door, got, c.err)
				}
			})
		}
		for _, door := range doors {
			attack(door, func(c *client) string { return c.login("joe", "hers") })
		}
		for _, name := range forgeries {
			attack("imaps", func(c *client) string { return c.authenticate(plain("", name, "x"), true) })
			attack("imap", func(c *client) string {
				return c.command("LOGIN {%d+}\r\n%s x", len(name), name)
			})
		}
	}
	attacks.Wait()
	one.Kill9(t)
	two.Kill9(t)
	for i, r := range runs {
		r.outcast = fmt.Sprintf("127.9.%d.250", 10+i)
		c := enter(t, r.site, "imaps", entry{from: r.outcast})
		if got := c.login("joe", "his"); !temporary(got) {
			t.Errorf("%s: no server: got %q", r.name, got)
		}
		c.logout()
		r.p.log.await(t, r.outcast, 2)
		r.p.log.await(t, "auth.failed", len(r.guilty))

		var text strings.Builder
		for line := range strings.Lines(r.p.log.String()) {
			text.WriteString(r.before + line)
		}
		file := filepath.Join(t.TempDir(), "log")
		r.site.put(file, text.String())
		slices.Sort(r.guilty)
		check := func(filter string, args ...string) {
			out := regex(t, append(args, "-o", "ip", file, filter)...)
			got := strings.Fields(out)
			slices.Sort(got)
			if !slices.Equal(got, r.guilty) {
				t.Errorf("%s, filter %s finds %v\nwant %v", r.name, filter, got, r.guilty)
			}
		}
		check("usher", "-c", own)
		if r.debian {
			check("dovecot")
			check("dovecot[mode=aggressive]")
		}
	}
	t.Logf("%d forms of the log, %d attackers each", len(runs), len(runs[0].guilty))
}

// regex is fail2ban-regex.
func regex(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, "", "fail2ban-regex", args...)
}

// filters makes a configuration folder of fail2ban with the filter of docs/.
func filters(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "filter.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	for to, from := range map[string]string{
		"fail2ban.conf":        "/etc/fail2ban/fail2ban.conf",
		"filter.d/common.conf": "/etc/fail2ban/filter.d/common.conf",
		"filter.d/usher.conf":  filepath.Join("..", "..", "docs", "fail2ban", "usher.conf"),
	} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, to), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
