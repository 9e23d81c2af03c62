package handshake_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"usher.example/balancer/handshake"
	"usher.example/balancer/record"
)

// hello is what a client of crypto/tls says first.
func hello(t *testing.T) []byte {
	t.Helper()
	_, client := configs()
	a, b := net.Pipe()
	said := make(chan []byte, 1)
	go func() {
		buf := make([]byte, 1<<14)
		n, _ := a.Read(buf)
		said <- buf[:n]
		_ = a.Close()
	}()
	if err := tls.Client(b, client).Handshake(); err == nil {
		t.Fatal("a handshake with nobody")
	}
	return <-said
}

// TestGarbage has strangers say what is no handshake, and leave or stay.
func TestGarbage(t *testing.T) {
	ch := hello(t)
	huge := append([]byte{22, 3, 1, 0xff, 0xff}, make([]byte, 1<<16-1)...)
	for name, said := range map[string][]byte{
		"nothing":             nil,
		"one byte":            {22},
		"a header":            ch[:5],
		"half a hello":        ch[:len(ch)/2],
		"a hello less a byte": ch[:len(ch)-1],
		"HTTP":                []byte("GET / HTTP/1.0\r\n\r\n"),
		"IMAP":                []byte("a1 CAPABILITY\r\n"),
		"SSLv2":               {0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10},
		"zeros":               make([]byte, 5000),
		"a huge record":       huge,
		"an empty record":     {22, 3, 1, 0, 0},
		"an alert":            {21, 3, 1, 0, 2, 2, 40},
		"application data":    {23, 3, 3, 0, 1, 0},
		"change_cipher_spec":  {20, 3, 3, 0, 1, 1},
		"a hello twice":       append(append([]byte{}, ch...), ch...),
		"noise":               pattern(4000),
	} {
		for roleName, role := range roles {
			t.Run(name+"/"+roleName, func(t *testing.T) {
				server, client := configs()
				a, b := dial(t)
				go func() {
					_, _ = b.Write(said)
					_ = b.CloseWrite()
					_, _ = io.Copy(io.Discard, b)
				}()
				var stats handshake.Stats
				var err error
				if role == record.Server {
					_, err = handshake.Server(t.Context(), a, handshake.Prepare(server, handshake.Options{Stats: &stats}))
				} else {
					_, err = handshake.Client(t.Context(), a, handshake.Prepare(client, handshake.Options{Stats: &stats}))
				}
				if err == nil {
					t.Error("no error")
				}
				for _, r := range handshake.Reasons() {
					if stats.Done(r) != 0 {
						t.Errorf("counted as %v", r)
					}
				}
				_ = a.Close()
			})
		}
	}
}

func TestContextEndsAHandshake(t *testing.T) {
	server, client := configs()
	for name, role := range roles {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			a, b := dial(t)
			go func() {
				one := make([]byte, 1)
				if role == record.Client {
					_, _ = b.Read(one) // it has begun
				}
				cancel(errors.New("enough"))
			}()
			var err error
			if role == record.Server {
				_, err = handshake.Server(ctx, a, handshake.Prepare(server, handshake.Options{}))
			} else {
				_, err = handshake.Client(ctx, a, handshake.Prepare(client, handshake.Options{}))
			}
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the connection is open: %v", err)
			}
		})
	}
}

func TestDeadlineEndsAHandshake(t *testing.T) {
	server, _ := configs()
	a, _ := dial(t)
	_ = a.SetReadDeadline(past)
	_, err := handshake.Server(t.Context(), a, handshake.Prepare(server, handshake.Options{}))
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v", err)
	}
	if _, err := a.Write([]byte("x")); err != nil {
		t.Errorf("the connection is the caller's to close: %v", err)
	}
}

// slow copies one byte at a time, so that every Read meets an end of its own.
func slow(dst, src *net.TCPConn) {
	b := make([]byte, 1)
	for {
		if _, err := src.Read(b); err != nil {
			_ = dst.CloseWrite()
			return
		}
		if _, err := dst.Write(b); err != nil {
			return
		}
	}
}

