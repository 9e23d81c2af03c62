package forward

import (
	"crypto/rand"
	"io"
	mrand "math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"usher.example/balancer/record"
)

// scaled is n, or its full size where the suite may take long.
func scaled(n, full int) int {
	if os.Getenv("USHER_LONG") != "" {
		return full
	}
	return n
}

// inLoop runs look inside the loop.
func inLoop(l *loop, look func()) {
	done := make(chan struct{})
	l.tell(order{look: func() { look(); close(done) }})
	<-done
}

// heap is what is in use once all garbage is gone.
func heap() int {
	runtime.GC()
	runtime.GC() // what finalizers and pools kept through the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// Clients that ask for 100 MB and read nothing pin little: the first turn's
// records each, and a record each once many do so.
func TestStalledClientsPinLittle(t *testing.T) {
	const (
		asked = 100 << 20
		each  = 17 << 10 // a record, in its size class
		turn  = 2 * aloneBudget * record.MaxRecord
	)
	clients := scaled(60, 500)
	r, stop := runReactor(t)
	l := r.loops[0]
	cert := certificate(t)
	var rigs []*rig
	for range clients {
		s := &rig{done: make(chan Result, 1), t: t}
		var p Pair
		s.client, p.Client, _ = side(t, cert, true)
		s.server, p.Server, _ = side(t, nil, true)
		p.Done = func(res Result) { s.done <- res }
		s.flow = r.Adopt(p)
		rigs = append(rigs, s)
	}
	before := heap()
	var wg sync.WaitGroup
	chunk := make([]byte, 1<<20)
	for _, s := range rigs {
		wg.Go(func() {
			_ = s.server.SetWriteDeadline(time.Now().Add(patience))
			for range asked / len(chunk) {
				if _, err := s.server.Write(chunk); err != nil {
					return
				}
			}
			t.Error("the whole answer went to a client that reads nothing")
		})
	}
	await(t, "every client is stalled", func() bool { return stalled(l) == clients })
	held := 0
	inLoop(l, func() { held = l.bufs.held })
	grown := heap() - before
	t.Logf("%d clients that do not read pin %d KiB each, %d KiB of heap", clients, held/clients>>10, grown/clients>>10)
	if bound := crowded + turn + clients*each; held > bound {
		t.Errorf("%d octets are pinned by %d clients, want %d at most", held, clients, bound)
	}
	if slack := 8 << 20; grown > held+slack { // goroutines that write, and what the pool keeps ready
		t.Errorf("the heap has grown by %d octets, of which %d are held", grown, held)
	}
	for _, s := range rigs {
		s.flow.Kill()
		s.result(t)
	}
	wg.Wait()
	stop()
	atRest(t, l, 0)
}

// stalled counts sessions whose client takes nothing while something waits.
func stalled(l *loop) (n int) {
	inLoop(l, func() {
		for _, c := range l.sessions.chunks {
			for i := 0; c != nil && i < chunkSize; i++ {
				if s := &c.slots[i]; s.gen != 0 && s.half[0].flags&canWrite == 0 && (s.half[0].out != none || s.half[0].pipe != none) {
					n++
				}
			}
		}
	})
	return n
}

// await waits for a state that nothing tells of.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); !is(); {
		select {
		case <-end:
			t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

// A client that stops in the middle of a record holds a small buffer and is
// ended by the idle limit; so is one that adds an octet now and then but never
// completes a record.
func TestHalfRecords(t *testing.T) {
	const limit = 600 * time.Millisecond
	for _, dribbles := range []bool{false, true} {
		r, stop := runReactor(t)
		l := r.loops[0]
		var clients []*rawClient
		var rigs []*rig
		n := scaled(10, 200)
		for range n {
			s := start(t, r, true, false, "", "")
			rigs, clients = append(rigs, s), append(clients, takeOver(t, s))
		}
		done := make(chan struct{})
		var wg sync.WaitGroup
		for _, c := range clients {
			rec := c.seal(string(make([]byte, 1000)))
			c.write(rec[:len(rec)/2])
			if dribbles {
				wg.Go(func() { dribble(c.conn, rec[len(rec)/2:len(rec)-1], done) })
			}
		}
		await(t, "all halves were read", func() (all bool) {
			inLoop(l, func() { all = len(l.bufs.items)-len(l.bufs.free) == n })
			return all
		})
		inLoop(l, func() {
			if l.bufs.held > n*spillClasses[0] {
				t.Errorf("%d halves of small records hold %d octets", n, l.bufs.held)
			}
		})
		r.SetIdle(limit)
		for _, s := range rigs {
			if res := s.result(t); res.End != Idle {
				t.Errorf("account %+v", res)
			}
		}
		close(done)
		wg.Wait()
		stop()
		atRest(t, l, 0)
	}
}

// dribble writes an octet every few milliseconds until done.
func dribble(c net.Conn, data []byte, done <-chan struct{}) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := range data {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		if _, err := c.Write(data[i : i+1]); err != nil {
			return
		}
	}
}

// Octets that come one at a time are put together, under TLS and without.
func TestSlowDribble(t *testing.T) {
	r, stop := runReactor(t)
	for _, l := range layouts[4:] {
		s := start(t, r, l.client, l.server, "", "")
		want := make([]byte, 300)
		fill(want, 0)
		wire := want
		if l.client {
			c := takeOver(t, s)
			wire = append(c.seal(string(want[:200])), c.seal(string(want[200:]))...)
		}
		_ = s.raw.(*net.TCPConn).SetNoDelay(true)
		go func() {
			for i := range wire {
				_, _ = s.raw.Write(wire[i : i+1])
			}
		}()
		s.atServer(t, string(want))
		s.flow.Kill()
		s.result(t)
	}
	stop()
	atRest(t, r.loops[0], 0)
}

// pattern repeats in a stream. Its length is a prime, so that no buffer that is
// lost or doubled goes unseen.
var pattern = func() []byte {
	p := make([]byte, 65_521)
	_, _ = rand.Read(p)
	return p
}()

// fill makes the octets of a stream from an offset on, so that a receiver can
// tell loss, doubling and reordering wherever it stops.
func fill(p []byte, off int) {
	for len(p) > 0 {
		n := copy(p, pattern[off%len(pattern):])
		p, off = p[n:], off+n
	}
}

// check reads until limit or an error, and holds every octet against fill.
func check(t *testing.T, c net.Conn, limit int) (n int, err error) {
	buf, want := make([]byte, 32<<10), make([]byte, 32<<10)
	for n < limit {
		k, err := c.Read(buf[:min(len(buf), limit-n)])
		fill(want[:k], n)
		if !slices.Equal(buf[:k], want[:k]) {
			t.Errorf("what came between %d and %d is not what was sent", n, n+k)
		}
		if n += k; err != nil {
			return n, err
		}
	}
	return n, nil
}

// pour writes size octets of fill, or as many as go.
func pour(c net.Conn, size int) {
	buf := make([]byte, 32<<10)
	for off := 0; off < size; off += len(buf) {
		p := buf[:min(len(buf), size-off)]
		fill(p, off)
		if _, err := c.Write(p); err != nil {
			return
		}
	}
}

// Resets at random moments of either side, or of both at once, while data goes
// both ways: what was passed on is right, and nothing is left.
func TestResetStorm(t *testing.T) {
	const size = 1 << 20
	for _, l := range layouts[4:] {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			r, stop := runReactor(t)
			var wg sync.WaitGroup
			for w := range 4 {
				wg.Go(func() {
					rng := mrand.New(mrand.NewPCG(uint64(w), 11))
					for range scaled(8, 500) {
						storm(t, r, l, rng, size)
					}
				})
			}
			wg.Wait()
			stop()
			atRest(t, r.loops[0], 0)
			if n := r.loops[0].keys.live; n != 0 {
				t.Errorf("%d keys are left", n)
			}
		})
	}
}

