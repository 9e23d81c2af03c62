package main_test

import (
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"usher.example/cmd/internal/dovecot"
)

// listedUp is what "backend list" says when mail2's probes have been answered. An
// order that adds a back end does not wait for them.
var listedUp = regexp.MustCompile(`(?m)^main +mail2 +\d+ +active +up +up `)

// A node that is alone takes the same orders, and has what was added after a restart.
func TestAddedAlone(t *testing.T) {
	t.Parallel()
	storage, authority := dovecot.NewStorage(t), dovecot.NewAuthority(t)
	var servers []*dovecot.Server
	for _, name := range []string{"mail1", "mail2"} {
		servers = append(servers, dovecot.Start(t, dovecot.Options{Name: name, Storage: storage, Authority: authority, RequireTLS: true}))
	}
	s := newSite(t, "shared", servers[0])
	s.head += fmt.Sprintf("[fleet]\nstate_dir = %q\nkick_delay = \"0s\"\n", s.file("state"))
	p := s.serve()
	second := proxied("mail2", servers[1])
	give := func(args ...string) string {
		t.Helper()
		out, err := p.command(append(args, "--socket", s.socket())...)
		if err != nil {
			t.Fatalf("usher %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return out
	}
	give("backend", "add", "mail2", "--host", second.host, "--imap-port", portOf(t, second.imap), "--pop3-port", portOf(t, second.pop3))
	for round := range 2 {
		eventually(t, "mail2 is up", func() bool { return listedUp.MatchString(give("backend", "list")) })
		give("user", "pin", "joe", "mail2")
		c := enter(t, s, "imaps", entry{})
		if got := c.login("joe", "secret"); !good(got) {
			t.Fatalf("round %d: %q %v", round, got, c.err)
		}
		if out := give("sessions", "--backend", "mail2"); !strings.Contains(out, "1 of 1 session") {
			t.Errorf("round %d: %s", round, out)
		}
		c.logout()
		c.Close()
		if round == 0 {
			p.signal(syscall.SIGTERM)
			p.wait()
			p = s.serve()
		}
	}
	eventually(t, "nobody is left", func() bool {
		out, err := p.command("backend", "remove", "mail2", "--socket", s.socket())
		if err != nil && !strings.Contains(out, "has 1 users") {
			t.Fatalf("%v: %s", err, out)
		}
		return err == nil
	})
	if out := give("backend", "list"); strings.Contains(out, "command") {
		t.Errorf("after the removal:\n%s", out)
	}
}
