package forward

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A closing is a state that a session is half-closed in.
type closing struct {
	layout           layout
	client, server   bool // who closes, once it has written
	up, down         int  // octets
	deafC, deafS     bool // reads only once the loop has met a full socket, or the writer is through
	wantUp, wantDown bool // must arrive whole
}

func (c closing) String() string {
	return fmt.Sprintf("%s, client closes %t, server closes %t, up %d, down %d, client deaf %t, server deaf %t",
		c.layout.name, c.client, c.server, c.up, c.down, c.deafC, c.deafS)
}

// closings are all states. Enough is more than what the loop and the client's
// socket take before they block.
func closings() (all []closing) {
	const enough = 2 << 20
	sizes := []int{0, 100, enough}
	for _, l := range layouts[4:] {
		for who := 1; who < 4; who++ {
			for _, up := range sizes {
				for _, down := range sizes {
					for deaf := range 4 {
						if deaf&1 != 0 && down < enough || deaf&2 != 0 && up < enough {
							continue // nothing would block
						}
						c := closing{layout: l, client: who&1 != 0, server: who&2 != 0, up: up, down: down, deafC: deaf&1 != 0, deafS: deaf&2 != 0}
						c.wantDown = true
						c.wantUp = !c.server // a back end that has closed has nothing more to hear
						all = append(all, c)
					}
				}
			}
		}
	}
	return all
}

// Half-closes in every state: whoever closes first, whatever waits in either
// direction, and whoever does not read yet. The other direction goes on, what
// was sent arrives, and the session ends in order.
func TestHalfCloses(t *testing.T) {
	r, stop := runReactor(t)
	l := r.loops[0]
	all := closings()
	queue := make(chan closing)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for c := range queue {
				c.run(t, r, l)
			}
		})
	}
	for _, c := range all {
		queue <- c
	}
	close(queue)
	wg.Wait()
	t.Logf("%d states", len(all))
	stop()
	atRest(t, l, 0)
	if n := l.keys.live; n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

func (c closing) run(t *testing.T, r *Reactor, l *loop) {
	s := start(t, r, c.layout.client, c.layout.server, "", "")
	defer s.client.Close()
	defer s.server.Close()
	var wg sync.WaitGroup
	write := func(conn net.Conn, size int, closes bool) <-chan struct{} {
		through := make(chan struct{})
		wg.Go(func() {
			defer close(through)
			pour(conn, size)
			if closes {
				_ = conn.(interface{ CloseWrite() error }).CloseWrite()
			}
		})
		return through
	}
	read := func(conn net.Conn, side, size int, deaf bool, through <-chan struct{}) (n int, err error) {
		if deaf {
			await(t, c.String(), func() bool {
				select {
				case <-through:
					return true
				default:
					return full(l, conn, side)
				}
			})
		}
		n, err = check(t, conn, size)
		if err == nil { // all is there; then the end, if there is one
			_, err = conn.Read(make([]byte, 1))
		}
		return n, err
	}
	down := write(s.server, c.down, c.server)
	up := write(s.client, c.up, c.client)
	wg.Go(func() {
		n, err := read(s.server, 1, c.up, c.deafS, up)
		if c.wantUp && (n != c.up || c.client && !errors.Is(err, io.EOF)) {
			t.Errorf("%v: the back end got %d octets, %v", c, n, err)
		}
		// A back end that is through with its answer closes after its client.
		<-down
		if !c.server {
			_ = s.server.(interface{ CloseWrite() error }).CloseWrite()
		}
	})
	n, err := read(s.client, 0, c.down, c.deafC, down)
	if c.wantDown && (n != c.down || !errors.Is(err, io.EOF)) {
		t.Errorf("%v: the client got %d octets, %v", c, n, err)
	}
	_ = s.client.Close() // after the end of the answer
	select {
	case res := <-s.done:
		if res.Err != nil || res.Out != uint64(c.down) || c.wantUp && res.In != uint64(c.up) {
			t.Errorf("%v: account %+v", c, res)
		}
	case <-time.After(patience):
		t.Errorf("%v: does not end", c)
	}
	_ = s.server.Close()
	wg.Wait()
}

// full tells whether the loop has met a full socket on the side whose peer is
// conn, or that session is over.
func full(l *loop, conn net.Conn, side int) bool {
	is, port := true, conn.LocalAddr().(*net.TCPAddr).Port
	inLoop(l, func() {
		for _, c := range l.sessions.chunks {
			for i := 0; c != nil && i < chunkSize; i++ {
				s := &c.slots[i]
				if s.gen == 0 {
					continue
				}
				peer, err := unix.Getpeername(int(s.half[side].fd))
				if in, ok := peer.(*unix.SockaddrInet4); err == nil && ok && in.Port == port {
					is = s.half[side].flags&canWrite == 0
				}
			}
		}
	})
	return is
}
