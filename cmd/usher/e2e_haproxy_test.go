package main_test

import (
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"usher.example/cmd/internal/dovecot"
)

// portAgent is where a node answers HAProxy's agent-check.
const portAgent = 2181

// haproxy runs the example's configuration before two nodes and returns a site that
// is HAProxy's, and what asks it for the state of a server.
func haproxy(t *testing.T, one, two *site) (front site, state func(server string) string) {
	t.Helper()
	front = *one
	front.host = reserve(t)
	dir := t.TempDir()
	control := filepath.Join(dir, "control")
	text := example(t, "haproxy.cfg")
	for _, change := range [][2]string{
		{"bind :993", "bind " + hostPort(front.host, portIMAPS)},
		{"192.0.2.11:993 check", hostPort(one.host, portIMAPS) + " check"},
		{"192.0.2.12:993 check", hostPort(two.host, portIMAPS) + " check"},
		{"agent-port 9181", fmt.Sprintf("agent-port %d", portAgent)},
	} {
		if strings.Count(text, change[0]) != 1 {
			t.Fatalf("the example has %q %d times, want once", change[0], strings.Count(text, change[0]))
		}
		text = strings.Replace(text, change[0], change[1], 1)
	}
	file := filepath.Join(dir, "haproxy.cfg")
	text = "global\n    stats socket " + control + " mode 600 level admin\n\n" + text
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log := new(transcript)
	cmd := exec.Command("haproxy", "-db", "-f", file)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // what was wrong was said
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("HAProxy:\n%s", log)
		}
	})
	return front, func(server string) string {
		c, err := net.DialTimeout("unix", control, patience)
		if err != nil {
			return err.Error()
		}
		defer c.Close()
		if _, err := io.WriteString(c, "show stat\n"); err != nil {
			return err.Error()
		}
		rows, err := csv.NewReader(c).ReadAll()
		if err != nil {
			return err.Error()
		}
		for _, row := range rows {
			if row[1] == server {
				return row[17] // status
			}
		}
		return "no such server"
	}
}

