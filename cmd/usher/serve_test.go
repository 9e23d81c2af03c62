package main

import (
	"context"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A served plant is a whole life, as serve leads it, by orders of the test's.
type served struct {
	*plant
	orders orders
	ended  chan error
}

func (p *plant) serve() *served {
	p.t.Helper()
	p.write()
	s := &served{plant: p, orders: orders{reload: make(chan os.Signal, 1), stop: make(chan os.Signal, 2)}, ended: make(chan error, 1)}
	var living sync.WaitGroup
	living.Go(func() { s.ended <- live(p.t.Context(), p.path, p.log, s.orders) })
	p.t.Cleanup(living.Wait) // the context has ended by then
	s.logged("usher is ready", 1)
	return s
}

// logged waits for a line in the log, n times.
func (s *served) logged(what string, n int) {
	s.t.Helper()
	await(s.t, what+" in the log", func() bool {
		if s.t.Failed() {
			s.t.FailNow()
		}
		return strings.Count(s.log.String(), what) >= n
	})
}

func (s *served) reread(n int) {
	s.t.Helper()
	s.write()
	s.orders.reload <- syscall.SIGHUP
	s.logged("configuration reloaded", n)
}

// TestStopDuringReload: a reload waits for a resolver that is silent; an order to
// stop is heeded nevertheless, at once.
func TestStopDuringReload(t *testing.T) {
	asked := make(chan struct{}, 100)
	usual := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = usual })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		asked <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	p := newPlant(t)
	p.mail("mail1", "one")
	s := p.serve()
	s.backends["mail1"] = "host = \"mail1.invalid\"\nimap_port = 143\n"
	s.write()
	s.orders.reload <- syscall.SIGHUP
	<-asked
	s.orders.reload <- syscall.SIGHUP // and one more does not keep it
	begin := time.Now()
	s.orders.stop <- syscall.SIGTERM
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("it took %v to stop; the lookup may take 5s", took)
	}
	log := s.log.String()
	if !strings.Contains(log, "no reload: usher is being stopped") || strings.Contains(log, "configuration reloaded") {
		t.Errorf("the reload was not given up:\n%s", log)
	}
}

// TestRestartIsToldAgain: what takes a restart is told at every reload until it
// is what the process was started with, and not when it is that again.
func TestRestartIsToldAgain(t *testing.T) {
	const warning = `a change takes a restart to come into force" event=restart_needed key=users.lower_case`
	p := newPlant(t)
	p.mail("mail1", "one")
	s := p.serve()
	for i, step := range []struct {
		head  string
		times int
	}{
		{"[users]\nlower_case = false\n", 1},
		{"[users]\nlower_case = false\n", 2},
		{"", 2},
	} {
		s.head = step.head
		s.reread(i + 1)
		if got := strings.Count(s.log.String(), warning); got != step.times {
			t.Errorf("after reload %d: told %d times, want %d\n%s", i+1, got, step.times, s.log)
		}
	}
}

func TestDumpSaysWhatItReads(t *testing.T) {
	out, _, err := run(t, "config", "dump", "--help")
	if err != nil || !strings.Contains(out, "It does not ask a running usher") {
		t.Errorf("got %v, %s", err, out)
	}
}
