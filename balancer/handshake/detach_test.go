package handshake_test

import (
	"bytes"
	"io"
	"runtime"
	"testing"
	"time"

	"usher.example/balancer/handshake"
	"usher.example/balancer/record"
)

// An engine goes on with a session, in the plainest way.
type engine struct {
	handshake.State
	buf []byte
}

func (e *engine) read(t *testing.T) []byte {
	t.Helper()
	if len(e.Plain) > 0 {
		p := e.Plain
		e.Plain = nil
		return p
	}
	if e.Sealed != nil {
		e.buf, e.Sealed = append(e.buf, e.Sealed...), nil
	}
	for {
		a, err := e.Reader.AEAD()
		if err != nil {
			t.Fatal(err)
		}
		n, ev, err := e.Reader.Next(a, e.buf)
		if err != nil {
			t.Fatal(err)
		}
		data := bytes.Clone(ev.Data)
		e.buf = e.buf[n:]
		switch {
		case ev.Kind == record.Data:
			return data
		case ev.Kind == record.Closed:
			return nil
		case n > 0:
			continue
		}
		b := make([]byte, 1<<16)
		m, err := e.Raw.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		e.buf = append(e.buf, b[:m]...)
	}
}

func (e *engine) write(t *testing.T, data []byte) {
	t.Helper()
	var out []byte
	a, err := e.Writer.AEAD()
	if err == nil && e.Writer.Due(1, 0) {
		if out, err = e.Writer.AppendKeyUpdate(out, a, false); err == nil {
			a, err = e.Writer.AEAD()
		}
	}
	if err == nil {
		out, err = e.Writer.Append(out, a, data)
	}
	if err == nil {
		_, err = e.Raw.Write(out)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// detach takes the session, and wants nothing of it to be left behind.
func detach(t *testing.T, c *handshake.Conn) *engine {
	t.Helper()
	s, ok := c.Detach()
	if !ok {
		t.Fatal("not detached")
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the Conn still reads")
	}
	if _, err := c.Write([]byte("x")); err == nil {
		t.Error("the Conn still writes")
	}
	if err := c.Close(); err == nil {
		t.Error("the Conn still closes")
	}
	if _, again := c.Detach(); again {
		t.Error("detached twice")
	}
	if r, w := c.Sequences(); r|w != 0 {
		t.Error("the Conn still has keys")
	}
	if c.ConnectionState().Version != 0 {
		t.Error("the Conn still has its state")
	}
	return &engine{State: s}
}

// goesOn has the engine move data both ways.
func goesOn(t *testing.T, e *engine, p peer, coming string) {
	t.Helper()
	for got := ""; got != coming; {
		data := e.read(t)
		if got += string(data); len(data) == 0 || len(got) > len(coming) {
			t.Fatalf("got %q, want %q", got, coming)
		}
	}
	e.write(t, []byte("from the engine"))
	got := make([]byte, len("from the engine"))
	if _, err := io.ReadFull(p, got); err != nil || string(got) != "from the engine" {
		t.Fatalf("peer got %q, %v", got, err)
	}
	if _, err := p.Write([]byte("to the engine")); err != nil {
		t.Fatal(err)
	}
	if got := e.read(t); string(got) != "to the engine" {
		t.Fatalf("engine got %q", got)
	}
}

func TestDetachAtOnce(t *testing.T) {
	each(t, func(t *testing.T, c *handshake.Conn, p peer) {
		e := detach(t, c)
		if e.Raw == nil || e.Plain != nil || e.Sealed != nil || e.Closed {
			t.Errorf("left over: %d plain, %d sealed, closed %v", len(e.Plain), len(e.Sealed), e.Closed)
		}
		goesOn(t, e, p, "")
	})
}

func TestDetachAfterADialogue(t *testing.T) {
	each(t, func(t *testing.T, c *handshake.Conn, p peer) {
		for range 10 {
			carry(t, c, p, []byte("* OK\r\n"))
			carry(t, p, c, []byte("a1 LOGIN joe secret\r\n"))
		}
		e := detach(t, c)
		if e.Plain != nil || e.Sealed != nil {
			t.Errorf("left over: %d plain, %d sealed", len(e.Plain), len(e.Sealed))
		}
		goesOn(t, e, p, "")
	})
}

// TestDetachWithDataUnread reads a part of a record, with another behind it.
func TestDetachWithDataUnread(t *testing.T) {
	each(t, func(t *testing.T, c *handshake.Conn, p peer) {
		_, _ = p.Write([]byte("LOGIN;SELECT"))
		_, _ = p.Write([]byte(";IDLE"))
		login := make([]byte, len("LOGIN;"))
		if _, err := io.ReadFull(c, login); err != nil {
			t.Fatal(err)
		}
		e := detach(t, c)
		if string(e.Plain) != "SELECT" || e.Sealed != nil {
			t.Errorf("left over: %q plain, %d sealed", e.Plain, len(e.Sealed))
		}
		goesOn(t, e, p, "SELECT;IDLE")
	})
}

// TestDetachAmidARecord does so after each byte of one.
func TestDetachAmidARecord(t *testing.T) {
	size := 0
	for n := 1; n == 1 || n < size; n += 3 {
		each(t, func(t *testing.T, c *handshake.Conn, p peer) {
			rec := p.record(t, c, []byte("SELECT INBOX"))
			size = len(rec)
			n := min(n, size-1)
			_, _ = p.raw.Write(rec[:n])
			hold(t, c, n)
			e := detach(t, c)
			if len(e.Sealed) != n || e.Plain != nil {
				t.Errorf("left over: %d sealed, want %d", len(e.Sealed), n)
			}
			_, _ = p.raw.Write(rec[n:])
			goesOn(t, e, p, "SELECT INBOX")
		})
	}
}

func TestDetachAfterCloses(t *testing.T) {
	each(t, func(t *testing.T, c *handshake.Conn, p peer) {
		_ = p.CloseWrite()
		_, _ = c.Read(make([]byte, 1))
		e := detach(t, c)
		if !e.Closed {
			t.Error("the close_notify is forgotten")
		}
		e.write(t, []byte("answer"))
		got := make([]byte, 6)
		if _, err := io.ReadFull(p, got); err != nil || string(got) != "answer" {
			t.Errorf("peer got %q, %v", got, err)
		}
	})
	each(t, func(t *testing.T, c *handshake.Conn, p peer) {
		_ = c.CloseWrite()
		if _, ok := c.Detach(); ok {
			t.Error("detached after CloseWrite")
		}
		carry(t, p, c, []byte("it goes on reading"))
	})
}

// TestDetachWithAnUpdateOwed has the peer ask for new keys just before.
func TestDetachWithAnUpdateOwed(t *testing.T) {
	server, client := configs()
	for _, owing := range []record.Role{record.Server, record.Client} {
		a, b := bothOurs(t, handshake.Prepare(server, handshake.Options{}), handshake.Prepare(client, handshake.Options{}))
		if owing == record.Client {
			a, b = b, a
		}
		asking := detach(t, b)
		cipher, err := asking.Writer.AEAD()
		if err != nil {
			t.Fatal(err)
		}
		update, err := asking.Writer.AppendKeyUpdate(nil, cipher, true)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = asking.Raw.Write(update)
		asking.write(t, []byte("x"))
		if _, err := a.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		owes := detach(t, a)
		if !owes.Writer.Due(1, 0) {
			t.Error("the KeyUpdate is forgotten")
		}
		owes.write(t, []byte("answer"))
		if got := asking.read(t); string(got) != "answer" || asking.Reader.Updates() != 1 {
			t.Errorf("got %q after %d updates", got, asking.Reader.Updates())
		}
	}
}

func TestWipe(t *testing.T) {
	each(t, func(t *testing.T, c *handshake.Conn, p peer) {
		_, _ = p.Write([]byte("xsecret"))
		_, _ = c.Read(make([]byte, 1))
		e := detach(t, c)
		plain := e.Plain
		e.Wipe()
		if !bytes.Equal(plain, make([]byte, len("secret"))) || e.Reader.Suite() != 0 || e.Writer.Suite() != 0 {
			t.Errorf("%q is left", plain)
		}
		if e.Raw == nil {
			t.Error("the connection is forgotten")
		}
	})
}

// TestCryptoTLSIsLetGo wants nothing of crypto/tls to live as long as the Conn.
func TestCryptoTLSIsLetGo(t *testing.T) {
	server, client := configs()
	for name, role := range roles {
		t.Run(name, func(t *testing.T) {
			ours, theirs := server, client
			if role == record.Client {
				ours, theirs = client, server
			}
			cfg := handshake.Prepare(ours, handshake.Options{})
			freed := make(chan struct{})
			cfg.Spoil(func(w *handshake.Wire) {
				runtime.AddCleanup(w, func(c chan struct{}) { close(c) }, freed)
			})
			c, p := shake(t, role, cfg, theirs)
			for end := time.Now().Add(patience); ; runtime.Gosched() {
				runtime.GC()
				select {
				case <-freed:
					talk(t, c, p)
					return
				default:
				}
				if time.Now().After(end) {
					t.Fatal("crypto/tls is still there")
				}
			}
		})
	}
}
