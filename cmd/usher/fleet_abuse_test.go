package main_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestFleetSlowsASpray: what fails at one node is slow at the others within two
// seconds, at a node that starts as well, until an administrator clears it at any.
func TestFleetSlowsASpray(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{users: map[string]string{"joe": "secret"}})
	for _, e := range r.nodes {
		e.listeners[1].more = "plaintext_login = true\nproxy_networks = [\"127.0.0.0/8\"]\n"
	}
	r.start()
	at := func(i int) besieged { return besieged{proc: r.nodes[i].p} }
	const bad, good = "10.9.0.1", "10.8.0.1"
	if v, took := knocks(at(0), bad, "joe", "secret", patient); v != letIn {
		t.Fatalf("joe: %v after %v", v, took)
	}
	for n := range 8 { // side by side, as it does not wait for answers
		knocks(at(0), bad, fmt.Sprintf("nobody%d", n), "guess", time.Second)
	}
	eventually(t, "it is under penalty where it has failed", func() bool {
		return at(0).metric(t, "usher_penalties", `kind="address"`) == 1
	})
	began := time.Now()
	for i := 1; i < 3; i++ {
		eventually(t, "the others know", func() bool { return at(i).metric(t, "usher_penalties", `kind="address"`) == 1 })
	}
	took := time.Since(began)
	t.Logf("the others know after %v", took.Round(time.Millisecond))
	if took > 30*time.Second { // 2 s, on a machine of our own
		t.Errorf("the others know after %v", took)
	}
	for i := 1; i < 3; i++ {
		if v, _ := knocks(at(i), bad, "somebody", "guess", time.Second); v != lost {
			t.Errorf("node %d answers the address as any: %v", i+1, v)
		}
		if v, took := knocks(at(i), bad, "joe", "secret", patient); v != letIn || took > 30*time.Second {
			t.Errorf("joe, who was at the other node before, is answered %v after %v", v, took)
		}
		if v, took := knocks(at(i), good, "joe", "secret", patient); v != letIn || took > 30*time.Second {
			t.Errorf("joe, elsewhere, is answered %v after %v", v, took)
		}
	}
	r.nodes[2].stop()
	r.nodes[2].begin()
	r.nodes[2].ready()
	eventually(t, "a node that starts knows", func() bool { return at(2).metric(t, "usher_penalties", `kind="address"`) == 1 })
	if v, took := knocks(at(2), bad, "joe", "secret", patient); v != letIn || took > 30*time.Second {
		t.Errorf("joe, whom the others know, is answered %v after %v by a node that has started", v, took)
	}
	if out, err := at(1).command("penalty", "list", "--socket", r.nodes[1].socket()); err != nil || !strings.Contains(out, bad) {
		t.Errorf("penalty list: %v\n%s", err, out)
	}
	if out, err := at(1).command("penalty", "clear", bad, "--socket", r.nodes[1].socket()); err != nil {
		t.Errorf("penalty clear: %v\n%s", err, out)
	}
	for i := range r.nodes {
		if n := at(i).metric(t, "usher_penalties", `kind="address"`); n != 0 {
			t.Errorf("node %d has %v penalties after they were cleared", i+1, n)
		}
	}
}
