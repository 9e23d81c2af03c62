package strand

import (
	"io"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPieces reads a message whose pieces come one by one, each when the strand has
// yielded for want of it.
func TestPieces(t *testing.T) {
	sent := noise(40000)
	got := make([]byte, len(sent))
	d := newTalk(t, open(t, 1), func(c *Conn) {
		if _, err := io.ReadFull(c, got); err != nil {
			t.Error(err)
		}
	})
	for rest, size := sent, 1; len(rest) > 0; size *= 3 {
		waiting(t, d.conn)
		n := min(size, len(rest))
		if _, err := d.peer.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	wait(t, d.done, "the end of the message")
	same(t, got, sent)
}

// TestSlowReader writes far more than the kernel takes, to a peer that reads only when
// the strand has yielded.
func TestSlowReader(t *testing.T) {
	sent := noise(3 << 20)
	d := newTalk(t, open(t, 1), func(c *Conn) {
		raw, _ := c.SyscallConn()
		_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<16) })
		for part := range slices.Chunk(sent, 1<<20) {
			if n, err := c.Write(part); n != len(part) || err != nil {
				t.Errorf("wrote %d of %d: %v", n, len(part), err)
				return
			}
		}
	})
	_ = d.peer.SetReadBuffer(1 << 16)
	waiting(t, d.conn)
	got := make([]byte, 1<<16)
	if _, err := io.ReadFull(d.peer, got); err != nil {
		t.Fatal(err)
	}
	waiting(t, d.conn) // it is not nearly done
	rest, err := io.ReadAll(d.peer)
	if err != nil {
		t.Fatal(err)
	}
	same(t, append(got, rest...), sent)
	wait(t, d.done, "the end of the strand")
}

// TestBothWays has a strand write what the peer takes only when it has been read from:
// a wait for one direction is not ended by the other.
func TestBothWays(t *testing.T) {
	d := newTalk(t, open(t, 1), func(c *Conn) {
		if err := echo(c); err != nil {
			t.Error(err)
		}
	})
	sent := noise(8 << 20)
	go func() {
		_, _ = d.peer.Write(sent)
		_ = d.peer.CloseWrite()
	}()
	got, err := io.ReadAll(d.peer)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, sent)
	wait(t, d.done, "the end of the strand")
}

// TestInterleave has one loop go on with a strand while another waits, and then with
// that.
func TestInterleave(t *testing.T) {
	ls := open(t, 1)
	serve := func(c *Conn) {
		if err := echo(c); err != nil {
			t.Error(err)
		}
	}
	silent, loud := newTalk(t, ls, serve), newTalk(t, ls, serve)
	waiting(t, silent.conn)
	for range 100 {
		ask(t, loud.peer, "are you there?")
	}
	if silent.conn.s.waits.Load() != silent.conn {
		t.Error("a strand that nobody spoke to does not wait any more")
	}
	if silent.conn.s.loop != loud.conn.s.loop || silent.conn.s == loud.conn.s {
		t.Error("the strands are not two of one loop")
	}
	ask(t, silent.peer, "so are you?")
	for _, d := range []talk{silent, loud} {
		_ = d.peer.CloseWrite()
		wait(t, d.done, "the end of the strand")
	}
}

// TestManyReady makes more strands ready at once than have a turn before events are
// looked for, and than are kept afterwards.
func TestManyReady(t *testing.T) {
	ls := open(t, 1)
	address, _ := accept(t, ls, func(c *Conn) {
		if err := echo(c); err != nil {
			t.Error(err)
		}
		_ = c.Close()
	})
	const n = maxIdle + 2*maxTurns
	var peers [n]io.ReadWriter
	for i := range peers {
		peers[i] = dial(t, address)
	}
	for range 3 {
		release := hold(t, ls.all[0])
		for i, p := range peers {
			if _, err := p.Write([]byte{byte(i)}); err != nil {
				t.Fatal(err)
			}
		}
		release()
		for i, p := range peers {
			var b [1]byte
			if _, err := io.ReadFull(p, b[:]); err != nil || b[0] != byte(i) {
				t.Fatalf("peer %d got %d, %v", i, b[0], err)
			}
		}
	}
}
