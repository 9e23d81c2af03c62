package strand

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestLeave leaves before anything was read, and in the midst: nothing is lost in
// either direction, and all works as before.
func TestLeave(t *testing.T) {
	sent := noise(100000)
	for _, before := range []int{0, 1, 5000} {
		got := make([]byte, len(sent))
		d := newTalk(t, open(t, 1), func(c *Conn) {
			s := c.Strand()
			if _, err := io.ReadFull(c, got[:before]); err != nil || s.Left() || c.Net() != nil {
				t.Errorf("before: %v, left %v, %v", err, s.Left(), c.Net())
			}
			_, _ = c.Write([]byte("bef"))
			local, remote := c.Local(), c.Remote()
			descriptor(t, c)
			s.Leave()
			std := c.Net()
			s.Leave() // does nothing
			if !s.Left() || std == nil || c.Net() != std || c.Local() != local || c.Remote() != remote ||
				std.LocalAddr().String() != local.String() || std.RemoteAddr().String() != remote.String() {
				t.Errorf("left %v, is %v", s.Left(), c.Net())
			}
			_, _ = c.Write([]byte("ore"))
			if _, err := io.ReadFull(c, got[before:]); err != nil {
				t.Error(err)
			}
			descriptor(t, c)
			if _, err := std.Write([]byte(" and after")); err != nil {
				t.Error(err)
			}
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
			if n, err := c.Read(got[:1]); n != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("read %d, %v, want the end", n, err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if _, err := c.Read(got[:1]); !errors.Is(err, net.ErrClosed) {
				t.Errorf("got %v, want %v", err, net.ErrClosed)
			}
		})
		if _, err := d.peer.Write(sent); err != nil {
			t.Fatal(err)
		}
		if back, err := io.ReadAll(io.LimitReader(d.peer, 16)); err != nil || string(back) != "before and after" {
			t.Errorf("got %q, %v", back, err)
		}
		if n, err := d.peer.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("got %d, %v, want the end", n, err)
		}
		_ = d.peer.CloseWrite()
		wait(t, d.done, "the end of the strand")
		same(t, got, sent)
	}
}

// descriptor wants a connection to show one that is its own.
func descriptor(t testing.TB, c *Conn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Error(err)
		return
	}
	calls, port := 0, int(c.Local().Port())
	look := func(fd uintptr) {
		calls++
		name, err := unix.Getsockname(int(fd))
		if in, ok := name.(*unix.SockaddrInet4); err != nil || !ok || in.Port != port {
			t.Errorf("the descriptor is at %v, %v", name, err)
		}
	}
	err = errors.Join(raw.Control(look), raw.Read(func(fd uintptr) bool { look(fd); return true }),
		raw.Write(func(fd uintptr) bool { look(fd); return true }))
	if err != nil || calls != 3 {
		t.Errorf("got %v after %d calls, want three", err, calls)
	}
}

// TestLeaveDeadlines takes deadlines along, those that have passed and those to come.
func TestLeaveDeadlines(t *testing.T) {
	for _, w := range ways {
		for name, in := range map[string]time.Duration{"passed": -time.Hour, "to come": 20 * time.Millisecond} {
			d := newTalk(t, open(t, 1), func(c *Conn) {
				_ = w.set(c, time.Now().Add(in))
				c.Strand().Leave()
				if w.other != nil {
					if err := once(c, !w.write); err != nil {
						t.Errorf("the other direction: %v", err)
					}
				}
				_, err := block(c, w.write)
				exceeded(t, err, w.op)
				if err := w.set(c, time.Time{}); err != nil {
					t.Errorf("%s, %s: %v", w.op, name, err)
				}
				if err := w.set(c, past); err != nil {
					t.Errorf("%s, %s: %v", w.op, name, err)
				}
				_, err = block(c, w.write)
				exceeded(t, err, w.op)
			})
			_, _ = d.peer.Write([]byte("x"))
			wait(t, d.done, "a deadline")
		}
	}
}

// TestLeaveWhileSet has somebody else set a deadline just as the strand leaves: it is
// that of one or of the other, but never lost.
func TestLeaveWhileSet(t *testing.T) {
	ls := open(t, 1)
	for range 200 {
		leaves := make(chan struct{}, 1)
		d := newTalk(t, ls, func(c *Conn) {
			leaves <- struct{}{}
			c.Strand().Leave()
			_, err := c.Read(make([]byte, 1))
			exceeded(t, err, "read")
		})
		wait(t, leaves, "the strand")
		_ = d.conn.SetReadDeadline(past)
		wait(t, d.done, "a deadline")
		_ = d.peer.Close()
	}
}

// TestLeaveAll takes along all connections of a strand but those that it has closed,
// and has it block on something else, which holds up nobody.
func TestLeaveAll(t *testing.T) {
	ls := open(t, 1)
	back := listen(t, "127.0.0.1:0")
	enough := make(chan struct{})
	d := newTalk(t, ls, func(c *Conn) {
		s := c.Strand()
		var own []*Conn
		for range 3 {
			b, err := s.Socket(addrOf(back.Addr()), net.KeepAliveConfig{})
			if err == nil {
				err = b.Connect(patience)
			}
			if err != nil {
				t.Error(err)
				return
			}
			own = append(own, b)
		}
		_ = own[1].Close()
		s.Leave()
		if own[0].Net() == nil || own[1].Net() != nil || own[2].Net() == nil || c.Net() == nil {
			t.Error("other connections than the open ones are of package net")
		}
		for _, b := range own {
			_ = b.Close()
		}
		<-enough
		if err := echo(c); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "it has left", func() bool { return d.conn.Net() != nil })
	other := newTalk(t, ls, func(c *Conn) { _ = echo(c) })
	for range 100 {
		ask(t, other.peer, "you are alone here")
	}
	close(enough)
	ask(t, d.peer, "you are out there")
	for _, e := range []talk{d, other} {
		_ = e.peer.Close()
		wait(t, e.done, "the end of the strand")
	}
}

// TestNobody has no strand, which is the same as one that has left.
func TestNobody(t *testing.T) {
	var s *Strand
	s.Leave()
	if !s.Left() {
		t.Error("an ordinary goroutine is on a loop")
	}
}

// TestLinger resets the connection, before and after the strand has left.
func TestLinger(t *testing.T) {
	for _, leave := range []string{"", "before", "after"} {
		d := newTalk(t, open(t, 1), func(c *Conn) {
			_ = once(c, false) // the peer has its connection
			if leave == "before" {
				c.Strand().Leave()
			}
			for _, sec := range []int{5, -1, 0} {
				if err := c.SetLinger(sec); err != nil {
					t.Error(err)
				}
			}
			if leave == "after" {
				c.Strand().Leave()
			}
		})
		_, _ = d.peer.Write([]byte("x"))
		wait(t, d.done, "the end of the strand")
		if _, err := d.peer.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("leave %q: got %v, want %v", leave, err, unix.ECONNRESET)
		}
	}
}
