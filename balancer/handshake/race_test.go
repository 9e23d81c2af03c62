package handshake_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"usher.example/balancer/handshake"
	"usher.example/balancer/record"
)

// TestManyAtOnce does 2,000 handshakes of all kinds over one configuration, 32 at
// a time. Some are resumed, some are broken off, and no session may get another's
// keys.
func TestManyAtOnce(t *testing.T) {
	const handshakes, workers = 2000, 32
	server, client := configs()
	client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	var stats [2]handshake.Stats
	tickets := new(handshake.Tickets)
	sc := handshake.Prepare(server, handshake.Options{Tickets: tickets, Stats: &stats[0]})
	var ccs []*handshake.Config
	for _, version := range []uint16{record.TLS12, record.TLS13} {
		cfg := client.Clone()
		cfg.MaxVersion = version
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		ccs = append(ccs, handshake.Prepare(cfg, handshake.Options{Stats: &stats[1]}))
	}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var serving, calling sync.WaitGroup
	serving.Go(func() {
		for {
			raw, err := l.AcceptTCP()
			if err != nil {
				return
			}
			serving.Go(func() { echo(t, raw, sc) })
		}
	})
	jobs := make(chan int)
	for range workers {
		calling.Go(func() {
			for i := range jobs {
				if err := call(t, l.Addr().(*net.TCPAddr), ccs[i%2], i); err != nil {
					t.Errorf("%d: %v", i, err)
				}
			}
		})
	}
	for i := range handshakes {
		jobs <- i
	}
	close(jobs)
	calling.Wait()
	_ = l.Close()
	serving.Wait()
	want := uint64(handshakes - (handshakes+brokenOff-1)/brokenOff)
	for i, who := range []string{"server", "client"} {
		if got := stats[i].Done(handshake.Covered); got != want {
			t.Errorf("%s: %d covered, want %d", who, got, want)
		}
	}
}

// brokenOff is which handshakes are left in their middle: each of so many.
const brokenOff = 17

func echo(t *testing.T, raw *net.TCPConn, cfg *handshake.Config) {
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(patience))
	c, err := handshake.Server(t.Context(), raw, cfg)
	if err != nil {
		return // it was broken off; the client's side counts
	}
	defer c.Close()
	_, _ = io.WriteString(c, "* OK\r\n")
	_, _ = io.Copy(c, c)
}

func call(t *testing.T, to *net.TCPAddr, cfg *handshake.Config, i int) error {
	raw, err := net.DialTCP("tcp", nil, to)
	if err != nil {
		return err
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(patience))
	if i%brokenOff == 0 {
		_, err := raw.Write([]byte{22, 3, 1, 2, 0, 1})
		return err
	}
	c, err := handshake.Client(t.Context(), raw, cfg)
	if err != nil {
		return err
	}
	greeting := make([]byte, len("* OK\r\n"))
	if _, err := io.ReadFull(c, greeting); err != nil {
		return err
	}
	want := fmt.Sprintf("this is %d", i)
	if _, err := io.WriteString(c, want); err != nil {
		return err
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		return fmt.Errorf("got %q, %w", got, err)
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	if _, err := c.Read(got); !errors.Is(err, io.EOF) {
		return fmt.Errorf("at the end: %w", err)
	}
	return c.Close()
}

// TestUsedByMany has all methods called at once.
func TestUsedByMany(t *testing.T) {
	each(t, func(t *testing.T, c *handshake.Conn, p peer) {
		go func() { _, _ = io.Copy(io.Discard, p) }()
		go func() { _, _ = io.Copy(p, neverEnding{}) }()
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { _, _ = io.Copy(io.Discard, c) })
			wg.Go(func() { _, _ = io.Copy(c, neverEnding{}) })
			wg.Go(func() {
				for range 50 {
					_ = c.SetDeadline(time.Now().Add(patience))
					_ = c.ConnectionState()
					_, _ = c.Detachable(), fmt.Sprint(c)
				}
				_ = c.Close()
			})
		}
		wg.Wait()
		_ = p.raw.Close()
	})
}

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) { return len(p), nil }
