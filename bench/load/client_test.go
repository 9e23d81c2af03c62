package load_test

import (
	"errors"
	"testing"

	"usher.example/bench/load"
)

// size is no multiple of anything that moves octets.
const size = 1<<20 + 77

func dial(t *testing.T, s load.Service) *load.Client {
	t.Helper()
	c, err := s.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func must(t *testing.T, err error) {
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
