package main_test

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"usher.example/balancer/certs/pebble"
)

// TestACMEDiskFull fills the disk under a node's state directory. What is ordered then is
// kept, since the log has taken room ahead. A node that begins on the full disk serves
// what it had, and cannot order; it says so, and what to do; with room it renews.
func TestACMEDiskFull(t *testing.T) {
	t.Parallel()
	pebble.Require(t)
	require(t, "mount", "umount")
	if os.Getuid() != 0 {
		t.Skip("SKIPPED, needs root, to mount a small disk")
	}
	a := newAutomatic(t, newServer(t), pebble.Options{}, "mail.example.net")
	a.asks(a.ca.Directory, a.ca.CAFile, "http-01", "")
	e := &edge{name: "alone", site: a.site}
	e.smallDisk()
	a.ca.Stop()
	a.p = a.serve()
	a.p.log.await(t, `level=WARN msg="certificate not obtained"`, 1)
	room := e.fill()
	a.ca.Restart()
	a.roots = a.ca.Roots()
	served := a.renews(t, "the CA's absence", nil)

	e.p = a.p
	e.kill()
	a.p = a.serve()
	stays := func(when string) {
		t.Helper()
		for what, leaf := range a.shown(t) {
			if !leaf.Equal(served[what]) {
				t.Errorf("%s: %s: another one is shown", when, what)
			}
		}
		a.logsIn(t, when)
	}
	stays("begun on the full disk")
	a.p.log.await(t, `level=(WARN|ERROR) .*no space left on device`, 1)
	out, err := a.usher("cert", "renew", a.names[0], "--force")
	if advice := "look after the fleet, or the disk of its state directory"; err == nil || !strings.Contains(out, advice) {
		t.Errorf("on the full disk: usher cert renew: %v, %s, want %q", err, out, advice)
	} else if out = a.must(t, "cert", "show", a.names[0]); !strings.Contains(out, advice) {
		t.Errorf("on the full disk: usher cert show: want %q in\n%s", advice, out)
	}
	stays("on the full disk")
	if status, body := a.p.ask("/readyz"); status != http.StatusOK || !strings.Contains(body, "degraded: ") {
		t.Errorf("on the full disk: /readyz: got %d %q", status, body)
	}
	room()
	a.ready(t)
	a.renews(t, "the full disk", served)
}
