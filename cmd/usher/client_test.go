package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"usher.example/balancer"
	"usher.example/balancer/admin"
	"usher.example/balancer/balancertest"
	"usher.example/balancer/forward"
	"usher.example/cluster"
	"usher.example/health"
	"usher.example/sniff/imap"
)

// An operated node is a real balancer with an admin socket and one back end.
type operated struct {
	socket  string
	server  *balancer.Server
	reloads *admin.Reloads
	down    atomic.Bool // the back end, as its checker says
}

func operate(t *testing.T) *operated {
	t.Helper()
	o := &operated{socket: filepath.Join(t.TempDir(), "usher.sock"), reloads: new(admin.Reloads)}
	quiet := slog.New(slog.DiscardHandler)
	places := alone(t, cluster.FleetOptions{Log: quiet}, cluster.Backend{Name: "mail1", Weight: 100})
	mail := balancertest.NewBackend(t, balancertest.IMAP("mail1"))
	o.server = balancer.New(balancer.Deps{Engine: new(forward.Copy), Placer: places, Log: quiet})
	if err := o.server.Apply(balancer.Options{
		Hostname: "usher.test",
		Listeners: []balancer.ListenerOptions{{
			Name: "imap", Address: "127.0.0.1:0", Protocol: imap.Protocol{}, Pool: "main", PlaintextLogin: true,
		}},
		Pools: []balancer.PoolOptions{{Name: "main", Backends: []balancer.BackendOptions{
			{Name: "mail1", Host: mail.Host(), Ports: map[string]int{"imap": mail.Port()}},
		}}},
	}); err != nil {
		t.Fatal(err)
	}
	l, err := admin.Listen(o.socket, 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	desk := admin.New(admin.Options{
		Version: "1.2.3", Started: time.Now().Add(-25 * time.Hour), Log: quiet, Node: o.server, Places: places, Reloads: o.reloads,
		Health: func() []admin.BackendHealth {
			state := health.Up
			if o.down.Load() {
				state = health.Down
			}
			return []admin.BackendHealth{{Pool: "main", Backend: "mail1", Status: health.Status{
				State: state, Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local), Err: errors.New("greeting: \x1b[2Jgo away"),
			}}}
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := desk.Run(ctx, l); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
		o.server.Drain(ctx) // is over: nobody is waited for
	})
	return o
}

// alone is a fleet of one in memory that serves a pool.
func alone(t *testing.T, o cluster.FleetOptions, backends ...cluster.Backend) *cluster.Fleet {
	t.Helper()
	f, err := cluster.OpenFleet(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait(); f.Close() })
	if err := f.Update([]cluster.Pool{{Name: "main", Backends: backends}}); err != nil {
		t.Fatal(err)
	}
	ready, done := context.WithTimeout(ctx, 30*time.Second)
	defer done()
	if err := f.Await(ready); err != nil {
		t.Fatal(err)
	}
	return f
}

// run runs a command line and returns what it printed and its exit status.
func run(t *testing.T, args ...string) (out string, status int, err error) {
	t.Helper()
	var printed strings.Builder
	root := newRoot()
	root.SetOut(&printed)
	root.SetErr(&printed)
	root.SetArgs(args)
	err = root.ExecuteContext(t.Context())
	var exit *exitError
	switch {
	case errors.As(err, &exit):
		status = exit.code
	case err != nil:
		status = exitFailed
	}
	return printed.String(), status, err
}

func (o *operated) run(t *testing.T, args ...string) (out string, status int, err error) {
	t.Helper()
	return run(t, append(args, "--socket", o.socket)...)
}

// login returns the connection of a user; it ends with the session.
func (o *operated) login(t *testing.T, user string) *bufio.Reader {
	t.Helper()
	c, err := net.Dial("tcp", o.server.Addr("imap").String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	in := bufio.NewReader(c)
	fmt.Fprintf(c, "a LOGIN %s good\r\nb NOOP\r\n", user)
	for { // only a session that is being forwarded answers b
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "b OK") {
			return in
		}
	}
}

