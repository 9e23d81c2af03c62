package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"usher.example/balancer"
	"usher.example/balancer/admin"
	"usher.example/balancer/forward"
	"usher.example/cluster"
	"usher.example/cluster/place"
)

// A resident is the balancer of a fleet's node in a test.
type resident struct{}

func (resident) Leave(string, string, []uint64) {}
func (resident) Kick(user, _ string) int        { return len(user) - len("nobody") }
func (resident) Gate(int64)                     {}
func (resident) Sessions(user string) ([]byte, error) {
	if user == "nobody" {
		return []byte("[]"), nil
	}
	return fmt.Appendf(nil, `[{"id":"s1","user":%q,"protocol":"imap","backend":"mail1","phase":"forward"}]`, user), nil
}

// steered is a real fleet of one node behind an admin socket.
func steered(t *testing.T, voters ...string) *operated {
	t.Helper()
	o := &operated{socket: filepath.Join(t.TempDir(), "usher.sock")}
	quiet := slog.New(slog.DiscardHandler)
	f, err := cluster.OpenFleet(cluster.FleetOptions{
		Fleet: "mail", Node: "u1", Secrets: []cluster.Secret{cluster.NewSecret()}, Bind: "127.0.0.1:0", Voters: voters,
		Names: place.Names{LowerCase: true}, State: t.TempDir(), KickDelay: -1, Local: resident{}, Log: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := balancer.New(balancer.Deps{Engine: new(forward.Copy), Placer: f, Log: quiet})
	l, err := admin.Listen(o.socket, 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	desk := admin.New(admin.Options{Version: "1.2.3", Log: quiet, Node: server, Places: f, Fleet: f})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	running.Go(func() { _ = desk.Run(ctx, l) })
	t.Cleanup(func() { cancel(); running.Wait(); f.Close() })
	if err := f.Update([]cluster.Pool{{Name: "main", Backends: []cluster.Backend{
		{Name: "mail1", Address: "192.0.2.1", Weight: 100}, {Name: "mail2", Address: "192.0.2.2", Weight: 100},
	}}}); err != nil {
		t.Fatal(err)
	}
	if len(voters) == 1 {
		ready, done := context.WithTimeout(t.Context(), 30*time.Second)
		defer done()
		if err := f.Await(ready); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func TestSteer(t *testing.T) {
	t.Setenv("SUDO_USER", "ann")
	o := steered(t, "u1")
	moves := filepath.Join(t.TempDir(), "moves")
	if err := os.WriteFile(moves, []byte("# who goes where\nbob mail2\neve mail1\njoe mail2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("bob\neve mail7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	twice := filepath.Join(t.TempDir(), "twice")
	if err := os.WriteFile(twice, []byte("joe mail2\nkim mail2\nJOE mail2\nkim mail1\nkim mail2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args   string
		status int
		want   []string // in the output or the error
	}{
		{"fleet status", 0, []string{"fleet mail, seen by u1, led by u1\n", "0 users pinned", "u1  ", "voter"}},
		{"node list", 0, []string{"NODE", "u1 ", "alive", "yes"}},
		{"backend list", 0, []string{"mail1", "mail2", "active", "up"}},
		{"user move joe mail2", 0, []string{"done\n"}},
		{"user where joe", 0, []string{"joe   main  mail2     pin  mail2"}},
		{"user move joe mail3", exitNotFound, []string{"no such back end; pool main has: mail1, mail2"}},
		{"user move joe", exitUsage, []string{"say USER BACKEND, --home USER or --map FILE"}},
		{"user move --home joe --dry-run", 0, []string{"nothing was done; user move joe would concern 0 users", "his next login goes to mail2\n"}},
		{"user move --map " + moves + " --dry-run", 0, []string{"USER  PLACE  WHY   TARGET  DO\n", "\njoe   mail2  pin   mail2   -\n", "\nbob   ", "1 there already\n"}},
		{"user move --map " + moves + " --dry-run --json", 0, []string{`"line": 4`, `"do": "none"`, `"target": "mail1"`}},
		{"user where bob", 0, []string{"home  -"}},
		{"user move --map " + moves, 0, []string{"2 users moved, 1 there already"}},
		{"user move --json --map " + moves, 0, []string{`"moved": 0`, `"skipped": 3`, `"failed": []`}},
		{"user move --map " + bad, exitFailed, []string{"bad:1: 1 words", `bad:2: the pool has no back end "mail7"`}},
		{"user move --map " + twice, exitFailed, []string{`twice:3: "JOE" is the user of line 1, "joe": the fleet knows both as "joe"`, `twice:4: user "kim" is to go to mail2 already, by line 2`}},
		{"user where kim", 0, []string{"home  -"}},
		{"user move --map " + moves + " --pool x", exitNotFound, []string{`no pool "x"; there are: [main]`}},
		{"user unpin joe", 0, []string{"done\n"}},
		{"user unpin joe", exitNoUser, []string{"the user has no pin"}},
		{"user move --home bob", 0, []string{"done\n"}},
		{"user pin joe", 0, []string{"done\n"}},
		{"user list joe", 0, []string{"NODE", "u1    s1       joe"}},
		{"user list nobody", exitNoUser, []string{"no session of nobody"}},
		{"user kick mallory", 0, []string{"1 session ended\n"}},
		{"user kick nobody", exitNoUser, []string{"no session of nobody"}},
		{"backend drain mail1 --wait", 0, []string{"done\n", "no user is left\n"}},
		{"backend list", 0, []string{"drain", "ann"}},
		{"user move joe mail1", exitTemporary, []string{"the back end is not up: mail1; make it active"}},
		{"user move --map " + moves, exitTemporary, []string{"moves:3: mail1 is drain and takes nobody now"}},
		{"backend activate mail1", 0, []string{"done\n"}},
		{"backend weight mail1 7", 0, []string{"done\n"}},
		{"backend list", 0, []string{"7*"}},
		{"backend weight mail1 config", 0, []string{"done\n"}},
		{"backend weight mail1 many", exitUsage, []string{`want a number from 0, or "config"`}},
		{"backend down mail9", exitNotFound, []string{"there are: main/mail1, main/mail2"}},
		{"node drain u1 --wait", 0, []string{"done\n", "no session is left\n"}},
		{"node list", 0, []string{"drained"}},
		{"node drain u1 --undo", 0, []string{"done\n"}},
		{"node drain u7", exitNotFound, []string{"no such node; there are: u1"}},
		{"node forget u1", exitTemporary, []string{"stop it first"}},
	} {
		out, status, err := o.run(t, strings.Fields(tt.args)...)
		all := out
		if err != nil {
			all += err.Error()
		}
		if status != tt.status {
			t.Errorf("%s: got status %d, want %d: %s", tt.args, status, tt.status, all)
		}
		for _, want := range tt.want {
			if !strings.Contains(all, want) {
				t.Errorf("%s: no %q in\n%s", tt.args, want, all)
			}
		}
	}
}

// Without a quorum the errors say which voters are missing.
func TestSteerWithoutQuorum(t *testing.T) {
	o := steered(t, "u1", "u2", "u3")
	out, status, err := o.run(t, "fleet", "status")
	if status != exitTemporary || err == nil || !strings.Contains(err.Error(), "missing voters: u2, u3; start them") || !strings.Contains(out, "without a quorum") {
		t.Errorf("got %d, %v\n%s", status, err, out)
	}
	if _, status, err := o.run(t, "user", "move", "joe", "mail1"); status != exitTemporary || !strings.Contains(fmt.Sprint(err), "missing voters: u2, u3") {
		t.Errorf("got %d, %v", status, err)
	}
	out, status, err = o.run(t, "node", "list")
	if status != 0 || !strings.Contains(out, "u3") || !strings.Contains(out, "absent") {
		t.Errorf("got %d, %v\n%s", status, err, out)
	}
}

func TestFleetSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	for _, tt := range []struct {
		args   []string
		status int
		want   string
	}{
		{nil, 0, "is written; copy it to all nodes, and name it in fleet.secret_file"},
		{nil, exitFailed, "exists, and is left alone"},
		{[]string{"--rotate", "drop"}, exitFailed, "the next step is add"},
		{[]string{"--rotate", "add"}, 0, "both versions on all, --rotate promote"},
		{[]string{"--rotate", "promote"}, 0, "the new one used on all, --rotate drop"},
		{[]string{"--rotate", "drop"}, 0, "copy it to all nodes and reload them\n"},
		{[]string{"--rotate", "now"}, exitUsage, "want add, promote or drop"},
	} {
		out, status, err := run(t, append([]string{"fleet", "secret", path}, tt.args...)...)
		all := fmt.Sprint(out, err)
		if status != tt.status || !strings.Contains(all, tt.want) {
			t.Errorf("%v: got %d, %s; want %d, %s", tt.args, status, all, tt.status, tt.want)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if !strings.HasPrefix(line, "#") && strings.Contains(all, strings.TrimSpace(line)) {
				t.Errorf("%v prints a secret", tt.args)
			}
		}
	}
}

func TestPace(t *testing.T) {
	for _, tt := range []struct {
		n, all int
		since  time.Duration
		want   string
	}{
		{0, 10, 2 * time.Second, "0 of 10 users, 0.0 a second, unknown left"},
		{100, 1000, 4 * time.Second, "100 of 1000 users, 25.0 a second, 36s left"},
	} {
		if got := pace(tt.n, tt.all, tt.since); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestSecretLines(t *testing.T) {
	st := &admin.FleetStatus{Overview: cluster.Overview{Secrets: []string{"a1", "b2"}, Members: []cluster.NodeState{
		{Node: "u1", Secrets: []string{"a1", "b2"}}, {Node: "u2", Secrets: []string{"b2", "a1"}}, {Node: "u3"}, {Node: "u4", Secrets: []string{"a1"}},
	}}}
	if got, want := secretLines(st), "secret: a1 is used, b2 believed as well; not so, or not yet, on u2, u4\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		st   admin.Status
		want string
	}{
		{admin.Status{Ready: true}, "ready"},
		{admin.Status{Ready: true, Degraded: []string{"isolated", "old"}}, "ready, degraded: isolated; old"},
		{admin.Status{Reasons: []string{"starting"}, Degraded: []string{"isolated"}}, "not ready: starting"},
		{admin.Status{Draining: true}, "draining"},
	} {
		if got := verdict(&tt.st); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
