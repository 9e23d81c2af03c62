package main_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"usher.example/cmd/internal/dovecot"
)

// TestSessionLines wants one line for each connection, at its end, with all that
// an operator asks for, in both forms of the log.
func TestSessionLines(t *testing.T) {
	one, two := pair(t, dovecot.Options{Users: map[string]string{"joe": "his"}})
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			s := newSite(t, "shared", one, two)
			s.head = "[log]\nformat = \"" + format + "\"\n"
			p := s.serve()
			together(doors, func(door string) {
				i := slices.Index(doors, door)
				c := s.enter(door, entry{from: fmt.Sprintf("127.9.8.%d", 10+i)})
				if got := c.login("joe", "his"); !good(got) {
					t.Errorf("%s: %s %v", door, got, c.err)
				}
				c.logout()
				c = s.enter(door, entry{from: fmt.Sprintf("127.9.8.%d", 20+i)})
				c.login("joe", "hers")
				c.logout()
				s.enter(door, entry{from: fmt.Sprintf("127.9.8.%d", 30+i)}).Close()
			})
			read := readText
			if format == "json" {
				read = readJSON
			}
			want := 3 * len(doors)
			eventually(t, "all sessions are in the log", func() bool { return len(read(t, p.log.String())) >= want })
			records := read(t, p.log.String())
			if len(records) != want {
				t.Errorf("%d lines for %d connections", len(records), want)
			}
			ids := map[string]bool{}
			for _, r := range records {
				ids[r["session"]] = true
				checkRecord(t, r)
			}
			if len(ids) != want {
				t.Errorf("%d ids for %d sessions", len(ids), want)
			}
		})
	}
}

// checkRecord holds a session's line to what the client with its address did.
func checkRecord(t *testing.T, r map[string]string) {
	t.Helper()
	host, _, ok := strings.Cut(r["client"], ":")
	n, err := strconv.Atoi(strings.TrimPrefix(host, "127.9.8."))
	if !ok || err != nil || n < 10 || n/10 > 3 || n%10 >= len(doors) {
		t.Errorf("client %q: %v", r["client"], r)
		return
	}
	door := doors[n%10]
	want := map[string]string{
		"level": "INFO", "listener": door, "proto": strings.TrimSuffix(door, "s"), "tls": "TLSv1.3", "pool": "main",
	}
	switch n / 10 {
	case 1:
		want["user"], want["mech"], want["result"], want["end"] = "joe", "command", "ok", "server_closed"
		if in, err := strconv.Atoi(r["in"]); err != nil || in == 0 {
			t.Errorf("in %q: %v", r["in"], r)
		}
		if out, err := strconv.Atoi(r["out"]); err != nil || out == 0 {
			t.Errorf("out %q: %v", r["out"], r)
		}
	case 2:
		want["user"], want["mech"], want["result"], want["failure"], want["attempts"] = "joe", "command", "closed", "client_quit", "1"
	case 3:
		want["user"], want["result"], want["failure"], want["phase"] = "", "closed", "client_gone", "login"
	}
	if n/10 < 3 && r["backend"] != "mail1" && r["backend"] != "mail2" {
		t.Errorf("backend %q: %v", r["backend"], r)
	}
	for key, value := range want {
		if r[key] != value {
			t.Errorf("%s: got %q, want %q: %v", key, r[key], value, r)
		}
	}
	took := r["duration"] + r["duration_seconds"] // text, JSON
	if len(r["session"]) < 8 || took == "" || r["time"] == "" {
		t.Errorf("session %q, duration %q, time %q: %v", r["session"], took, r["time"], r)
	}
}

func readText(t *testing.T, log string) []map[string]string {
	t.Helper()
	var records []map[string]string
	for line := range strings.Lines(log) {
		line = strings.TrimSuffix(line, "\n")
		if field(line, "msg") != "session" {
			continue
		}
		r := map[string]string{}
		for _, key := range []string{
			"time", "level", "session", "listener", "proto", "client", "tls", "user", "mech", "pool", "backend",
			"result", "end", "failure", "phase", "attempts", "in", "out", "duration",
		} {
			r[key] = field(line, key)
		}
		records = append(records, r)
	}
	return records
}

