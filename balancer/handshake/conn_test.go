package handshake_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"usher.example/balancer/handshake"
	"usher.example/balancer/record"
)

// past is a deadline that has been missed.
var past = time.Unix(1, 0)

// each runs a test in both roles and versions.
func each(t *testing.T, f func(t *testing.T, c *handshake.Conn, p peer)) {
	for name, role := range roles {
		for _, version := range []uint16{record.TLS12, record.TLS13} {
			t.Run(name+"/"+tls.VersionName(version), func(t *testing.T) {
				server, client := configs()
				client.MaxVersion = version
				ours, theirs := server, client
				if role == record.Client {
					ours, theirs = client, server
				}
				c, p := shake(t, role, handshake.Prepare(ours, handshake.Options{}), theirs)
				f(t, c, p)
			})
		}
	}
}

func TestBothWaysAtOnce(t *testing.T) {
	each(t, func(t *testing.T, c *handshake.Conn, p peer) {
		data := pattern(2 << 20)
		var wg sync.WaitGroup
		wg.Go(func() { carry(t, c, p, data) })
		wg.Go(func() { carry(t, p, c, data) })
		wg.Wait()
	})
}

func TestReadsOfAnySize(t *testing.T) {
	each(t, func(t *testing.T, c *handshake.Conn, p peer) {
		data := pattern(5000)
		go func() { _, _ = p.Write(data) }()
		var got []byte
		for size := 1; len(got) < len(data); size = size*3%701 + 1 {
			if n, err := c.Read(nil); n != 0 || err != nil {
				t.Fatalf("read nothing: %d, %v", n, err)
			}
			b := make([]byte, size)
			n, err := c.Read(b)
			if err != nil || n == 0 {
				t.Fatalf("read %d: %d, %v", size, n, err)
			}
			got = append(got, b[:n]...)
		}
		if !bytes.Equal(got, data) {
			t.Error("other data than was sent")
		}
	})
}

func TestDeadlines(t *testing.T) {
	each(t, func(t *testing.T, c *handshake.Conn, p peer) {
		for name, set := range map[string]func(time.Time) error{
			"read": c.SetReadDeadline, "both": c.SetDeadline, "raw": c.Raw().SetReadDeadline,
		} {
			_ = set(past)
			var timeout net.Error
			_, err := c.Read(make([]byte, 1))
			if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("%s: read in the past: %v", name, err)
			}
			_ = set(time.Now().Add(patience))
			carry(t, p, c, []byte("after"))
		}
		blocked := make(chan error, 1)
		go func() {
			_, err := c.Read(make([]byte, 1))
			blocked <- err
		}()
		_ = c.SetReadDeadline(past)
		if err := <-blocked; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a read that waits: %v", err)
		}
		_ = c.SetReadDeadline(time.Time{})
		carry(t, c, p, []byte("writing is as before"))

		_ = c.SetWriteDeadline(past)
		for range 2 { // it cannot go on
			if _, err := c.Write([]byte("late")); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("write in the past: %v", err)
			}
			_ = c.SetWriteDeadline(time.Now().Add(patience))
		}
		carry(t, p, c, []byte("reading is as before"))
		if _, ok := c.Detach(); ok {
			t.Error("detached after a write that was cut short")
		}
	})
}

// record makes p write data, and returns the bytes instead of sending them.
func (p peer) record(t *testing.T, c *handshake.Conn, data []byte) []byte {
	t.Helper()
	if _, err := p.Write(data); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1<<16)
	n, err := io.ReadAtLeast(c.Raw(), b, len(data)+record.HeaderLen+16)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// hold has c read until it holds n bytes of a record, by missing deadlines.
func hold(t *testing.T, c *handshake.Conn, n int) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
		got, err := c.Read(make([]byte, 1))
		if got != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%d bytes of a record: read %d, %v", n, got, err)
		}
		if held, _ := c.Held(); held == n {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d bytes do not come", n)
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
}

