package main_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// virtual is the address that keepalived moves.
const virtual = "10.77.0.200"

// keepalived runs the example's configuration in a node's home, with the addresses
// of the test put in for those of the example.
func keepalived(t *testing.T, dir string, h, peer netHome, e *edge, priority int) {
	t.Helper()
	text := example(t, "keepalived.conf")
	for _, change := range [][2]string{
		{"/usr/bin/usher check-health --ready", filepath.Join(dir, "usher") + " check-health --ready --socket " + e.socket()},
		{"interface eth0", "interface mail"},
		{"router_id edge-1", "router_id " + e.name},
		{"priority 120", fmt.Sprintf("priority %d", priority)},
		{"unicast_src_ip 192.0.2.11", "unicast_src_ip " + h.mail},
		{"192.0.2.12", peer.mail},
		{"192.0.2.10/24", virtual + "/24"},
	} {
		if strings.Count(text, change[0]) != 1 {
			t.Fatalf("the example has %q %d times, want once", change[0], strings.Count(text, change[0]))
		}
		text = strings.Replace(text, change[0], change[1], 1)
	}
	file := filepath.Join(dir, e.name+".conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// In the foreground, only VRRP, with files of its own.
	args := append(h.within(), "keepalived", "-n", "-l", "-D", "-P", "-f", file,
		"-p", filepath.Join(dir, e.name+".pid"), "-r", filepath.Join(dir, e.name+"-vrrp.pid"))
	cmd := exec.Command(args[0], args[1:]...)
	log := new(transcript)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // what was wrong was said
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("keepalived of %s:\n%s", e.name, log)
		}
	})
}

// example is a file of docs/examples.
func example(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/examples/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// has says whether the address is at a node.
func (h netHome) has(address string) bool {
	args := append(h.within(), "ip", "-o", "address", "show", "to", address)
	out, err := exec.Command(args[0], args[1:]...).Output()
	return err == nil && len(out) > 0
}

// callers log in at the virtual address all the time.
type callers struct {
	site    site
	count   int
	stop    chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex  // guards what follows
	good    []time.Time // when logins began that went well
	torn    []string    // connections that broke as the address moved, and a second try went well
	refused []string
}

// callEvery is the pace of a caller, and callerCount their number; more for a long run.
const (
	callEvery   = 200 * time.Millisecond
	callerCount = 2
	longCallers = 12
)

func (r *rig) call(e *edge) *callers {
	l := &callers{site: *e.site, stop: make(chan struct{}), count: callerCount}
	l.site.host = virtual
	if long() {
		l.count = longCallers
	}
	for w := range l.count {
		l.running.Go(func() {
			tick := time.NewTicker(callEvery)
			defer tick.Stop()
			for i := 0; ; i++ {
				select {
				case <-l.stop:
					return
				case <-tick.C:
					l.once(fmt.Sprintf("user%02d", (w+l.count*i)%40))
				}
			}
		})
	}
	return l
}

// once logs in. A connection that breaks in the middle is what clients have when an
// address moves from under them: they try again at once, and so do we, once.
func (l *callers) once(user string) {
	began := time.Now()
	var first string
	for try := range 2 {
		c := l.site.enter("imaps", entry{})
		verdict := c.login(user, "secret")
		err := c.err
		c.Close()
		broken := errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		l.mu.Lock()
		switch {
		case err == nil && good(verdict):
			l.good = append(l.good, began)
			if try > 0 {
				l.torn = append(l.torn, first)
			}
		case try == 0 && broken && !errors.Is(err, syscall.ECONNREFUSED):
			first = fmt.Sprintf("%s %s: %v", began.Format("15:04:05.000"), user, err)
			l.mu.Unlock()
			continue
		default:
			l.refused = append(l.refused, fmt.Sprintf("%s %s: %q %v (%s)", began.Format("15:04:05.000"), user, verdict, err, first))
		}
		l.mu.Unlock()
		return
	}
}

// told returns what was counted since the last time.
func (l *callers) told() (good []time.Time, torn, refused []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	good, torn, refused = l.good, l.torn, l.refused
	l.good, l.torn, l.refused = nil, nil, nil
	return good, torn, refused
}

func (l *callers) end() { close(l.stop); l.running.Wait() }

// TestAddressMoves moves the virtual address of two nodes by keepalived, with the
// example's own configuration, under logins: neither SIGTERM nor a drain refuses a
// login. A node that dies is shown for comparison.
func TestAddressMoves(t *testing.T) {
	t.Parallel()
	require(t, "keepalived")
	if !inNetwork(t) {
		return
	}
	homes := networks(t)
	r := newRig(t, rigOptions{homes: homes, address: inMail(t)})
	for _, e := range r.nodes {
		e.head = "withdraw = \"8s\"\ndrain = \"1s\"\n" + r.fleetTable(e) // the one is the default
		e.listeners[0].host = "0.0.0.0"
	}
	r.start()

	// keepalived runs no script below a folder that others may write to.
	dir, err := os.MkdirTemp("/run", "usher-test-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	runs(t, "cp", binary, filepath.Join(dir, "usher"))
	one, two := r.nodes[0], r.nodes[1]
	keepalived(t, dir, homes[0], homes[1], one, 120)
	keepalived(t, dir, homes[1], homes[0], two, 100)
	at := func(i int) {
		t.Helper()
		eventually(t, "the address is at "+r.nodes[i].name, func() bool {
			return homes[i].has(virtual) && !homes[1-i].has(virtual)
		})
	}
	at(0)
	l := r.call(one)
	defer l.end()
	eventually(t, "logins go well", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.good) > l.count
	})
	l.told()
	order := func(args ...string) {
		t.Helper()
		if out, err := one.p.command(append(args, "--socket", two.socket())...); err != nil {
			t.Fatalf("usher %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	smooth := func(what string) {
		t.Helper()
		good, torn, refused := l.told()
		t.Logf("%s: %d logins, %d refused, %d broke in the middle and went well at once", what, len(good), len(refused), len(torn))
		if len(good) == 0 {
			t.Errorf("%s: nobody logged in, so nothing is shown", what)
		}
		if len(torn) > l.count { // one of each caller, at the moment of the move
			t.Errorf("%s: %d connections broke: %q", what, len(torn), torn)
		}
		for _, line := range refused {
			t.Errorf("%s: refused: %s", what, line)
		}
	}

	began := time.Now()
	order("node", "drain", one.name)
	at(1)
	t.Logf("drained: the address moved after %v", since(began))
	smooth("a drain")
	began = time.Now()
	order("node", "drain", "--undo", one.name)
	at(0)
	t.Logf("taken back: the address moved after %v", since(began))
	smooth("the way back")

	began = time.Now()
	one.p.signal(syscall.SIGTERM)
	at(1)
	t.Logf("SIGTERM: the address moved after %v", since(began))
	<-one.p.done
	t.Logf("SIGTERM: the process ended after %v", since(began))
	smooth("SIGTERM")
	if !long() {
		return
	}
	one.begin()
	one.ready()
	at(0)
	smooth("a start")

	began = time.Now()
	one.kill()
	at(1)
	t.Logf("kill -9: the address moved after %v", since(began))
	after := time.Now()
	var served time.Time
	eventually(t, "logins go well again", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, when := range l.good {
			if when.After(after) {
				served = when
			}
		}
		return !served.IsZero()
	})
	_, torn, refused := l.told()
	t.Logf("kill -9: served again after %v; %d logins were refused, %d broke", served.Sub(began).Round(time.Millisecond), len(refused), len(torn))
}
