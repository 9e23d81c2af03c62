package strand

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What becomes of a dialogue of the soak: its client says so with its first octet.
const (
	soakEcho    = iota // it ends as it should
	soakLeave          // the strand leaves in the midst of it
	soakRelay          // it goes through a connection that the strand makes
	soakRelease        // the descriptor is released in the midst of it
	soakReset          // the client resets it in the midst
	soakExpire         // a deadline that somebody else sets ends it in the midst
	soakKinds
)

// soakSize bounds a message.
const soakSize = 1 << 16

// A soak is what many dialogues share.
type soak struct {
	t    *testing.T
	back *net.TCPListener // echoes

	mu   sync.Mutex // guards what follows
	live map[*Conn]bool
}

// TestSoak has many clients at once say random things in random pieces, while others
// set deadlines that must not matter.
func TestSoak(t *testing.T) {
	clients, rounds := 40, 5
	if long {
		clients, rounds = 200, 20
	}
	ls := open(t, 2)
	k := &soak{t: t, back: listen(t, "127.0.0.1:0"), live: map[*Conn]bool{}}
	var echoes, others sync.WaitGroup
	echoes.Go(func() {
		for {
			c, err := k.back.Accept()
			if err != nil {
				return
			}
			echoes.Go(func() { _ = echo(c); _ = c.Close() })
		}
	})
	address, _ := accept(t, ls, k.serve)
	end := make(chan struct{})
	others.Go(func() { k.disturb(end) })
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for n := range rounds {
				if err := k.client(address, byte((i+n)%soakKinds)); err != nil {
					t.Errorf("kind %d: %v", (i+n)%soakKinds, err)
				}
			}
		})
	}
	all.Wait() // each client's patience is bounded
	close(end)
	others.Wait()
	eventually(t, "no dialogue is left", func() bool { k.mu.Lock(); defer k.mu.Unlock(); return len(k.live) == 0 })
	_ = k.back.Close()
	echoes.Wait()
}

// disturb sets deadlines that are far away.
func (k *soak) disturb(end <-chan struct{}) {
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for {
		select {
		case <-end:
			return
		case <-tick.C:
		}
		k.mu.Lock()
		for c := range k.live { // the first is as good as a random one
			_ = c.SetReadDeadline(time.Now().Add(patience))
			_ = c.SetWriteDeadline(time.Now().Add(patience + rand.N(time.Hour)))
			break
		}
		k.mu.Unlock()
	}
}

// serve is a strand.
func (k *soak) serve(c *Conn) {
	defer c.Close() //nolint:errcheck // some release it
	var kind [1]byte
	if _, err := c.Read(kind[:]); err != nil {
		k.t.Errorf("no kind: %v", err)
		return
	}
	expires := kind[0] == soakExpire
	if !expires { // of which nobody may set the deadline anew
		k.set(c, true)
		defer k.set(c, false)
	}
	var by io.ReadWriter = c
	if kind[0] == soakRelay {
		b, err := c.Strand().Socket(addrOf(k.back.Addr()), net.KeepAliveConfig{})
		if err == nil {
			k.set(b, true)
			defer b.Close() //nolint:errcheck // TestClosed has it
			defer k.set(b, false)
			err = b.Connect(patience)
		}
		if err != nil {
			k.t.Error(err)
			return
		}
		by = b
	}
	p := make([]byte, 1+rand.IntN(9000))
	for turn := 0; ; turn++ {
		n, err := c.Read(p[:1+rand.IntN(len(p))])
		if n > 0 && by != io.ReadWriter(c) {
			if _, err := by.Write(p[:n]); err != nil {
				k.t.Error(err)
			}
			if _, err := io.ReadFull(by, p[:n]); err != nil {
				k.t.Error(err)
			}
		}
		if err == nil {
			_, err = c.Write(p[:n])
		}
		switch {
		case kind[0] == soakReset && (errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)),
			expires && errors.Is(err, os.ErrDeadlineExceeded),
			kind[0] < soakReset && errors.Is(err, io.EOF):
			return
		case err != nil:
			k.t.Errorf("kind %d: %v", kind[0], err)
			return
		}
		if turn == 0 && kind[0] == soakLeave {
			c.Strand().Leave()
		}
		if turn == 0 && kind[0] == soakRelease {
			k.release(c)
			return
		}
		if turn == 0 && expires {
			time.AfterFunc(rand.N(10*time.Millisecond), func() { _ = c.SetDeadline(past) })
		}
	}
}

func (k *soak) set(c *Conn, live bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if live {
		k.live[c] = true
	} else {
		delete(k.live, c)
	}
}

// release has somebody else go on.
func (k *soak) release(c *Conn) {
	fd, err := c.Release()
	if err != nil {
		k.t.Error(err)
		return
	}
	file := os.NewFile(uintptr(fd), "released")
	heir, err := net.FileConn(file)
	_ = file.Close()
	if err != nil {
		k.t.Error(err)
		return
	}
	go func() { _ = echo(heir); _ = heir.Close() }()
}

// client says something and wants it back.
func (k *soak) client(address string, kind byte) error {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // some are reset
	_ = conn.SetDeadline(time.Now().Add(patience))
	sent := noise(1 + rand.IntN(soakSize))
	if _, err := conn.Write([]byte{kind}); err != nil {
		return err
	}
	written := make(chan error, 1)
	go func() { written <- k.say(conn.(*net.TCPConn), sent, kind) }()
	got, err := io.ReadAll(conn)
	werr := <-written
	if kind == soakReset {
		return nil // what comes of it is up to chance, but on the other side
	}
	if kind == soakExpire { // it closes while more may be under way, which is a reset
		if len(got) <= len(sent) && (err == nil || errors.Is(err, unix.ECONNRESET)) {
			return nil
		}
	}
	same(k.t, got, sent)
	return errors.Join(err, werr)
}

// say writes a message in pieces, and ends as its kind does.
func (k *soak) say(conn *net.TCPConn, sent []byte, kind byte) error {
	for rest := sent; len(rest) > 0; {
		n := min(1+rand.IntN(20000), len(rest))
		if _, err := conn.Write(rest[:n]); err != nil {
			return fmt.Errorf("%d of %d are left: %w", len(rest), len(sent), err)
		}
		rest = rest[n:]
		if kind == soakReset && rand.IntN(2) == 0 {
			break
		}
	}
	switch kind {
	case soakReset:
		_ = conn.SetLinger(0)
		return conn.Close()
	case soakExpire:
		return nil // it stays, until it is sent away
	}
	return conn.CloseWrite()
}