// readJSON wants every line to be an object, not those of sessions only.
func readJSON(t *testing.T, log string) []map[string]string {
	t.Helper()
	var records []map[string]string
	for line := range strings.Lines(log) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("no JSON: %q: %v", line, err)
		}
		if object["msg"] != "session" {
			continue
		}
		r := map[string]string{}
		for key, value := range object {
			r[key] = fmt.Sprint(value)
		}
		records = append(records, r)
	}
	return records
}

// TestSecretsStayInside logs in in every way, rightly and wrongly, and in wrong
// syntax, and looks for passwords and tokens wherever somebody may look.
func TestSecretsStayInside(t *testing.T) {
	const password, guess, token, forged = "zebra-Pa55word", "zebra-Gue55", "zebra-t0ken", "zebra-f0rged"
	one, two := pair(t, dovecot.Options{
		Password: password, Tokens: map[string]string{token: "joe"}, Masters: map[string]string{"boss": "zebra-ma5ter"},
	})
	s := newSite(t, "shared", one, two)
	s.head = "[log]\nlevel = \"debug\"\n[limits]\ndial_wait = \"100ms\"\n"
	s.put(s.file("master.secret"), "zebra-ma5ter\n")
	s.pools[0].more += fmt.Sprintf("master_user = \"boss\"\nmaster_password_file = %q\n", s.file("master.secret"))
	p := s.serve()
	together(doors, func(door string) {
		for _, try := range []func(c *client){
			func(c *client) { c.login("joe", password) },
			func(c *client) { c.login("joe", guess) },
			func(c *client) { c.authenticate(plain("", "joe", password), true) },
			func(c *client) { c.authenticate(login2("joe", guess), false) },
			func(c *client) { c.authenticate(xoauth2("joe", token), true) },
			func(c *client) { c.authenticate(oauthbearer("joe", forged), true) },
			func(c *client) { c.authenticate(scramSHA256("joe", guess), true) },
			func(c *client) { c.authenticate(plain("", "joe\x00", guess), true) },
			func(c *client) { c.command("LOGIN joe %s too many", password) },
			func(c *client) { c.command("%s", password) },
			func(c *client) { c.command("PASS %s", password) },
			func(c *client) { c.command("AUTHENTICATE PLAIN %s!", password) },
			func(c *client) { c.command("AUTH XOAUTH2 %s!", token) },
		} {
			c := s.enter(door, entry{})
			try(c)
			c.Close()
		}
	})
	live := enter(t, s, "imaps", entry{})
	if got := live.login("joe", password); !good(got) {
		t.Fatalf("login: %s", got)
	}
	seen := map[string]string{"log": p.log.String()}
	for _, args := range [][]string{{"sessions"}, {"sessions", "--json"}, {"status"}, {"status", "--json"}} {
		out, err := p.command(append(args, "--socket", s.socket())...)
		if err != nil {
			t.Errorf("usher %v: %v\n%s", args, err, out)
		}
		seen["usher "+strings.Join(args, " ")] = out
	}
	out, err := p.command("config", "dump", "-c", p.path)
	if err != nil {
		t.Errorf("usher config dump: %v\n%s", err, out)
	}
	seen["usher config dump"] = out
	for _, path := range []string{"/metrics", "/readyz?verbose", "/healthz"} {
		_, seen[path] = p.ask(path)
	}
	for _, name := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.pid(), name))
		if err != nil {
			t.Fatal(err)
		}
		seen["/proc/PID/"+name] = string(text)
	}
	live.Close()
	one.Kill9(t)
	two.Kill9(t)
	c := enter(t, s, "imaps", entry{})
	if got := c.login("joe", password); !temporary(got) {
		t.Errorf("no server: got %q", got)
	}
	c.Close()
	p.log.await(t, "level=DEBUG", 1)
	p.log.await(t, "msg=session", 13*len(doors)+2)
	seen["log"] = p.log.String()
	for what, text := range seen {
		for _, secret := range []string{password, guess, token, forged, "zebra-ma5ter"} {
			for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte("\x00joe\x00" + secret))} {
				if strings.Contains(text, form) {
					t.Errorf("%s shows %q", what, form)
				}
			}
		}
		if strings.Contains(text, "zebra") {
			t.Errorf("%s shows a part of a secret", what)
		}
	}
	t.Logf("%d octets of output searched, %d of them log", len(fmt.Sprint(seen)), len(seen["log"]))
}
