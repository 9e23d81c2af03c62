package strand

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// block reads or writes until there is an error, and tells how much was written.
func block(c net.Conn, write bool) (sent int64, err error) {
	p := make([]byte, 1<<20)
	for {
		n := 0
		if write {
			n, err = c.Write(p)
			sent += int64(n)
		} else {
			_, err = c.Read(p)
		}
		if err != nil {
			return sent, err
		}
	}
}

// exceeded wants an error to be what package net says when a deadline has passed.
func exceeded(t testing.TB, err error, op string) {
	t.Helper()
	var oe *net.OpError
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &oe) || oe.Op != op || !oe.Timeout() {
		t.Errorf("got %v, want a deadline that was exceeded by %s", err, op)
	}
}

var ways = []struct {
	op    string
	write bool
	set   func(net.Conn, time.Time) error
	other func(net.Conn, time.Time) error // of the other direction
}{
	{"read", false, net.Conn.SetReadDeadline, net.Conn.SetWriteDeadline},
	{"write", true, net.Conn.SetWriteDeadline, net.Conn.SetReadDeadline},
	{"read", false, net.Conn.SetDeadline, nil},
	{"write", true, net.Conn.SetDeadline, nil},
}

// TestPassed has a deadline end what has not even begun, though it could be done, until
// it is taken back.
func TestPassed(t *testing.T) {
	for _, w := range ways {
		d := newTalk(t, open(t, 1), func(c *Conn) {
			if err := w.set(c, past); err != nil {
				t.Error(err)
			}
			_, err := block(c, w.write)
			exceeded(t, err, w.op)
			_, err = block(c, w.write)
			exceeded(t, err, w.op)
			for _, later := range []time.Time{{}, time.Now().Add(time.Hour), time.Unix(1<<40, 0)} {
				if err := w.set(c, later); err != nil {
					t.Error(err)
				}
				if err := once(c, w.write); err != nil {
					t.Errorf("%s with a deadline of %v: %v", w.op, later, err)
				}
			}
		})
		if _, err := d.peer.Write([]byte("abc")); err != nil {
			t.Fatal(err)
		}
		wait(t, d.done, "the end of the strand")
	}
}

// once reads or writes one octet.
func once(c net.Conn, write bool) (err error) {
	var b [1]byte
	if write {
		_, err = c.Write(b[:])
	} else {
		_, err = io.ReadFull(c, b[:])
	}
	return err
}

// TestDeadlineMeanwhile has somebody else set the deadline of one who waits already.
// That of the other direction does not matter to him.
func TestDeadlineMeanwhile(t *testing.T) {
	for _, w := range ways {
		for name, by := range map[string]func() time.Time{
			"passed": func() time.Time { return past },
			"to be":  func() time.Time { return time.Now().Add(20 * time.Millisecond) },
		} {
			for _, before := range []time.Time{{}, time.Now().Add(time.Hour)} {
				var sent int64
				d := newTalk(t, open(t, 1), func(c *Conn) {
					_ = w.set(c, before)
					var err error
					sent, err = block(c, w.write)
					exceeded(t, err, w.op)
				})
				waiting(t, d.conn)
				if w.other != nil {
					_ = w.other(d.conn, past)
					hold(t, d.conn.s.loop)() // it has looked, and has had its turn
					waiting(t, d.conn)
				}
				// Of the two deadlines of SetDeadline the first may end the strand, which
				// then closes the connection before the second is set.
				if err := w.set(d.conn, by()); err != nil && (w.other != nil || !errors.Is(err, net.ErrClosed)) {
					t.Fatal(err)
				}
				wait(t, d.done, "a "+w.op+" whose deadline is "+name)
				if got, err := io.Copy(io.Discard, d.peer); got != sent || err != nil {
					t.Errorf("%d octets arrived of %d that were said to be written, %v", got, sent, err)
				}
			}
		}
	}
}

// TestOwnDeadline has several strands wait, each with a deadline of its own, in no
// order.
func TestOwnDeadline(t *testing.T) {
	ls := open(t, 1)
	var all []talk
	for _, ms := range []int{60, 10, 40, 20, 50, 30} {
		all = append(all, newTalk(t, ls, func(c *Conn) {
			by := time.Now().Add(time.Duration(ms) * time.Millisecond)
			_ = c.SetReadDeadline(by)
			_, err := block(c, false)
			exceeded(t, err, "read")
			if time.Now().Before(by) {
				t.Error("it ended before its deadline")
			}
		}))
	}
	for _, d := range all {
		wait(t, d.done, "a deadline")
	}
}
