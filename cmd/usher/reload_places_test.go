package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"usher.example/balancer/balancertest"
	"usher.example/health"
)

// TestBackendsComeAndGoUnderLogins: reloads add and remove back ends, and no
// login fails.
func TestBackendsComeAndGoUnderLogins(t *testing.T) {
	const workers, reloads = 4, 40
	for _, storage := range []string{"shared", "local"} {
		t.Run(storage, func(t *testing.T) {
			p := newPlant(t)
			p.pool = "storage = \"" + storage + "\"\n"
			for i := range 4 {
				name := fmt.Sprintf("mail%d", i+1)
				p.mail(name, name)
			}
			all := p.order
			p.start()
			var stop atomic.Bool
			var logins atomic.Int64
			var working sync.WaitGroup
			for w := range workers {
				working.Go(func() {
					for i := 0; !stop.Load(); i++ {
						c, err := p.call(fmt.Sprintf("user%d-%d", w, i))
						if err != nil {
							t.Error(err)
							return
						}
						if _, err := c.ask("c", "LOGOUT"); err != nil {
							t.Error(err)
						}
						c.Close()
						logins.Add(1)
					}
				})
			}
			for i := range reloads {
				before := logins.Load()
				p.order = all[i%3 : i%3+2] // one comes, one goes
				p.reload()
				await(t, "logins go on", func() bool { return logins.Load() > before+workers || t.Failed() })
			}
			stop.Store(true)
			working.Wait()
			t.Logf("%d logins in %d reloads", logins.Load(), reloads)
		})
	}
}

// TestNameOfAnotherServer: a reload points a name at another server. A user who
// is live on the old one is not on both, ever.
func TestNameOfAnotherServer(t *testing.T) {
	p := newPlant(t)
	p.mail("mail1", "old")
	p.mail("mail2", "other")
	p.start()
	user := p.userOf("mail1")
	first, server := p.enter(user)
	if server != "old" {
		t.Fatalf("%s is at %q, want old", user, server)
	}
	since := p.state("mail1").Since
	p.mail("mail1", "new")
	p.reload()
	if _, err := first.ask("c", "NOOP"); err != nil {
		t.Errorf("a live session ended with the reload: %v", err)
	}
	await(t, "the new server is up", func() bool { return p.up("mail1") })
	if got := p.state("mail1").Since; !got.After(since) {
		t.Errorf("the new server is up since %v, when there was only the old", got)
	}
	if _, server := p.enter(user); server != "new" {
		t.Errorf("%s is at %q, want new", user, server)
	}
	ended(t, first.in)
}

// TestNewBackendIsLookedAtFirst: a server that does not answer is added, and no
// login is sent there.
func TestNewBackendIsLookedAtFirst(t *testing.T) {
	p := newPlant(t)
	p.mail("mail1", "one")
	p.start()
	p.add("mail2", "", func(c *balancertest.Conn) { c.Hang() })
	p.reload()
	if p.up("mail2") {
		t.Error("it counts as up, and nobody has seen it answer")
	}
	for i := range 20 {
		if _, server := p.enter(fmt.Sprintf("user%d", i)); server != "one" {
			t.Errorf("user%d is at %q, want one", i, server)
		}
	}
	if reasons := p.node.ready.Reasons(); len(reasons) != 0 {
		t.Errorf("not ready: %q", reasons)
	}
}

// TestOtherHealthSettings: a reload that changes them forgets nothing.
func TestOtherHealthSettings(t *testing.T) {
	p := newPlant(t)
	p.mail("mail1", "one")
	p.mail("mail2", "two").Close()
	p.start()
	if one, two := p.state("mail1").State, p.state("mail2").State; one != health.Up || two != health.Down {
		t.Fatalf("mail1 is %v, mail2 is %v; want up and down", one, two)
	}
	before := p.node.checkers
	want := []health.Status{p.state("mail1"), p.state("mail2")}
	p.health = "interval = \"2s\"\ntimeout = \"1s\"\n"
	p.reload()
	for i, name := range []string{"mail1", "mail2"} {
		if got := p.state(name); got.State != want[i].State || !got.Since.Equal(want[i].Since) {
			t.Errorf("%s is %v since %v, want %v since %v", name, got.State, got.Since, want[i].State, want[i].Since)
		}
		key := checkKey{"main", name}
		if p.node.checkers[key] == before[key] {
			t.Errorf("%s: the settings are not in force", name)
		}
	}
	if reasons := p.node.ready.Reasons(); len(reasons) != 0 {
		t.Errorf("not ready: %q", reasons)
	}
}

// TestReadyIsWhatPlacesSay: /readyz cannot say otherwise than logins go.
func TestReadyIsWhatPlacesSay(t *testing.T) {
	p := newPlant(t)
	p.mail("mail1", "one")
	p.start()
	p.node.fleet.SetHealth("main", "mail1", false)
	await(t, "/readyz says that no back end is up", func() bool {
		return slices.Equal(p.node.ready.Reasons(), []string{"pool main: no back end up"})
	})
}

// TestRetireWaits: when the successors of checkers begin, these have ended, also
// where a probe was under way.
func TestRetireWaits(t *testing.T) {
	p := newPlant(t)
	asked := make(chan struct{}, 100)
	p.mail("mail1", "one")
	p.start()
	p.add("mail2", "", func(c *balancertest.Conn) { asked <- struct{}{}; c.Hang() })
	p.reload()
	<-asked
	p.node.retire(nil)
	for key, r := range p.node.checkers {
		if !r.ended() {
			t.Errorf("the checker of %s has not ended", key.backend)
		}
	}
}

// TestPins: they come with a reload; where one is wrong, check tells where, and
// nothing changes.
func TestPins(t *testing.T) {
	p := newPlant(t)
	p.mail("mail1", "one")
	p.mail("mail2", "two")
	p.start()
	user := p.userOf("mail1")
	file := filepath.Join(t.TempDir(), "pins")
	pin := func(line string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pin(user + " mail2\n")
	p.pool += fmt.Sprintf("pins_file = %q\n", file)
	p.reload()
	if _, server := p.enter(user); server != "two" {
		t.Errorf("%s is at %q, want two, by his pin", user, server)
	}

	p.mail("mail3", "three")
	c := p.load()
	pin(user + " mail1\n" + user + " mail9\n")
	for name, err := range map[string]error{
		"check": func() error { _, _, err := run(t, "check", "-c", p.path); return err }(),
		"apply": p.node.apply(c),
	} {
		if err == nil || !strings.Contains(err.Error(), file+`:2: the pool has no back end "mail9"`) {
			t.Errorf("%s: got %v, want the line of the pin", name, err)
		}
	}
	if w, err := p.node.fleet.Where("main", user); err != nil || w.Pin != "mail2" {
		t.Errorf("%+v, %v; want the pin to mail2 still", w, err)
	}
	if n := len(p.node.fleet.Status()[0].Backends); n != 2 || p.node.server.Pool("main").Backend("mail3") != nil {
		t.Errorf("%d back ends, want the two from before", n)
	}
	p.pool = "storage = \"shared\"\n"
	p.reload()
	if w, err := p.node.fleet.Where("main", user); err != nil || w.Pin != "" {
		t.Errorf("%+v, %v; want no pin", w, err)
	}
}