func ended(t *testing.T, in *bufio.Reader) {
	t.Helper()
	if _, err := io.Copy(io.Discard, in); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the session goes on")
	}
}

func TestStatusCommand(t *testing.T) {
	o := operate(t)
	o.reloads.Record(nil)
	o.reloads.Record(errors.New("usher.toml:3:1: unknown key \"x\x1b\"\nusher.toml:9:1: no"))
	o.login(t, "joe")
	o.down.Store(true)
	out, status, err := o.run(t, "status")
	if status != 0 {
		t.Fatalf("got %d: %v", status, err)
	}
	for _, want := range []string{
		`^usher 1\.2\.3, running for 1d01h, ready\n1 session, 0 of them not logged in\nconfiguration of 20`,
		`\nthe reload of 20.* failed:\n  "usher\.toml:3:1: .*\\x1b.*"\n  usher\.toml:9:1: no\n`,
		`\nLISTENER +PROTO +ADDRESS +TLS +POOL +OPEN +LOGGED IN\nimap +imap +127\.0\.0\.1:\d+ +none +main +1 +1\n`,
		`\nPOOL +BACK END +WEIGHT +STATE +HEALTH +SINCE +SESSIONS +USERS +LAST ERROR\n` +
			`main +mail1 +100 +up +down +2026-01-02 03:04:05 +1 +1 +"greeting: \\x1b\[2Jgo away"\n$`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
}

// TestStatusForgives: what was wrong with a back end that is up again is not what
// is wrong now.
func TestStatusForgives(t *testing.T) {
	o := operate(t)
	out, _, err := o.run(t, "status")
	if want := regexp.MustCompile(`\nmain +mail1 +100 +up +up +2026-01-02 03:04:05 +0 +0 +-\n$`); err != nil || !want.MatchString(out) {
		t.Errorf("got %v, no %v in\n%s", err, want, out)
	}
}

func TestStatusCommandJSON(t *testing.T) {
	o := operate(t)
	out, status, err := o.run(t, "status", "--json")
	var st admin.Status
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if status != 0 || st.Version != "1.2.3" || len(st.Pools) != 1 || st.Pools[0].Backends[0].Health.State != "up" {
		t.Errorf("got %d, %v, %+v", status, err, st)
	}
}

func TestSessionsCommand(t *testing.T) {
	o := operate(t)
	if out, status, err := o.run(t, "sessions"); status != 0 || out != "no sessions\n" {
		t.Errorf("nobody there: got %d, %v, %q", status, err, out)
	}
	o.login(t, "joe")
	o.login(t, "ann")
	out, status, err := o.run(t, "sessions")
	want := regexp.MustCompile(`^SESSION +USER +PROTO +CLIENT +TLS +BACK END +PHASE +AGE +IDLE +IN +OUT\n` +
		`[a-z2-7]{13} +joe +imap +127\.0\.0\.1:\d+ +- +mail1 +forward +\d+s +\d+s +\d+ +\d+\n` +
		`[a-z2-7]{13} +ann .*\n\n2 sessions\n$`)
	if status != 0 || !want.MatchString(out) {
		t.Errorf("got %d, %v, %s", status, err, out)
	}
	out, status, err = o.run(t, "sessions", "--user", "ann", "--json")
	var answer admin.Sessions
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if status != 0 || len(answer.Sessions) != 1 || answer.Sessions[0].User != "ann" {
		t.Errorf("got %d, %v, %+v", status, err, answer)
	}
	if out, status, err := o.run(t, "sessions", "--user", "bob"); status != 0 || out != "no sessions\n" {
		t.Errorf("bob: got %d, %v, %q", status, err, out)
	}
}

func TestKickCommand(t *testing.T) {
	o := operate(t)
	joe, joe2, ann := o.login(t, "joe"), o.login(t, "joe"), o.login(t, "ann")
	if out, status, err := o.run(t, "kick", "--user", "joe"); status != 0 || out != "2 sessions ended\n" {
		t.Errorf("joe: got %d, %v, %q", status, err, out)
	}
	ended(t, joe)
	ended(t, joe2)
	sessions := o.server.Sessions("ann")
	if len(sessions) != 1 {
		t.Fatalf("ann has %d sessions, want 1", len(sessions))
	}
	if out, status, err := o.run(t, "kick", "--json", "--session", sessions[0].ID); status != 0 || out != "{\n  \"kicked\": 1\n}\n" {
		t.Errorf("ann: got %d, %v, %q", status, err, out)
	}
	ended(t, ann)
}

func TestExitStatus(t *testing.T) {
	o := operate(t)
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	missing := filepath.Join(dir, "missing")
	for _, tt := range []struct {
		name   string
		args   []string
		status int
		text   string // of the error: what to do next
	}{
		{"kick nobody", []string{"kick", "--user", "bob", "--socket", o.socket}, exitNotFound, "usher sessions"},
		{"kick a stranger", []string{"kick", "--user", "bob\x1b", "--socket", o.socket}, exitNotFound, `"bob\x1b"`},
		{"kick no session", []string{"kick", "--session", "x", "--socket", o.socket}, exitNotFound, "usher sessions"},
		{"kick nobody, JSON", []string{"kick", "--json", "--user", "bob", "--socket", o.socket}, exitNotFound, "usher sessions"},
		{"kick whom", []string{"kick", "--socket", o.socket}, exitUsage, "--user USER or --session ID"},
		{"kick both", []string{"kick", "--user", "a", "--session", "b", "--socket", o.socket}, exitUsage, "--user USER or --session ID"},
		{"kick by argument", []string{"kick", "joe", "--socket", o.socket}, exitUsage, "usher kick --help"},
		{"sessions of nobody", []string{"sessions", "--user", "", "--socket", o.socket}, exitUsage, "leave it out"},
		{"status of what", []string{"status", "main", "--socket", o.socket}, exitUsage, "usher status --help"},
		{"no socket", []string{"status", "--socket", ""}, exitUsage, "admin.socket"},
		{"refused", []string{"sessions", "--user", strings.Repeat("x", 5000), "--socket", o.socket}, exitFailed, "512"},
		{"not running", []string{"status", "--socket", missing}, exitTemporary, "systemctl status usher"},
		{"crashed", []string{"sessions", "--socket", stale}, exitTemporary, "systemctl status usher"},
		{"no directory to write to", []string{"man", stale}, exitFailed, "write manual pages"},
		{"man without directory", []string{"man"}, exitUsage, "usher man --help"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, status, err := run(t, tt.args...)
			if err == nil {
				t.Fatal("got no error")
			}
			if status != tt.status || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %d, %v; want %d and %q", status, err, tt.status, tt.text)
			}
		})
	}
}

