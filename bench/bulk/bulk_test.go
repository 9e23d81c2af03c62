package bulk_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"usher.example/bench/bulk"
)

// pair is a connection's two ends.
func pair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		_ = s.Close()
	})
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// TestPage wants lines that are a message as they stand.
func TestPage(t *testing.T) {
	n := 0
	for line := range bytes.Lines(bulk.Page()) {
		n++
		if line[0] == '.' || !bytes.HasSuffix(line, []byte("\r\n")) || bytes.Count(line, []byte("\r")) != 1 || bytes.IndexByte(line, 0) >= 0 {
			t.Fatalf("%q is no line of a message", line)
		}
	}
	if n < 2 {
		t.Errorf("%d lines", n)
	}
}

// TestSend reads what is sent: a head, the octets, and what is written behind.
func TestSend(t *testing.T) {
	for name, send := range map[string]func(*net.TCPConn, int64) error{"write": bulk.Send, "sendfile": bulk.SendFile} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			const size = 5<<20 + 3 // more than a page, and than sockets hold
			done := make(chan error, 1)
			go func() {
				err := errors.Join(bulk.Head(a, []byte("head")), send(a, size))
				_, failed := a.Write([]byte("tail"))
				done <- errors.Join(err, failed, a.CloseWrite())
			}()
			got, err := io.ReadAll(b)
			if err := errors.Join(err, <-done); err != nil {
				t.Fatal(err)
			}
			page := bulk.Page()
			want := append([]byte("head"), bytes.Repeat(page, size/len(page)+1)[:size]...)
			if want = append(want, "tail"...); !bytes.Equal(got, want) {
				t.Errorf("%d octets, want %d, or others", len(got), len(want))
			}
		})
	}
}

// TestDrop wants exactly so many octets dropped: what is behind them is there.
func TestDrop(t *testing.T) {
	a, b := pair(t)
	const size = 5<<20 + 3
	done := make(chan error, 1)
	go func() {
		for range 3 {
			if err := bulk.Send(a, size); err != nil {
				done <- err
				return
			}
			if _, err := a.Write([]byte("tail")); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for range 3 {
		if err := bulk.Drop(b, size); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 4)
		if _, err := io.ReadFull(b, got); err != nil || string(got) != "tail" {
			t.Fatalf("behind %d octets: %q (%v)", size, got, err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestEnds(t *testing.T) {
	a, b := pair(t)
	if err := errors.Join(bulk.Send(a, 10), a.CloseWrite()); err != nil {
		t.Fatal(err)
	}
	if err := bulk.Drop(b, 11); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("11 octets of 10: %v, want %v", err, io.ErrUnexpectedEOF)
	}
	if err := b.SetDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"drop": bulk.Drop(b, 1), "send": bulk.Send(b, 1), "sendfile": bulk.SendFile(b, 1), "head": bulk.Head(b, []byte("x")),
	} {
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s after the deadline: %v", name, err)
		}
	}
	_ = a.Close()
	for name, err := range map[string]error{
		"drop": bulk.Drop(a, 1), "send": bulk.Send(a, 1), "sendfile": bulk.SendFile(a, 1), "head": bulk.Head(a, []byte("x")),
	} {
		if err == nil {
			t.Errorf("%s on a closed connection: no error", name)
		}
	}
}
