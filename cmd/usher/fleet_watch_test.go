package main_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"usher.example/balancer/admin"
	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// An onlooker is a running usher events --follow.
type onlooker struct {
	out, err *transcript
	cmd      *exec.Cmd
}

// look starts one at a node's socket.
func look(t *testing.T, e *edge, args ...string) *onlooker {
	t.Helper()
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	o := &onlooker{new(transcript), new(transcript), exec.Command(binary, append([]string{"events", "--follow", "--socket", e.socket()}, args...)...)}
	o.cmd.Stdout, o.cmd.Stderr = o.out, o.err
	o.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := o.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.cmd.Process.Kill() })
	return o
}

// TestFleetEvents follows the events of a fleet at one node while orders are given at
// another, a third dies, and the node itself is restarted.
func TestFleetEvents(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	r.start()
	a, b, c := r.nodes[0], r.nodes[1], r.nodes[2]
	json := look(t, a, "--json", "--since", "1h")
	plain := look(t, a, "--code", "user_pinned,node_absent,reload_done,usher_started", "--since", "0s")
	for _, e := range r.nodes { // each node's own, by one of them
		json.out.await(t, `"node":"`+e.name+`","level":"info","event":"usher_started"`, 1)
	}
	order := func(e *edge, args ...string) string {
		t.Helper()
		out, err := e.p.command(append(args, "--socket", e.socket())...)
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return out
	}
	order(b, "user", "pin", "joe", "mail2")
	json.out.await(t, `"node":"edge-2".*"event":"user_pinned".*"user":"joe"`, 1)
	plain.out.await(t, `edge-2 +info +user_pinned .*backend=mail2.*user=joe`, 1)
	order(b, "backend", "drain", "mail1")
	json.out.await(t, `"event":"backend_changed".*"backend":"mail1"`, 1)
	json.out.await(t, `"event":"view_changed".*"pool":"main"`, 1)
	order(b, "node", "drain", "edge-3")
	json.out.await(t, `"node":"edge-3".*"event":"node_drained"`, 1)
	json.out.await(t, `"node":"edge-3".*"level":"warn","event":"node_unready"`, 1)
	c.kill()
	json.out.await(t, `"event":"node_absent".*"peer":"edge-3"`, 1)
	json.err.await(t, `not in what follows: edge-3`, 1)
	c.begin()
	c.ready()
	json.err.await(t, `all nodes answer`, 1)
	json.out.await(t, `"node":"edge-3".*"event":"usher_started"`, 2)

	a.stop()
	json.err.await(t, `connection to usher is lost`, 1)
	order(b, "user", "unpin", "joe") // while nobody is asked
	a.begin()
	a.ready()
	json.err.await(t, `usher answers again`, 1)
	json.out.await(t, `"node":"edge-1".*"event":"usher_started"`, 2)
	json.out.await(t, `"event":"user_unpinned"`, 1)
	plain.out.await(t, `edge-1 +info +usher_started`, 1)
	for _, o := range []*onlooker{json, plain} {
		if err := o.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if err := o.cmd.Wait(); err != nil {
			t.Errorf("after Ctrl-C: %v\n%s", err, o.err)
		}
	}
	if n := len(json.out.lines(`"event":"user_pinned"`)); n != 1 {
		t.Errorf("an event was shown %d times", n)
	}
	if out := order(b, "events", "--code", "user_unpinned"); strings.Count(out, "\n") != 1 || !strings.Contains(out, "user=joe") {
		t.Errorf("got %q", out)
	}
}

// TestFleetExplain asks a node for an explanation, logs in by it at once, and compares
// with its log and with what the client was told, rule by rule.
func TestFleetExplain(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{refuse: true, more: "retention = \"1s\"\n"})
	r.start()
	admin := r.administrator("")
	explains := func(e *edge, user, why string) string {
		t.Helper()
		x := e.explain(t, user)
		c, verdict := e.try(user)
		if why == "" {
			if x.Verdict != "refused" || !strings.HasSuffix(verdict, x.Answer) || x.Answer == "" {
				t.Errorf("%s by %s: explained as %+v, told %q", user, e.name, x, verdict)
			}
			return ""
		}
		if x.Verdict != "placed" || x.Why != why || !good(verdict) {
			t.Errorf("%s by %s: explained as %+v, told %q", user, e.name, x, verdict)
			return ""
		}
		c.logout()
		line := e.p.log.await(t, `msg=session .*user=`+user+` .*result=ok`, 1)
		if last := line[len(line)-1]; !strings.Contains(last, " backend="+x.Place+" why="+x.Why+" ") {
			t.Errorf("explained as %s by %s, logged as %s", x.Place, x.Why, last)
		}
		return x.Place
	}
	byHome := map[string]string{}
	for i, e := range r.nodes {
		for j := range 3 {
			user := fmt.Sprintf("home%d%d", i, j)
			byHome[explains(e, user, place.ByHome)] = user
		}
	}
	if len(byHome) != 2 {
		t.Fatalf("homes: %v, want some on each", byHome)
	}
	if err := admin.Move(deadlineCtx(t), "main", "pinned", "mail2", "test"); err != nil {
		t.Fatal(err)
	}
	for _, e := range r.nodes {
		eventually(t, "the pin is known", func() bool { return e.explain(t, "pinned").Pin != nil })
		explains(e, "pinned", place.ByPin)
	}
	stays := ""
	for i := 0; stays == ""; i++ {
		if user := fmt.Sprintf("stays%d", i); r.nodes[0].explain(t, user).Place == "mail1" {
			stays = user
		}
	}
	live := r.session(r.nodes[0], stays)
	if x := r.nodes[1].explain(t, stays); len(x.Sessions) != 1 || x.Sessions[0].Node != "edge-1" || x.Sessions[0].Backends[0] != "mail1" {
		t.Errorf("his session on another node: %+v", x.Sessions)
	}
	if err := admin.SetAdmin(deadlineCtx(t), "main", "mail1", table.Draining, "test"); err != nil {
		t.Fatal(err)
	}
	for _, e := range r.nodes {
		eventually(t, "the drain is known", func() bool { return e.explain(t, stays).Why == place.ByStay })
		explains(e, stays, place.ByStay)
		if at := explains(e, "new"+e.name, place.ByHome); at != "mail2" {
			t.Errorf("a new user goes to %s", at)
		}
	}
	live.logout()
	for _, b := range []string{"mail1", "mail2"} {
		if err := admin.SetAdmin(deadlineCtx(t), "main", b, table.Down, "test"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "nobody is left", func() bool { return r.nodes[2].explain(t, "joe").Verdict == "refused" })
	explains(r.nodes[2], "joe", "")
	r.nodes[0].kill()
	r.nodes[1].kill()
	eventually(t, "the lease is over", func() bool {
		for _, s := range r.nodes[2].explain(t, "joe").Steps {
			if s.Rule == "lease" && s.Outcome == "refuses" {
				return true
			}
		}
		return false
	})
	explains(r.nodes[2], "joe", "")
	r.nodes[2].kill() // with nobody left it takes its time to end
}

// explain asks a node.
func (e *edge) explain(t *testing.T, user string) (x admin.Explained) {
	t.Helper()
	out, err := e.p.command("explain", user, "--json", "--listener", "imaps", "--ip", "127.0.0.1", "--socket", e.socket())
	if i := strings.Index(out, "{"); i > 0 { // behind warnings
		out = out[i:]
	}
	if err != nil || json.Unmarshal([]byte(out), &x) != nil {
		t.Fatalf("explain %s by %s: %v\n%s", user, e.name, err, out)
	}
	return x
}
