package forward

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// bufferSize is one full TLS record (RFC 8446 §5.1): a larger buffer would
	// not be filled by one read of crypto/tls.
	bufferSize = 16 << 10

	// serverGrace is what a client gets to take its last bytes and close, once
	// the back end has closed. A dead back end has to be seen within a second.
	serverGrace = 500 * time.Millisecond

	// halfClosed bounds how long a session may be without traffic once the
	// client has said that it will send no more: it only waits for an answer.
	halfClosed = time.Minute

	// maxSweep bounds the time between two looks at all sessions. A look costs
	// a system call or two.
	maxSweep = time.Second

	// stuckTime is how long a client whose back end is gone may refuse to take
	// what is left for him.
	stuckTime = 30 * time.Second
)

// Copy is the engine with two goroutines for each session. The zero value works.
type Copy struct {
	mu    sync.Mutex // guards flows
	flows map[*flow]struct{}
	came  chan struct{} // has a token when there is a first flow to sweep; see first

	idle    atomic.Int64 // nanoseconds
	gate    atomic.Int64 // as Reactor's; plaintext that is spliced does not heed it
	spliced atomic.Uint64
	adopted adopted
}

var _ Engine = (*Copy)(nil)

// SetIdle sets the time without traffic after which a session is ended; zero
// means never. It holds for sessions that are there as well.
func (e *Copy) SetIdle(limit time.Duration) { e.idle.Store(int64(limit)) }

// SetGate is as Reactor's. Plaintext sessions are not held by it: the kernel moves
// their bytes by itself.
func (e *Copy) SetGate(until int64) { e.gate.Store(until) }

// Spliced counts the octets that went through splice(2) in ended sessions.
func (e *Copy) Spliced() uint64 { return e.spliced.Load() }

// first is where Run waits while there is no session.
func (e *Copy) first() (came chan struct{}, none bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.came == nil {
		e.came = make(chan struct{}, 1)
	}
	return e.came, len(e.flows) == 0
}

// Run ends idle sessions until ctx is done.
func (e *Copy) Run(ctx context.Context) {
	for {
		if came, none := e.first(); none {
			select {
			case <-ctx.Done():
				return
			case <-came:
			}
			continue
		}
		sweep := maxSweep
		if limit := time.Duration(e.idle.Load()); limit > 0 {
			sweep = min(sweep, max(limit/4, time.Millisecond))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(sweep):
		}
		e.sweep(time.Duration(e.idle.Load()))
	}
}

func (e *Copy) sweep(limit time.Duration) {
	e.mu.Lock()
	flows := make([]*flow, 0, len(e.flows))
	for f := range e.flows {
		flows = append(flows, f)
	}
	e.mu.Unlock()
	for _, f := range flows {
		bound := limit
		if f.clientDone.Load() {
			bound = halfClosed
		}
		if bound > 0 && f.idleFor(ref{}) >= bound {
			f.end(Idle, nil)
		}
		f.mourn()
	}
}

// Secures implements Engine: crypto/tls keeps its sessions.
func (*Copy) Secures() bool { return false }

// Adopt implements Engine.
func (e *Copy) Adopt(p Pair) Flow {
	f := &flow{pair: p, engine: e, splice: !p.Client.copied() && !p.Server.copied()}
	f.pair.ToServer, f.pair.ToClient = nil, nil
	f.ahead = [2]uint64{uint64(len(p.ToServer)), uint64(len(p.ToClient))}
	f.base[0], f.base[1] = received(p.Client.Raw), received(p.Server.Raw)
	e.mu.Lock()
	if e.flows == nil {
		e.flows = make(map[*flow]struct{})
	}
	if e.came != nil && len(e.flows) == 0 {
		select {
		case e.came <- struct{}{}:
		default: // it has been told
		}
	}
	e.flows[f] = struct{}{}
	e.mu.Unlock()
	w := wayCopy
	if f.splice {
		w = waySplice
	}
	e.adopted.count(w)
	if p.Client.Secured != nil || p.Server.Secured != nil {
		// Whose keys are out has nobody here to seal and open: bytes would cross
		// the network in clear.
		p.Client.Secured.Wipe()
		p.Server.Secured.Wipe()
		f.end(ServerLost, errSecured)
	}
	go f.run(p.ToServer, p.ToClient) // ends by itself when the connections do; Kill makes them
	return Flow{of: f}
}

