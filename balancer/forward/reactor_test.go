package forward

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"

	"usher.example/balancer/record"
)

// runReactor runs a reactor of one loop. The returned function stops it; only
// then may the test look into the loop.
func runReactor(t *testing.T) (r *Reactor, stop func()) {
	t.Helper()
	r, err := NewReactor(Options{Loops: 1, Kernel: testKernel()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	inLoop(r.loops[0], func() {}) // it has the descriptor by which it waits for the first session
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); <-done }) }
	t.Cleanup(stop)
	return r, stop
}

// atRest holds that a loop without sessions, or with idle ones only, holds no
// buffer and no pipe for them.
func atRest(t *testing.T, l *loop, sessions int) {
	t.Helper()
	for _, held := range holds(l, sessions) {
		t.Error(held)
	}
}

// holds says what a loop holds that it must not hold while nothing moves: by what
// it counts, and by what its sessions refer to.
func holds(l *loop, sessions int) (all []string) {
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if l.bufs.held != 0 || len(l.bufs.free) != len(l.bufs.items) {
		add("%d octets in %d buffers are held", l.bufs.held, len(l.bufs.items)-len(l.bufs.free))
	}
	for i, it := range l.bufs.items {
		if it.buf != nil {
			add("buffer %d of %d octets is in use", i, len(it.buf))
		}
	}
	if busy := l.pipes.open - len(l.pipes.idle); busy != 0 {
		add("%d pipes are held", busy)
	}
	for c, ch := range l.sessions.chunks {
		for i := 0; ch != nil && i < chunkSize; i++ {
			s := &ch.slots[i]
			for side, h := range s.half {
				if s.gen != 0 && (h.in != none || h.out != none || h.pipe != none) {
					add("side %d of session %d has buffers %d and %d and pipe %d", side, c*chunkSize+i, h.in, h.out, h.pipe)
				}
			}
		}
	}
	if l.sessions.live != sessions {
		add("%d sessions in the slab, want %d", l.sessions.live, sessions)
	}
	return all
}

// Sessions of every kind move data of odd sizes both ways at the same time;
// every octet arrives once and in order, and afterwards nothing is held.
func TestSoak(t *testing.T) {
	r, stop := runReactor(t)
	const rounds = 40
	var wg sync.WaitGroup
	for i, l := range layouts[4:] {
		wg.Go(func() {
			rng := mrand.New(mrand.NewPCG(uint64(i), 7))
			for round := range rounds {
				s := start(t, r, l.client, l.server, "ahead", "behind")
				up, down := make([]byte, rng.IntN(1<<rng.IntN(21)+1)), make([]byte, rng.IntN(1<<rng.IntN(21)+1))
				_, _ = rand.Read(up)
				_, _ = rand.Read(down)
				got := make(chan []byte, 1)
				seedUp, seedDown := rng.Uint64(), rng.Uint64()
				go func() { feed(s.client, up, seedUp); _ = s.client.(interface{ CloseWrite() error }).CloseWrite() }()
				go func() { b, _ := io.ReadAll(s.client); got <- b }()
				fed := make(chan struct{})
				go func() { defer close(fed); feed(s.server, down, seedDown) }()
				atServer, err := io.ReadAll(s.server)
				if err != nil || sum(atServer) != sum(append([]byte("behind"), up...)) {
					t.Errorf("%s, round %d: the back end got %d octets of %d, %v", l.name, round, len(atServer), len(up)+6, err)
				}
				<-fed
				_ = s.server.(interface{ CloseWrite() error }).CloseWrite()
				if b := <-got; sum(b) != sum(append([]byte("ahead"), down...)) {
					t.Errorf("%s, round %d: the client got %d octets of %d", l.name, round, len(b), len(down)+5)
				}
				_ = s.client.Close()
				_ = s.server.Close()
				if res := s.result(t); res.Err != nil || res.In != uint64(len(up)+6) || res.Out != uint64(len(down)+5) {
					t.Errorf("%s, round %d: account %+v", l.name, round, res)
				}
			}
		})
	}
	wg.Wait()
	stop()
	atRest(t, r.loops[0], 0)
	if n := r.loops[0].keys.live; n != 0 {
		t.Errorf("%d keys are left", n)
	}
	for _, c := range r.loops[0].sessions.chunks {
		if c != nil {
			t.Error("a chunk without sessions is kept")
		}
	}
}