// TestSlowNetwork puts a proxy between the two that does slow, both ways.
func TestSlowNetwork(t *testing.T) {
	for name, role := range roles {
		for _, version := range []uint16{record.TLS12, record.TLS13} {
			t.Run(name+"/"+tls.VersionName(version), func(t *testing.T) {
				server, client := configs()
				client.MaxVersion = version
				client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
				ours, theirs := server, client
				if role == record.Client {
					ours, theirs = client, server
				}
				cfg := handshake.Prepare(ours, handshake.Options{})
				for _, resumed := range []bool{false, true} {
					a, inner := dial(t)
					outer, b := dial(t)
					var wg sync.WaitGroup
					wg.Go(func() { slow(outer, inner) })
					wg.Go(func() { slow(inner, outer) })
					c, p, err := over(t.Context(), role, a, b, cfg, theirs)
					if err != nil {
						t.Fatal(err)
					}
					if !c.Detachable() || c.ConnectionState().DidResume != resumed {
						t.Errorf("resumed %v, reason %v", c.ConnectionState().DidResume, c.Reason())
					}
					carry(t, c, p, pattern(1000))
					carry(t, p, c, pattern(1000))
					e := detach(t, c)
					goesOn(t, e, p, "")
					_, _ = a.Close(), b.Close()
					wg.Wait()
				}
			})
		}
	}
}

// splitter cuts the first record that is written into records of one byte each,
// which is legal (RFC 8446 §5.1) and rude.
type splitter struct {
	net.Conn
	done bool
}

func (s *splitter) Write(p []byte) (int, error) {
	if s.done {
		return s.Conn.Write(p)
	}
	s.done = true
	n := record.HeaderLen + int(binary.BigEndian.Uint16(p[3:]))
	var cut []byte
	for _, b := range p[record.HeaderLen:n] {
		cut = append(cut, p[0], p[1], p[2], 0, 1, b)
	}
	if _, err := s.Conn.Write(append(cut, p[n:]...)); err != nil {
		return 0, err
	}
	return len(p), nil
}

func TestHelloInPieces(t *testing.T) {
	for name, role := range roles {
		for _, version := range []uint16{record.TLS12, record.TLS13} {
			t.Run(name+"/"+tls.VersionName(version), func(t *testing.T) {
				server, client := configs()
				client.MaxVersion = version
				a, b := dial(t)
				var p peer
				done := make(chan error, 1)
				var c *handshake.Conn
				var err error
				if role == record.Server {
					p = peer{tls.Client(&splitter{Conn: b}, client), b}
					go func() { done <- p.Handshake() }()
					c, err = handshake.Server(t.Context(), a, handshake.Prepare(server, handshake.Options{}))
				} else {
					p = peer{tls.Server(&splitter{Conn: a}, server), a}
					go func() { done <- p.Handshake() }()
					c, err = handshake.Client(t.Context(), b, handshake.Prepare(client, handshake.Options{}))
				}
				if err := errors.Join(err, <-done); err != nil {
					t.Fatal(err)
				}
				if !c.Detachable() {
					t.Fatalf("reason %v", c.Reason())
				}
				talk(t, c, p)
			})
		}
	}
}

// TestDataBehindTheHandshake has a client send data in the very segment that ends
// its handshake: none of it may be gone, and none may be taken early.
func TestDataBehindTheHandshake(t *testing.T) {
	for _, version := range []uint16{record.TLS12, record.TLS13} {
		server, client := configs()
		client.MaxVersion = version
		a, b := dial(t)
		g := &gate{Conn: b}
		p := tls.Client(g, client)
		done := make(chan error, 1)
		go func() {
			// In TLS 1.2 a server has the last word, so there the client can
			// only be quick.
			g.held = version == record.TLS13
			err := p.Handshake()
			for range 3 {
				_, _ = p.Write([]byte("early;"))
			}
			done <- errors.Join(err, g.open())
		}()
		c, err := handshake.Server(t.Context(), a, handshake.Prepare(server, handshake.Options{}))
		if err = errors.Join(err, <-done); err != nil {
			t.Fatal(err)
		}
		e := detach(t, c)
		if len(e.Plain)+len(e.Sealed) > 0 {
			t.Errorf("%d plain and %d sealed octets were taken", len(e.Plain), len(e.Sealed))
		}
		goesOn(t, e, peer{p, b}, strings.Repeat("early;", 3))
	}
}

// A gate holds back what is written after the first flight, until it is opened.
type gate struct {
	net.Conn
	held   bool
	writes int
	saved  []byte
}

func (g *gate) Write(p []byte) (int, error) {
	if g.writes++; g.held && g.writes > 1 {
		g.saved = append(g.saved, p...)
		return len(p), nil
	}
	return g.Conn.Write(p)
}

func (g *gate) open() error {
	g.held = false
	_, err := g.Conn.Write(g.saved)
	return err
}
