package load_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"usher.example/bench/load"
)

// size is no multiple of anything that moves octets.
const size = 1<<20 + 77

func dial(t testing.TB, s load.Service) *load.Client {
	t.Helper()
	c, err := s.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestIMAP(t *testing.T) {
	sink := startSink(t)
	relay := startRelay(t, sink.IMAP()[0], nil)
	for name, service := range map[string]load.Service{
		"plain": {Protocol: load.IMAP, Security: load.Plain, Addr: sink.IMAP()[0]},
		"tls":   relay.service(load.IMAP, nil),
	} {
		t.Run(name, func(t *testing.T) {
			before := sink.Stats()
			c := dial(t, service)
			if err := c.Download(1); !errors.Is(err, load.ErrRefused) {
				t.Errorf("a download before login: %v, want %v", err, load.ErrRefused)
			}
			c = dial(t, service)
			must(t, c.Login(`a "quoted\user`, "secret"))
			must(t, c.Noop())
			for _, n := range []int64{0, 1, 16<<10 + 1, size} {
				must(t, c.Download(n))
				must(t, c.Upload(n))
			}
			must(t, c.Idle())
			must(t, c.Noop()) // ends the idling
			must(t, c.Logout())
			after := sink.Stats()
			if after.Logins-before.Logins != 1 {
				t.Errorf("%d logins, want 1", after.Logins-before.Logins)
			}
			const want = 1 + 16<<10 + 1 + size
			if got := after.Sent - before.Sent; got != want {
				t.Errorf("%d octets sent, want %d", got, want)
			}
			if got := after.Received - before.Received; got != want {
				t.Errorf("%d octets received, want %d", got, want)
			}
		})
	}
}

func TestPOP3(t *testing.T) {
	sink := startSink(t)
	relay := startRelay(t, sink.POP3()[0], nil)
	for name, service := range map[string]load.Service{
		"plain": {Protocol: load.POP3, Security: load.Plain, Addr: sink.POP3()[0]},
		"tls":   relay.service(load.POP3, nil),
	} {
		t.Run(name, func(t *testing.T) {
			before := sink.Stats()
			c := dial(t, service)
			must(t, c.Login("alice", "secret"))
			must(t, c.Noop())
			for _, n := range []int64{2, 3, 16<<10 + 2, 16<<10 + 3, size} {
				must(t, c.Download(n))
			}
			if err := c.Idle(); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("idle: %v, want %v", err, errors.ErrUnsupported)
			}
			if err := c.Upload(1); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("upload: %v, want %v", err, errors.ErrUnsupported)
			}
			must(t, c.Logout())
			after := sink.Stats()
			if got, want := after.Sent-before.Sent, int64(2+3+32<<10+5+size); got != want {
				t.Errorf("%d octets sent, want %d", got, want)
			}
			if after.Logins-before.Logins != 1 {
				t.Errorf("%d logins, want 1", after.Logins-before.Logins)
			}
		})
	}
}

func TestLoginRefused(t *testing.T) {
	sink := startSink(t)
	for protocol, addr := range map[string]string{load.IMAP: sink.IMAP()[0], load.POP3: sink.POP3()[0]} {
		c := dial(t, load.Service{Protocol: protocol, Security: load.Plain, Addr: addr})
		if err := c.Login("alice", wrong); !errors.Is(err, load.ErrRefused) {
			t.Errorf("%s: %v, want %v", protocol, err, load.ErrRefused)
		}
		must(t, c.Login("alice", "secret")) // the connection has not lost its place
	}
	if s := sink.Stats(); s.Refused != 2 || s.Logins != 2 {
		t.Errorf("%d refused, %d logins, want 2 of each", s.Refused, s.Logins)
	}
}

// TestManyDownloadsAtOnce has the buffers that transfers share go from hand to hand.
func TestManyDownloadsAtOnce(t *testing.T) {
	sink := startSink(t)
	relay := startRelay(t, sink.IMAP()[0], nil)
	service := relay.service(load.IMAP, nil)
	r := load.Closed(t.Context(), 4, 12, func(ctx context.Context, _, i int) error {
		c, err := service.Dial(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		return errors.Join(c.Login("alice", "secret"), c.Download(size+int64(i)), c.Upload(size), c.Noop(), c.Download(3), c.Logout())
	})
	if r.Done != 12 {
		t.Errorf("%d of 12 done: %v", r.Done, r.First)
	}
}

// TestIdleHasNoGoroutine wants nothing of a client that waits but its connection.
func TestIdleHasNoGoroutine(t *testing.T) {
	const clients = 20
	sink := startSink(t)
	service := load.Service{Protocol: load.IMAP, Security: load.Plain, Addr: sink.IMAP()[0]}
	must(t, dial(t, service).Noop()) // the sink serves
	before := runtime.NumGoroutine()
	for range clients {
		c := dial(t, service)
		must(t, c.Login("alice", "secret"))
		must(t, c.Idle())
	}
	if got := runtime.NumGoroutine() - before; got > clients {
		t.Errorf("%d goroutines more, want %d: the sink's, which has one for each", got, clients)
	}
}

// TestContextEndsClient has a client wait for an answer that does not come.
func TestContextEndsClient(t *testing.T) {
	addr, accepted := silent(t)
	ctx, stop := context.WithCancel(t.Context())
	service := load.Service{Protocol: load.IMAP, Security: load.Plain, Addr: addr}
	ended := make(chan error, 1)
	go func() {
		_, err := service.Dial(ctx)
		ended <- err
	}()
	<-accepted
	stop()
	if err := <-ended; err == nil {
		t.Error("a greeting from nobody")
	}
}

func TestTimeout(t *testing.T) {
	addr, _ := silent(t)
	service := load.Service{Protocol: load.IMAP, Security: load.Plain, Addr: addr, Timeout: time.Millisecond}
	r := load.Closed(t.Context(), 1, 1, func(ctx context.Context, _, _ int) error {
		_, err := service.Dial(ctx)
		return err
	})
	if r.Failed != 1 || r.Errors["timeout"] != 1 {
		t.Errorf("%v (%v), want a timeout", r.Errors, r.First)
	}
}

// silent accepts a connection, tells so, and says nothing on it.
func silent(t *testing.T) (addr string, accepted <-chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	told, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		c, err := l.Accept()
		if err != nil {
			return
		}
		close(told)
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-over
	})
	return l.Addr().String(), told
}

func TestServiceWrong(t *testing.T) {
	sink := startSink(t)
	for name, service := range map[string]load.Service{
		"protocol":         {Protocol: "smtp", Security: load.Plain, Addr: sink.IMAP()[0]},
		"security":         {Protocol: load.IMAP, Security: "none", Addr: sink.IMAP()[0]},
		"no configuration": {Protocol: load.IMAP, Security: load.TLS, Addr: sink.IMAP()[0]},
		"no POP3 there":    {Protocol: load.POP3, Security: load.Plain, Addr: sink.IMAP()[0]},
	} {
		if c, err := service.Dial(t.Context()); err == nil {
			_ = c.Close()
			t.Errorf("%s: no error", name)
		}
	}
}