// feed writes in pieces of random sizes.
func feed(c net.Conn, data []byte, seed uint64) {
	rng := mrand.New(mrand.NewPCG(seed, 1))
	for len(data) > 0 {
		n := min(len(data), rng.IntN(1<<rng.IntN(17)+1)+1)
		if _, err := c.Write(data[:n]); err != nil {
			return
		}
		data = data[n:]
	}
}

// An idle session that has moved data holds two descriptors, and no goroutine,
// buffer, pipe or cipher in use.
func TestIdleSessionHoldsNothing(t *testing.T) {
	r, stop := runReactor(t)
	before := descriptors(t)
	var rigs []*rig
	const sessions = 50
	for i := range sessions {
		l := layouts[4+i%4]
		s := start(t, r, l.client, l.server, "", "")
		rigs = append(rigs, s)
		chunk := make([]byte, 100<<10)
		go func() { _, _ = s.client.Write(chunk) }()
		if _, err := io.ReadFull(s.server, make([]byte, len(chunk))); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = s.server.Write(chunk) }()
		if _, err := io.ReadFull(s.client, make([]byte, len(chunk))); err != nil {
			t.Fatal(err)
		}
	}
	l := r.loops[0]
	spare := 2 * 2 * sparePipes // descriptors of the pipes that a loop may keep
	if grown := descriptors(t) - before; grown > 4*sessions+spare {
		t.Errorf("%d descriptors more for %d sessions and as many peers, want 4 each", grown, sessions)
	}
	inLoop(l, func() { atRest(t, l, sessions) })
	for _, s := range rigs {
		s.flow.Kill()
		s.result(t)
	}
	stop()
	atRest(t, l, 0)
	if grown := descriptors(t) - before; grown > 2*sessions {
		t.Errorf("%d descriptors are left, the peers' own are %d", grown, 2*sessions)
	}
}

// What an idle session must not hold would be seen: part of a record, output
// that a socket does not take, data in a pipe.
func TestHeldIsSeen(t *testing.T) {
	for name, hold := range map[string]func(t *testing.T, r *Reactor){
		"part of a record": func(t *testing.T, r *Reactor) {
			c := takeOver(t, start(t, r, true, false, "", ""))
			rec := c.seal("never whole")
			c.write(rec[:len(rec)-1])
		},
		"output": func(t *testing.T, r *Reactor) {
			s := start(t, r, true, false, "", "")
			go pour(s.server, 64<<20)
		},
		"pipe": func(t *testing.T, r *Reactor) {
			s := start(t, r, false, false, "", "")
			go pour(s.server, 64<<20)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, stop := runReactor(t)
			hold(t, r)
			l := r.loops[0]
			await(t, "something is held", func() (is bool) {
				inLoop(l, func() { is = len(holds(l, 1)) == 3 || name == "pipe" && len(holds(l, 1)) == 2 })
				return is
			})
			stop() // which kills the session
			atRest(t, l, 0)
		})
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("SKIPPED, descriptors cannot be counted: %v", err)
	}
	return len(entries)
}

// A KeyUpdate of the client is followed, and answered once, before the next
// data (RFC 8446 §4.6.3); data goes on both ways.
func TestKeyUpdate(t *testing.T) {
	r, _ := runReactor(t)
	s := start(t, r, true, false, "", "")
	c := takeOver(t, s)
	c.data("one")
	s.atServer(t, "one")
	c.update(true)
	if s.flow.Path() == "ktls" && !r.kernel.Rekey {
		_, _ = c.conn.Write(c.seal("two")) // which the kernel cannot open; the session may have been reset by now
		if res := s.result(t); res.End != ClientLost || !errors.Is(res.Err, errNoRekey) {
			t.Errorf("account %+v, want an end as keys cannot be changed", res)
		}
		return
	}
	c.update(true) // asked twice, answered once
	c.data("two")
	s.atServer(t, "two")
	_, _ = io.WriteString(s.server, "three")
	c.expect("three", 1)
	_, _ = io.WriteString(s.server, "four")
	c.expect("four", 1)
	c.update(false)
	c.data("five")
	s.atServer(t, "five")
}