func storm(t *testing.T, r *Reactor, l layout, rng *mrand.Rand, size int) {
	s := start(t, r, l.client, l.server, "", "")
	var wg sync.WaitGroup
	ends := []net.Conn{s.client, s.server}
	who := rng.IntN(3)
	for i, c := range ends {
		wg.Go(func() { pour(c, size) })
		limit := size
		if who == i || who == 2 {
			limit = rng.IntN(1 << (1 + rng.IntN(19)))
		}
		wg.Go(func() {
			if n, err := check(t, c, limit); err == nil && n < size {
				reset(c)
			}
		})
	}
	if res := s.result(t); res.End != ClientLost && res.End != ServerLost || res.Err == nil {
		t.Errorf("account %+v", res)
	}
	wg.Wait()
	reset(s.client)
	reset(s.server)
}

// Sessions come and go by the thousand, and everything is as it was: descriptors,
// heap, goroutines, buffers, both slabs.
func TestManySessionsComeAndGo(t *testing.T) {
	const workers = 8
	total := scaled(4000, 200_000)
	r, stop := runReactor(t)
	l := r.loops[0]
	spare := 0
	live := func() (n int) { inLoop(l, func() { n = l.sessions.live }); return n }
	many(t, r, workers, total/10) // so that pools and pipes are there
	await(t, "the sessions have ended", func() bool { return live() == 0 })
	inLoop(l, func() { spare = len(l.pipes.idle) })
	fds, bytes, routines := descriptors(t), heap(), runtime.NumGoroutine()
	many(t, r, workers, total)
	await(t, "the sessions have ended", func() bool { return live() == 0 })
	inLoop(l, func() {
		atRest(t, l, 0)
		fds += 2 * (len(l.pipes.idle) - spare)
	})
	const slack = 2 << 20 // the pool keeps some buffers ready
	if now := descriptors(t); now > fds {
		t.Errorf("%d descriptors before, %d after", fds, now)
	}
	if now := heap(); now > bytes+slack {
		t.Errorf("%d octets of heap before, %d after", bytes, now)
	}
	await(t, "no goroutine more than before", func() bool { return runtime.NumGoroutine() <= routines })
	stop()
	atRest(t, l, 0)
	if l.keys.live != 0 || slices.ContainsFunc(l.keys.chunks, func(c *keyChunk) bool { return c != nil }) {
		t.Errorf("%d keys are left", l.keys.live)
	}
	if slices.ContainsFunc(l.sessions.chunks, func(c *chunk) bool { return c != nil }) {
		t.Error("a chunk without sessions is kept")
	}
}

