package strand

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRelease gives the descriptor away, before and after the strand has left: it works
// for whoever has it, and nobody else has one.
func TestRelease(t *testing.T) {
	for _, leaves := range []bool{false, true} {
		fds := make(chan int, 1)
		d := newTalk(t, open(t, 1), func(c *Conn) {
			var b [4]byte
			if _, err := io.ReadFull(c, b[:]); err != nil || string(b[:]) != "abcd" {
				t.Errorf("got %q, %v", b, err)
			}
			if leaves {
				c.Strand().Leave()
			}
			fd, err := c.Release()
			if err != nil {
				t.Error(err)
			}
			if again, err := c.Release(); !errors.Is(err, net.ErrClosed) || again >= 0 {
				t.Errorf("released twice: %d, %v", again, err)
			}
			if err := c.Close(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("closed after all: %v", err)
			}
			if _, err := c.Read(b[:]); !errors.Is(err, net.ErrClosed) {
				t.Errorf("read after all: %v", err)
			}
			if _, err := c.Write(b[:]); !errors.Is(err, net.ErrClosed) {
				t.Errorf("written after all: %v", err)
			}
			fds <- fd
		})
		if _, err := d.peer.Write([]byte("abcd and more")); err != nil {
			t.Fatal(err)
		}
		wait(t, d.done, "the end of the strand")
		fd := wait(t, fds, "a descriptor")
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
			t.Errorf("flags %#o, %v: it would block", flags, err)
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("flags %#o, %v: a child would have it", flags, err)
		}
		file := os.NewFile(uintptr(fd), "released")
		heir, err := net.FileConn(file)
		if err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
		var b [9]byte
		if _, err := io.ReadFull(heir, b[:]); err != nil || string(b[:]) != " and more" {
			t.Errorf("got %q, %v", b, err)
		}
		go func() { _ = echo(heir); _ = heir.Close() }()
		ask(t, d.peer, "who is it now?")
		_ = d.peer.CloseWrite()
		if _, err := d.peer.Read(b[:]); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want the end: somebody else has it open", err)
		}
	}
}

// TestReleaseNumber has the number of a released descriptor taken by another file at
// once: nobody does anything to that.
func TestReleaseNumber(t *testing.T) {
	d := newTalk(t, open(t, 1), func(c *Conn) {
		fd, err := c.Release()
		if err != nil {
			t.Error(err)
			return
		}
		_ = unix.Close(fd)
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil || p[0] != fd && p[1] != fd {
			t.Logf("%d is not taken by %v, %v", fd, p, err) // somebody else was faster
		}
		_ = c.Close()
		_ = c.CloseWrite()
		_ = c.SetDeadline(past)
		c.Strand().Leave()
		if _, err := unix.Write(p[1], []byte("x")); err != nil {
			t.Errorf("the other file is dead: %v", err)
		}
		_ = unix.Close(p[0])
		_ = unix.Close(p[1])
	})
	wait(t, d.done, "the end of the strand")
}

// TestNoDescriptor leaves and releases when there are no more descriptors: what cannot
// be converted is closed, and the peer learns of it.
func TestNoDescriptor(t *testing.T) {
	for _, leaves := range []bool{true, false} {
		d := newTalk(t, open(t, 1), func(c *Conn) {
			if !leaves {
				c.Strand().Leave()
			}
			restore := scarce(t)
			if leaves {
				c.Strand().Leave()
			}
			fd, err := c.Release()
			restore()
			if err == nil || fd >= 0 {
				t.Errorf("released %d, %v, want an error", fd, err)
			}
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("got %v, want %v", err, net.ErrClosed)
			}
		})
		wait(t, d.done, "the end of the strand")
		if _, err := d.peer.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want the end", err)
		}
	}
}

// scarce leaves this process without another descriptor, until restore.
func scarce(t testing.TB) (restore func()) {
	var old unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &old); err != nil {
		t.Error(err)
	}
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1, Max: old.Max}, nil); err != nil {
		t.Error(err)
	}
	return func() {
		if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &old, nil); err != nil {
			t.Error(err)
		}
	}
}
