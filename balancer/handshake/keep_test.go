package handshake_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"usher.example/balancer/handshake"
	"usher.example/balancer/record"
)

// fill writes until the peer's and our socket take no more, and returns the last
// error.
func fill(c net.Conn) error {
	for {
		_ = c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := c.Write(make([]byte, 1<<20)); err != nil {
			return err
		}
	}
}

// TestFullSocket wants Close and a Read that fails not to wait for a peer who
// does not read: with no deadline set, they would for ever.
func TestFullSocket(t *testing.T) {
	each(t, func(t *testing.T, c *handshake.Conn, _ peer) {
		if err := fill(c.Raw()); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Time{})
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	each(t, func(t *testing.T, c *handshake.Conn, p peer) {
		_ = c.SetDeadline(time.Time{})
		stuck := make(chan error, 1)
		go func() {
			for {
				if _, err := c.Write(make([]byte, 1<<20)); err != nil {
					stuck <- err
					return
				}
			}
		}()
		_, _ = p.raw.Write([]byte{23, 3, 3, 0, 32, 32 + record.HeaderLen - 1: 0})
		var alert *record.AlertError
		if _, err := c.Read(make([]byte, 1)); !errors.As(err, &alert) || alert.Class != record.Forged {
			t.Errorf("read: %v", err)
		}
		if err := <-stuck; err == nil {
			t.Error("the Write that waited went well")
		}
	})
}

// TestKeptMemory wants a Conn between two lines to hold little.
func TestKeptMemory(t *testing.T) {
	each(t, func(t *testing.T, c *handshake.Conn, p peer) {
		for _, n := range sizes {
			carry(t, p, c, pattern(n))
			if held, room := c.Held(); held != 0 || room > handshake.SmallBuffer {
				t.Errorf("after %d bytes: holds %d, room for %d", n, held, room)
			}
		}
	})
}

func TestKeysAreNotPrinted(t *testing.T) {
	each(t, func(t *testing.T, c *handshake.Conn, _ peer) {
		texts := []string{fmt.Sprint(c), fmt.Sprintf("%+v %#v %x", c, c, c)}
		s, ok := c.Detach()
		if !ok {
			t.Fatal("not detached")
		}
		s.Plain = []byte("secret")
		texts = append(texts, fmt.Sprint(s), fmt.Sprintf("%+v %#v %x", &s, s, s))
		for _, text := range texts {
			if len(text) > 100 || strings.Contains(text, "secret") {
				t.Errorf("printed %q", text)
			}
		}
	})
}