// many opens and closes sessions of both kinds, in every way that they end.
func many(t *testing.T, r *Reactor, workers, total int) {
	t.Helper()
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(total))
	for range workers {
		wg.Go(func() {
			var lc net.ListenConfig
			lis, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Error(err)
				return
			}
			defer lis.Close()
			for {
				n := left.Add(-1)
				if n < 0 || !oneOfMany(t, r, lis, int(n)) {
					return
				}
			}
		})
	}
	wg.Wait()
}

// oneOfMany is a session whose keys, if it has any, come from no handshake: for
// the engine there is no difference, and a handshake takes a hundred times longer.
func oneOfMany(t *testing.T, r *Reactor, lis net.Listener, n int) bool {
	var conns [4]*net.TCPConn // client, its end here, back end, its end here
	for i := 0; i < 4; i += 2 {
		c, err := net.Dial("tcp", lis.Addr().String())
		if err != nil {
			t.Error(err)
			return false
		}
		a, err := lis.Accept()
		if err != nil {
			t.Error(err)
			return false
		}
		conns[i], conns[i+1] = c.(*net.TCPConn), a.(*net.TCPConn)
	}
	client, server := conns[0], conns[2]
	defer reset(client) // no TIME_WAIT
	defer reset(server)
	done := make(chan Result, 1)
	p := Pair{Client: Conn{Raw: conns[1]}, Server: Conn{Raw: conns[3]}, Done: func(res Result) { done <- res }}
	hello := []byte("a NOOP\r\n")
	wire := hello
	if n%2 == 0 {
		keys, err := record.DeriveTLS13(record.Suite(0x1301), make([]byte, 32))
		if err != nil {
			t.Error(err)
			return false
		}
		p.Client.Secured = &Secured{Reader: record.NewReader(keys, record.Server), Writer: record.NewWriter(keys)}
		w := record.NewWriter(keys)
		a, err := w.AEAD()
		if err == nil {
			wire, err = w.Append(nil, a, hello)
		}
		if err != nil {
			t.Error(err)
			return false
		}
	}
	flow := r.Adopt(p)
	_ = server.SetDeadline(time.Now().Add(patience))
	if n%3 != 0 {
		_, _ = client.Write(wire)
		got := make([]byte, len(hello))
		if _, err := io.ReadFull(server, got); err != nil || string(got) != string(hello) {
			t.Errorf("the back end got %q, %v", got, err)
			return false
		}
	}
	switch n % 5 {
	case 0:
		_ = client.CloseWrite()
		_, _ = io.Copy(io.Discard, server)
		_ = server.Close()
	case 1:
		_ = server.Close()
		_ = client.Close()
	case 2:
		reset(client)
	case 3:
		reset(server)
	case 4:
		flow.Kill()
	}
	select {
	case <-done:
		return true
	case <-time.After(patience):
		t.Errorf("session %d does not end", n)
		return false
	}
}
