package load_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"usher.example/bench/load"
)

// TestResumption wants the second connection of a worker to use the ticket of
// the first, and a worker without a cache to be offered tickets and use none.
func TestResumption(t *testing.T) {
	sink := startSink(t)
	relay := startRelay(t, sink.IMAP()[0], nil)
	kept := &keeper{ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for name, row := range map[string]struct {
		cache  tls.ClientSessionCache
		resume bool
	}{"with a cache": {kept, true}, "without": {nil, false}} {
		t.Run(name, func(t *testing.T) {
			service := relay.service(load.IMAP, row.cache)
			for i := range 3 {
				c := dial(t, service)
				if got, want := c.State().DidResume, row.resume && i > 0; got != want {
					t.Errorf("connection %d resumed: %t, want %t", i, got, want)
				}
				if got := c.State().CurveID; got != tls.X25519 {
					t.Errorf("negotiated %s, want X25519", got)
				}
				must(t, c.Login("alice", "secret"))
				must(t, c.Logout())
			}
		})
	}
	if kept.tickets != 3 {
		t.Errorf("%d tickets, want one by each greeting of 3", kept.tickets)
	}
}

// keeper counts tickets.
type keeper struct {
	tls.ClientSessionCache
	tickets int
}

func (k *keeper) Put(key string, s *tls.ClientSessionState) {
	if s != nil {
		k.tickets++
	}
	k.ClientSessionCache.Put(key, s)
}

// TestTicketsAreTaken wants a client that does not resume to ask for tickets all
// the same, as mail clients do: a server makes none for others.
func TestTicketsAreTaken(t *testing.T) {
	sink := startSink(t)
	relay := startRelay(t, sink.IMAP()[0], nil)
	made := 0
	relay.config.WrapSession = func(_ tls.ConnectionState, s *tls.SessionState) ([]byte, error) {
		made++
		return s.Bytes()
	}
	c := dial(t, relay.service(load.IMAP, nil))
	must(t, c.Login("alice", "secret"))
	must(t, c.Logout())
	if made == 0 {
		t.Error("the server made no ticket")
	}
}

// TestNegotiated wants no figures of another handshake than was asked for.
func TestNegotiated(t *testing.T) {
	sink := startSink(t)
	for name, configure := range map[string]func(server, client *tls.Config){
		"TLS 1.2": func(server, client *tls.Config) {
			server.MaxVersion, client.MinVersion = tls.VersionTLS12, tls.VersionTLS12
		},
		"another group": func(server, client *tls.Config) {
			server.CurvePreferences = []tls.CurveID{tls.CurveP384}
			client.CurvePreferences = append(client.CurvePreferences, tls.CurveP384)
		},
	} {
		relay := startRelay(t, sink.IMAP()[0], nil)
		service := relay.service(load.IMAP, nil)
		configure(relay.config, service.TLS)
		if _, err := service.Dial(t.Context()); !errors.Is(err, load.ErrNegotiated) {
			t.Errorf("%s: %v, want %v", name, err, load.ErrNegotiated)
		}
	}
	relay := startRelay(t, sink.IMAP()[0], nil)
	service := relay.service(load.IMAP, nil)
	relay.config.CurvePreferences = []tls.CurveID{tls.CurveP384}
	if _, err := service.Dial(t.Context()); err == nil {
		t.Error("X25519 alone was offered, and P-384 taken")
	}
	service = relay.service(load.IMAP, nil)
	service.TLS = load.TLSConfig(relay.roots, host, tls.CurveP384, nil)
	if got := dial(t, service).State().CurveID; got != tls.CurveP384 {
		t.Errorf("asked for P-384, got %s", got)
	}
	service.TLS = load.TLSConfig(relay.roots, "elsewhere.example.org", tls.CurveP384, nil)
	if _, err := service.Dial(t.Context()); err == nil {
		t.Error("a certificate of another name was taken")
	}
}

// TestStartTLS has the relay speak plaintext until TLS is asked for.
func TestStartTLS(t *testing.T) {
	sink := startSink(t)
	for protocol, row := range map[string]struct{ addr, verb string }{
		load.IMAP: {sink.IMAP()[0], "STARTTLS"},
		load.POP3: {sink.POP3()[0], "STLS"},
	} {
		t.Run(protocol, func(t *testing.T) {
			relay := startRelay(t, row.addr, func(client, server net.Conn) error {
				greeting, err := bufio.NewReader(server).ReadString('\n')
				if err != nil {
					return err
				}
				if _, err := io.WriteString(client, greeting); err != nil {
					return err
				}
				line := make([]byte, len(row.verb)+2)
				if protocol == load.IMAP {
					line = append(line, "a1 "...)
				}
				if _, err := io.ReadFull(client, line); err != nil {
					return err
				}
				answer := "+OK go on\r\n"
				if tag, ok := strings.CutSuffix(string(line), row.verb+"\r\n"); !ok {
					return errors.New("not asked for TLS")
				} else if tag != "" {
					answer = tag + "OK go on\r\n"
				}
				_, err = io.WriteString(client, answer)
				return err
			})
			cache := tls.NewLRUClientSessionCache(1)
			for i := range 2 {
				service := relay.service(protocol, cache)
				service.Security = load.StartTLS
				c := dial(t, service)
				if got := c.State().DidResume; got != (i > 0) {
					t.Errorf("connection %d resumed: %t", i, got)
				}
				must(t, c.Login("alice", "secret"))
				must(t, c.Download(size))
				must(t, c.Logout())
			}
		})
	}
}