// errSecured means that the caller took a side's TLS apart for an engine that has
// no record layer.
var errSecured = errors.New("forward: the TLS of a side is not the engine's to do")

// mourn ends a session whose back end is gone while both directions wait for
// the client, so that neither of the two goroutines can see it.
func (f *flow) mourn() {
	info := tcpInfo(f.pair.Server.Raw)
	switch {
	case info == nil || f.serverDone.Load():
	case info.State == unix.BPF_TCP_CLOSE:
		f.end(ServerLost, syscall.ECONNRESET)
	case info.State == unix.BPF_TCP_CLOSE_WAIT && f.idleFor(ref{}) >= stuckTime:
		f.end(ServerClosed, nil)
	}
}

type flow struct {
	pair   Pair      // without ToClient and ToServer, which are gone once written
	ahead  [2]uint64 // their lengths, to the server and to the client
	engine *Copy
	splice bool
	base   [2]uint64        // octets received on client and server at the adoption
	moved  [2]atomic.Uint64 // client to server, server to client

	clientDone atomic.Bool // the client will send no more
	serverDone atomic.Bool // the back end has closed; the grace is running
	once       sync.Once   // the first reason to end wins
	why        End
	err        error
}

func (f *flow) run(toServer, toClient []byte) {
	var wg sync.WaitGroup
	wg.Go(func() { f.pump(f.pair.Server, f.pair.Client, toServer, 0) })
	f.pump(f.pair.Client, f.pair.Server, toClient, 1)
	wg.Wait()
	f.end(ServerClosed, nil) // both sides are through; a reason given earlier stands
	f.pair.Client.release()
	f.pair.Server.release()
	f.engine.mu.Lock()
	delete(f.engine.flows, f)
	f.engine.mu.Unlock()
	if f.splice {
		for i, ahead := range f.ahead {
			f.engine.spliced.Add(f.moved[i].Load() - min(ahead, f.moved[i].Load()))
		}
	}
	if f.pair.Done != nil {
		f.pair.Done(Result{Tag: f.pair.Tag, End: f.why, Path: f.path(ref{}), In: f.moved[0].Load(), Out: f.moved[1].Load(), Err: f.err})
	}
}

// pump moves one direction until its source ends. to is 0 for the server, 1
// for the client.
func (f *flow) pump(dst, src Conn, pending []byte, to int) {
	lostSrc, lostDst := ClientLost, ServerLost
	if to == 1 {
		lostSrc, lostDst = ServerLost, ClientLost
	}
	if len(pending) > 0 {
		n, err := dst.Conn().Write(pending)
		clear(pending) // it may hold mail or, after a refused login, a password
		f.moved[to].Add(uint64(n))
		if err != nil {
			f.end(lostDst, err)
			return
		}
	}
	rerr, werr := f.move(dst, src, to)
	switch {
	case to == 0 && f.serverDone.Load():
		f.drain(src)
	case werr != nil:
		f.end(lostDst, werr)
	case rerr != nil:
		f.end(lostSrc, rerr)
	case to == 0:
		f.clientClosed(dst)
	default:
		f.serverClosed(dst)
	}
}

// clientClosed passes a half-close on: the client may still wait for answers.
func (f *flow) clientClosed(server Conn) {
	f.first(ClientClosed, nil)
	f.clientDone.Store(true)
	if err := server.closeWrite(); err != nil {
		f.end(ServerLost, err)
	}
}

// serverClosed ends the session: a mail server that closes has nothing more to
// hear. What the kernel still has for the client is delivered all the same.
func (f *flow) serverClosed(client Conn) {
	f.first(ServerClosed, nil)
	f.serverDone.Store(true)
	deadline := time.Now().Add(serverGrace)
	_ = f.pair.Server.Raw.SetDeadline(deadline)
	_ = f.pair.Client.Raw.SetDeadline(deadline)
	if err := client.closeWrite(); err != nil {
		f.end(ClientLost, err)
	}
}