// TestDeadlineAmidARecord stops after each byte of a record.
func TestDeadlineAmidARecord(t *testing.T) {
	each(t, func(t *testing.T, c *handshake.Conn, p peer) {
		want := []byte("a1 LOGIN joe secret\r\n")
		rec := p.record(t, c, want)
		for n := range rec {
			if n > 0 {
				hold(t, c, n)
			}
			if _, err := p.raw.Write(rec[n : n+1]); err != nil {
				t.Fatal(err)
			}
		}
		got := make([]byte, 100)
		if n, err := c.Read(got); err != nil || !bytes.Equal(got[:n], want) {
			t.Errorf("got %q, %v", got[:n], err)
		}
	})
}

func TestCloseEndsCalls(t *testing.T) {
	each(t, func(t *testing.T, c *handshake.Conn, p peer) {
		ended := make(chan error, 2)
		go func() {
			_, err := c.Read(make([]byte, 1))
			ended <- err
		}()
		go func() {
			for {
				if _, err := c.Write(make([]byte, 1<<20)); err != nil { // nobody reads
					ended <- err
					return
				}
			}
		}()
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		for range 2 {
			if err := <-ended; err == nil {
				t.Error("a call went on")
			}
		}
		for what, err := range map[string]error{
			"close": c.Close(), "close for writing": c.CloseWrite(), "deadline": c.SetDeadline(past),
			"read":  second(c.Read(make([]byte, 1))),
			"write": second(c.Write([]byte("x"))),
		} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s after close: %v", what, err)
			}
		}
		if _, ok := c.Detach(); ok {
			t.Error("detached after close")
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestCloseNotify(t *testing.T) {
	each(t, func(t *testing.T, c *handshake.Conn, p peer) {
		carry(t, c, p, []byte("BYE\r\n"))
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if _, err := p.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("peer: %v, want EOF", err)
		}
		if b, err := io.ReadAll(p.raw); err != nil || len(b) > 0 {
			t.Errorf("after it: %d bytes, %v, want FIN", len(b), err)
		}
	})
}

// TestNoCloseNotify tells a stream that was cut from one that was ended.
func TestNoCloseNotify(t *testing.T) {
	each(t, func(t *testing.T, c *handshake.Conn, p peer) {
		rec := p.record(t, c, []byte("cut short"))
		_, _ = p.raw.Write(rec[:len(rec)-1])
		_ = p.raw.CloseWrite()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("amid a record: %v", err)
		}
	})
	each(t, func(t *testing.T, c *handshake.Conn, p peer) {
		_, _ = p.Write([]byte("a"))
		_ = p.raw.CloseWrite()
		if b, err := io.ReadAll(c); string(b) != "a" || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after a record: %q, %v", b, err)
		}
		carry(t, c, p, []byte("the other way is open"))
	})
}

func TestAlerts(t *testing.T) {
	each(t, func(t *testing.T, c *handshake.Conn, p peer) {
		rec := p.record(t, c, []byte("forged"))
		rec[len(rec)-1] ^= 1
		_, _ = p.raw.Write(rec)
		for range 2 {
			var alert *record.AlertError
			if _, err := c.Read(make([]byte, 1)); !errors.As(err, &alert) || alert.Alert != record.BadRecordMAC {
				t.Errorf("read: %v", err)
			}
		}
		if _, err := p.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "bad record MAC") {
			t.Errorf("peer: %v", err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, record.ErrClosed) {
			t.Errorf("write after it: %v", err)
		}
		if _, ok := c.Detach(); ok {
			t.Error("detached after it")
		}
	})
	each(t, func(t *testing.T, c *handshake.Conn, p peer) {
		_, _ = c.Raw().Write([]byte{23, 3, 3, 0, 32, 32 + record.HeaderLen - 1: 0})
		if _, err := p.Read(make([]byte, 1)); err == nil {
			t.Error("the peer took a forged record")
		}
		var alert *record.AlertError
		if _, err := c.Read(make([]byte, 1)); !errors.As(err, &alert) || alert.Class != record.Peer {
			t.Errorf("read: %v, want the peer's alert", err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, record.ErrClosed) {
			t.Errorf("write after it: %v", err)
		}
	})
}