// A forged record ends the session with bad_record_mac; nothing of it and
// nothing behind it reaches the back end.
func TestForgedRecord(t *testing.T) {
	r, _ := runReactor(t)
	s := start(t, r, true, false, "", "")
	c := takeOver(t, s)
	c.data("good")
	s.atServer(t, "good")
	rec := c.seal("evil")
	rec[len(rec)-1] ^= 1
	c.write(append(rec, c.seal("behind")...))
	if res := s.result(t); res.End != ClientLost || res.Err == nil {
		t.Errorf("account %+v", res)
	}
	if b, _ := io.ReadAll(s.server); len(b) != 0 {
		t.Errorf("the back end got %q", b)
	}
}

func (r *rig) atServer(t *testing.T, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(r.server, b); err != nil || string(b) != want {
		t.Fatalf("the back end got %q, %v; want %q", b, err, want)
	}
}

// A rawClient is a TLS client at the level of records.
type rawClient struct {
	t    *testing.T
	conn net.Conn
	r    record.Reader
	w    record.Writer
	buf  []byte
}

// takeOver continues the client's side of a session with our record layer.
func takeOver(t *testing.T, s *rig) *rawClient {
	t.Helper()
	c := &rawClient{t: t, conn: s.raw}
	c.r = record.NewReader(s.clientKeys("SERVER_TRAFFIC_SECRET_0"), record.Client)
	c.w = record.NewWriter(s.clientKeys("CLIENT_TRAFFIC_SECRET_0"))
	return c
}

func (c *rawClient) seal(data string) []byte {
	c.t.Helper()
	a, err := c.w.AEAD()
	if err != nil {
		c.t.Fatal(err)
	}
	rec, err := c.w.Append(nil, a, []byte(data))
	if err != nil {
		c.t.Fatal(err)
	}
	return rec
}

func (c *rawClient) data(data string) { c.write(c.seal(data)) }

func (c *rawClient) update(request bool) {
	c.t.Helper()
	a, err := c.w.AEAD()
	if err != nil {
		c.t.Fatal(err)
	}
	rec, err := c.w.AppendKeyUpdate(nil, a, request)
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(rec)
}

func (c *rawClient) write(p []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(p); err != nil {
		c.t.Fatal(err)
	}
}

// expect reads data, and wants that the peer has updated its keys that often.
func (c *rawClient) expect(want string, updates uint32) {
	c.t.Helper()
	got := ""
	for len(got) < len(want) {
		a, err := c.r.AEAD()
		if err != nil {
			c.t.Fatal(err)
		}
		n, ev, err := c.r.Next(a, c.buf)
		if err != nil {
			c.t.Fatal(err)
		}
		c.buf = c.buf[n:]
		if ev.Kind == record.Data {
			got += string(ev.Data)
		}
		if n > 0 {
			continue
		}
		chunk := make([]byte, 4096)
		n, err = c.conn.Read(chunk)
		if err != nil {
			c.t.Fatalf("after %q: %v", got, err)
		}
		c.buf = append(c.buf, chunk[:n]...)
	}
	if got != want || c.r.Updates() != updates {
		c.t.Fatalf("got %q under keys updated %d times, want %q and %d", got, c.r.Updates(), want, updates)
	}
}

// Adopting after the end closes the connections and accounts for them.
func TestAdoptAfterTheEnd(t *testing.T) {
	r, stop := runReactor(t)
	stop()
	s := start(t, r, false, false, "", "")
	if res := s.result(t); res.End != Killed {
		t.Errorf("account %+v", res)
	}
	if _, err := s.client.Read(make([]byte, 1)); err == nil {
		t.Error("the client is still connected")
	}
}

func ExampleReactor() {
	r, err := NewReactor(Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	r.Run(ctx)
	// Output:
}