// drain reads what a client says to a back end that is gone, until he closes
// or the grace is over: closing with unread input would make the kernel throw
// away what the client has not fetched yet.
func (f *flow) drain(client Conn) {
	_, _ = io.Copy(io.Discard, client.Raw)
}

// move copies from src to dst and tells the two sides' errors apart; neither is
// set at an orderly end.
func (f *flow) move(dst, src Conn, to int) (rerr, werr error) {
	if f.splice {
		n, err := spliced(dst.Raw, src.Raw)
		f.moved[to].Add(uint64(n))
		if err != nil && closed(dst.Raw) && !closed(src.Raw) {
			return nil, err // splice does not say which side it failed on
		}
		return err, nil
	}
	buf, ok := buffers.Get().(*[bufferSize]byte)
	if !ok {
		buf = new([bufferSize]byte)
	}
	defer func() {
		clear(buf[:])
		buffers.Put(buf)
	}()
	from, into := src.Conn(), dst.Conn()
	for {
		n, err := from.Read(buf[:])
		if over(&f.engine.gate) {
			return nil, errGate
		}
		if n > 0 {
			m, werr := into.Write(buf[:n])
			f.moved[to].Add(uint64(m))
			if werr != nil {
				return nil, werr
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil, nil
		case err != nil:
			return err, nil
		}
	}
}

// buffers are shared by all sessions that copy; a session holds two.
var buffers sync.Pool

// first notes why the session ends, if nobody has said so before.
func (f *flow) first(why End, err error) {
	f.once.Do(func() { f.why, f.err = why, err })
}

// end closes both connections. If the session is lost they are reset, so that
// neither peer takes a truncated answer for a whole one; after an orderly end
// the kernel delivers what it has.
func (f *flow) end(why End, err error) {
	f.first(why, err)
	if f.err != nil {
		_ = f.pair.Client.Raw.SetLinger(0)
	}
	if f.err != nil || f.why == Killed { // see loop.end
		_ = f.pair.Server.Raw.SetLinger(0)
	}
	_ = f.pair.Client.Raw.Close()
	_ = f.pair.Server.Raw.Close()
}

// kill implements keeper, as do the methods below it.
func (f *flow) kill(ref) { f.end(Killed, nil) }

func (f *flow) path(ref) string {
	if f.splice {
		return "splice"
	}
	return "copy"
}

// bytes is what is known: while bytes are being spliced only the kernel knows
// their number.
func (f *flow) bytes(ref) (in, out uint64) {
	in, out = f.moved[0].Load(), f.moved[1].Load()
	if f.splice {
		in = max(in, since(f.pair.Client.Raw, f.base[0])+f.ahead[0])
		out = max(out, since(f.pair.Server.Raw, f.base[1])+f.ahead[1])
	}
	return in, out
}

func (f *flow) idleFor(ref) time.Duration {
	info := tcpInfo(f.pair.Client.Raw)
	if info == nil {
		return 0
	}
	return time.Duration(min(info.Last_data_recv, info.Last_data_sent)) * time.Millisecond
}

func since(c syscall.Conn, base uint64) uint64 {
	if now := received(c); now > base {
		return now - base
	}
	return 0
}

// closed tells whether the kernel has given the connection up (it was reset, or
// both directions are closed).
func closed(c syscall.Conn) bool {
	info := tcpInfo(c)
	return info == nil || info.State == unix.BPF_TCP_CLOSE
}

func received(c syscall.Conn) uint64 {
	if info := tcpInfo(c); info != nil {
		return info.Bytes_received
	}
	return 0
}

// tcpInfo asks the kernel; nil once the connection is closed.
func tcpInfo(c syscall.Conn) *unix.TCPInfo {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	var info *unix.TCPInfo
	if err := raw.Control(func(fd uintptr) {
		info, _ = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}); err != nil {
		return nil
	}
	return info
}

// spliced copies, by splice(2) where both are package net's.
func spliced(dst, src Raw) (int64, error) {
	if to, ok := dst.(io.ReaderFrom); ok {
		return to.ReadFrom(src)
	}
	return io.Copy(dst, src)
}