// TestHAProxyFollows has a real HAProxy ask the agent: it sends nobody to a node that
// drains, by either way, and comes back to one that does no more; and no login is
// refused.
func TestHAProxyFollows(t *testing.T) {
	t.Parallel()
	require(t, "haproxy")
	back := dovecot.Start(t, dovecot.Options{})
	var nodes []*site
	var running []*proc
	for range 2 {
		s := newSite(t, "shared", back)
		s.authority = back.Authority
		s.head = "withdraw = \"4s\"\ndrain = \"1s\"\n"
		s.agent = hostPort(s.host, portAgent)
		s.listeners = []listener{{name: "imaps", protocol: "imap", tls: "implicit", port: portIMAPS, more: "proxy_networks = [\"127.0.0.0/8\"]\n"}}
		nodes, running = append(nodes, s), append(running, s.serve())
	}
	front, state := haproxy(t, nodes[0], nodes[1])
	follows := func(server, want string) {
		t.Helper()
		began := time.Now()
		eventually(t, fmt.Sprintf("%s is %s for HAProxy", server, want), func() bool { return strings.HasPrefix(state(server), want) })
		t.Logf("%s is %s after %v", server, state(server), since(began))
	}
	login := func() {
		t.Helper()
		c := front.enter("imaps", entry{})
		defer c.Close()
		if got := c.login("joe", "secret"); !good(got) {
			t.Errorf("a login through HAProxy: %q %v", got, c.err)
		}
	}
	accepted := func(p *proc) (n int) {
		_, text := p.ask("/metrics")
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, `usher_auth_total{mech="command",proto="imap",result="ok"}`) {
				_, _ = fmt.Sscan(line[strings.LastIndex(line, " "):], &n)
			}
		}
		return n
	}
	follows("edge-1", "UP")
	follows("edge-2", "UP")
	login()

	_, overview := running[0].ask("/readyz?format=json")
	if !strings.Contains(overview, `"state":"ready"`) {
		t.Errorf("/readyz: %s", overview)
	}
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	order := func(args ...string) {
		t.Helper()
		if out, err := running[0].command(append(args, "--socket", nodes[0].socket())...); err != nil {
			t.Fatalf("usher %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	order("node", "drain", name)
	follows("edge-1", "DRAIN")
	before := accepted(running[0])
	for range 4 {
		login()
	}
	if got := accepted(running[0]); got != before {
		t.Errorf("%d logins came to a node that drains", got-before)
	}
	order("node", "drain", "--undo", name)
	follows("edge-1", "UP")

	running[0].signal(syscall.SIGTERM)
	follows("edge-1", "DRAIN")
	tick := time.NewTicker(callEvery)
	defer tick.Stop()
	for ended := false; !ended; {
		login()
		select {
		case <-running[0].done:
			ended = true
		case <-tick.C:
		}
	}
	login()
	follows("edge-1", "DOWN")
	login()
}

// TestExamples has the programs themselves read the examples.
func TestExamples(t *testing.T) {
	for _, tt := range [][]string{
		{"haproxy", "-c", "-f", "../../docs/examples/haproxy.cfg"},
		{"bird", "-p", "-c", "../../docs/examples/bird.conf"},
		{"keepalived", "-t", "-f", ""},
	} {
		t.Run(tt[0], func(t *testing.T) {
			require(t, tt[0])
			if tt[0] == "keepalived" { // which looks whether the program is there
				dir := t.TempDir()
				text := strings.Replace(example(t, "keepalived.conf"), "/usr/bin/usher", "/bin/true", 1)
				tt[3] = filepath.Join(dir, "keepalived.conf")
				if err := os.WriteFile(tt[3], []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if out, err := exec.Command(tt[0], tt[1:]...).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", strings.Join(tt, " "), err, out)
			}
		})
	}
}

// TestRouteFollows runs the example's script with a real BIRD in a network of its
// own: the route is announced while usher is ready, and only then.
func TestRouteFollows(t *testing.T) {
	t.Parallel()
	require(t, "bird", "birdc", "unshare")
	if os.Getuid() != 0 {
		t.Skip("SKIPPED, needs root, for network namespaces")
	}
	dir := t.TempDir()
	control, isReady := filepath.Join(dir, "bird.ctl"), filepath.Join(dir, "ready")
	start := func(env []string, args ...string) {
		t.Helper()
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), env...)
		log := new(transcript)
		cmd.Stdout, cmd.Stderr = log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill() // what was wrong was said
			_ = cmd.Wait()
			if t.Failed() {
				t.Logf("%s:\n%s", args, log)
			}
		})
	}
	start(nil, "unshare", "--net", "bird", "-f", "-c", "../../docs/examples/bird.conf", "-s", control, "-P", filepath.Join(dir, "bird.pid"))
	route := func() string {
		out, err := exec.Command("birdc", "-r", "-s", control, "show", "route", "protocol", "usher").CombinedOutput()
		if err != nil {
			return err.Error()
		}
		return string(out)
	}
	eventually(t, "BIRD answers", func() bool { return strings.Contains(route(), "BIRD") })
	announced := func() bool { return strings.Contains(route(), "192.0.2.10/32") }
	if announced() {
		t.Errorf("announced before usher is ready:\n%s", route())
	}
	up := func() string { // since when the protocol is up; "" if it is not
		out, _ := exec.Command("birdc", "-r", "-s", control, "show", "protocols", "usher").Output()
		if m := regexp.MustCompile(`(?m)^usher +Static +\S+ +up +(\S+)`).FindSubmatch(out); m != nil {
			return string(m[1])
		}
		return ""
	}
	start([]string{"USHER=test -e " + isReady, "BIRDC=birdc -s " + control}, "../../docs/examples/usher-route.sh")
	for range 2 {
		if err := os.WriteFile(isReady, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the route is announced", announced)
		// As "disabled" is in the file, this takes the route away.
		before := up()
		if out, err := exec.Command("birdc", "-s", control, "configure").CombinedOutput(); err != nil {
			t.Fatalf("birdc configure: %v\n%s", err, out)
		}
		eventually(t, "the route is announced anew", func() bool { now := up(); return now != "" && now != before && announced() })
		if err := os.Remove(isReady); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		eventually(t, "the route is withdrawn", func() bool { return !announced() })
		t.Logf("withdrawn after %v", since(began))
	}
}
