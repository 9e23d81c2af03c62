package main_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"usher.example/cmd/internal/dovecot"
)

// TestReconnect is Outlook: it opens many connections at once, and all of them
// again as soon as they have dropped. None may find itself elsewhere.
func TestReconnect(t *testing.T) {
	const connections, rounds = 12, 4
	one, two := pair(t, dovecot.Options{})
	s := newSite(t, "shared", one, two)
	p := s.serve()
	for range rounds {
		var wg sync.WaitGroup
		for range connections {
			wg.Go(func() {
				c := s.enter("imaps", entry{from: "127.9.8.7"})
				if got := c.login("joe", "secret"); c.err != nil || !good(got) || !c.works() {
					t.Errorf("%s %v", got, c.err)
				}
				c.Close() // no logout
			})
		}
		wg.Wait()
	}
	lines := p.log.await(t, " msg=session .*result=ok", connections*rounds)
	if places := tally(lines, "backend"); len(places) != 1 {
		t.Errorf("one user was on %v", places)
	}
	eventually(t, "no session is left", func() bool {
		return p.metric(t, "usher_connections") == 0 && p.metric(t, "usher_backend_sessions") == 0
	})
}

// TestIdleOnFolders is Apple Mail and Thunderbird: a connection in IDLE for each
// folder. A delivery wakes the one that it is for.
func TestIdleOnFolders(t *testing.T) {
	one, two := pair(t, dovecot.Options{})
	s := newSite(t, "shared", one, two)
	s.serve()
	folders := []string{"INBOX", "Sent", "Drafts", "Lists"}
	clients := map[string]*client{}
	for _, folder := range folders {
		one.Deliver(t, "joe", folder, []byte("Subject: old\n\n"))
		c := enter(t, s, "imaps", entry{})
		if got := c.login("joe", "secret"); !good(got) {
			t.Fatal(got)
		}
		if got := c.command("SELECT %s", folder); !good(got) {
			t.Fatalf("%s: %s", folder, got)
		}
		c.send("i IDLE")
		c.until("+ ")
		clients[folder] = c
	}
	for _, folder := range slices.Backward(folders) {
		one.Deliver(t, "joe", folder, []byte("Subject: new\n\n"))
		clients[folder].until("* 2 EXISTS")
		clients[folder].must(t)
	}
	for folder, c := range clients {
		if !c.alive() {
			t.Errorf("%s: %v", folder, c.err)
		}
	}
}

// TestCapabilityOnce asks for capabilities before the login and never again, as
// some clients do: they are told once more, untagged, what there is after it.
func TestCapabilityOnce(t *testing.T) {
	one, two := pair(t, dovecot.Options{})
	s := newSite(t, "shared", one, two)
	s.serve()
	for _, door := range []string{"imaps", "imap"} {
		c := enter(t, s, door, entry{})
		c.send("a CAPABILITY")
		before := c.until("* CAPABILITY")
		c.until("a OK")
		for _, want := range []string{"IMAP4rev1", "SASL-IR", "LITERAL+", "IDLE", "AUTH=PLAIN", "AUTH=SCRAM-SHA-256"} {
			if !slices.Contains(strings.Fields(before), want) {
				t.Errorf("%s: no %s before the login: %s", door, want, before)
			}
		}
		c.send("b LOGIN joe secret")
		after := c.until("* CAPABILITY")
		tagged := c.until("b OK")
		c.must(t)
		for _, want := range []string{"IMAP4rev1", "LITERAL+", "IDLE", "CONDSTORE", "SORT"} {
			if !slices.Contains(strings.Fields(after), want) {
				t.Errorf("%s: no %s after the login: %s", door, want, after)
			}
		}
		for _, list := range []string{after, tagged} {
			if strings.Contains(list, "AUTH=") || strings.Contains(list, "STARTTLS") || strings.Contains(list, "LOGINDISABLED") {
				t.Errorf("%s: what is over is listed after the login: %s", door, list)
			}
		}
	}
	c := enter(t, s, "imap", entry{plain: true})
	c.send("a CAPABILITY")
	if got := c.until("* CAPABILITY"); !strings.Contains(got, "STARTTLS") || !strings.Contains(got, "LOGINDISABLED") || strings.Contains(got, "AUTH=") {
		t.Errorf("before TLS: %s", got)
	}
	c.until("a OK")
	if got := c.command("LOGIN joe secret"); !strings.HasPrefix(got, "NO [PRIVACYREQUIRED]") {
		t.Errorf("login before TLS: got %q", got)
	}
}

// TestVanishedClients wants keepalive on both sockets of a session: a telephone
// leaves the network without a word, a server its power.
func TestVanishedClients(t *testing.T) {
	require(t, "ss")
	one, two := pair(t, dovecot.Options{})
	s := newSite(t, "shared", one, two)
	p := s.serve()
	c := enter(t, s, "pop3s", entry{from: "127.9.8.7"})
	if got := c.login("joe", "secret"); !good(got) {
		t.Fatal(got)
	}
	client := c.LocalAddr().String()
	server := one.ProxyPOP3
	if p.places(t, s)["joe"] == "mail2" {
		server = two.ProxyPOP3
	}
	for peer, side := range map[string]string{client: "client", server: "server"} {
		// The timer shows once everything that was sent is acknowledged.
		eventually(t, "keepalive on the "+side+"'s side", func() bool {
			out := run(t, "", "ss", "-tnoH", "state", "established", "dst", peer)
			return strings.Contains(out, "timer:(keepalive,")
		})
	}
}

// TestKick ends a user's sessions by the command that administrators have, in
// any spelling of his name, and nobody else's.
func TestKick(t *testing.T) {
	one, two := pair(t, dovecot.Options{})
	s := newSite(t, "shared", one, two)
	p := s.serve()
	clients := map[string]*client{}
	for i, door := range doors {
		for _, user := range []string{"joe", "ann"} {
			c := enter(t, s, door, entry{})
			if got := c.login(user, "secret"); !good(got) {
				t.Fatal(got)
			}
			clients[user+strconv.Itoa(i)] = c
		}
	}
	out, err := p.command("kick", "--user", "JOE", "--socket", s.socket())
	if err != nil || !strings.Contains(out, fmt.Sprintf("%d sessions ended", len(doors))) {
		t.Errorf("usher kick: %v %s", err, out)
	}
	for name, c := range clients {
		if strings.HasPrefix(name, "joe") && !c.ended() {
			t.Errorf("%s is still there: %v", name, c.err)
		}
		if strings.HasPrefix(name, "ann") && !c.works() {
			t.Errorf("%s is gone too: %v", name, c.err)
		}
	}
	p.log.await(t, " msg=session .*user=joe .*end=kicked", len(doors))
	eventually(t, "metrics count the end", func() bool {
		return p.metric(t, "usher_session_ends_total", `end="killed"`) == float64(len(doors))
	})
	if out, err := p.command("kick", "--user", "joe", "--socket", s.socket()); err == nil {
		t.Errorf("kick of nobody: %s", out)
	}
}
