package main_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"usher.example/cmd/internal/dovecot"
)

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
	give("backend", "weight", "mail2", "7")
	for round := range 3 {
		if out := give("backend", "list"); !strings.Contains(out, "mail2     7*") {
			t.Errorf("round %d: the weight that was set is lost:\n%s", round, out)
		}
		eventually(t, "joe is pinned", func() bool { // mail2 has answered its first probes
			_, err := p.command("user", "pin", "joe", "mail2", "--socket", s.socket())
			return err == nil
		})
		c := enter(t, s, "imaps", entry{})
		if got := c.login("joe", "secret"); !good(got) {
			t.Fatalf("round %d: %q %v", round, got, c.err)
		}
		if out := give("sessions", "--backend", "mail2"); !strings.Contains(out, "1 of 1 session") {
			t.Errorf("round %d: %s", round, out)
		}
		c.logout()
		c.Close()
		switch round { // the second time what is in no snapshot has to be read from the log
		case 0:
			p.signal(syscall.SIGKILL)
			<-p.done
			p.err = nil // as was asked
			p = s.serve()
		case 1:
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