// TestStrangeAnswers: what listens on the socket need not be our usher.
func TestStrangeAnswers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		status int
		text   string
	}{
		{"no JSON", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }, exitTemporary, "is not usher's"},
		{"cut off", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"version":`) }, exitTemporary, "cut off"},
		{"hung up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, exitTemporary, "systemctl status usher"},
		{"older", http.NotFound, exitFailed, "same version"},
		{"broken", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, exitTemporary, "503"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "s")
			l, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			srv := &http.Server{Handler: tt.answer, ReadHeaderTimeout: time.Second}
			var running sync.WaitGroup
			running.Go(func() { _ = srv.Serve(l) })
			defer running.Wait()
			defer func() { _ = srv.Close() }()
			_, status, err := run(t, "status", "--socket", socket)
			if err == nil || status != tt.status || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %d, %v; want %d and %q", status, err, tt.status, tt.text)
			}
		})
	}
}

// TestForbiddenSocket: another try does not help, other rights do.
func TestForbiddenSocket(t *testing.T) {
	c := &adminClient{socket: "/run/usher/usher.sock"}
	err := c.unreachable(&os.PathError{Op: "dial", Path: c.socket, Err: os.ErrPermission})
	var exit *exitError
	if !errors.As(err, &exit) || exit.code != exitFailed || !strings.Contains(err.Error(), "admin.socket_group") {
		t.Errorf("got %v", err)
	}
}
