package forward

import (
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"usher.example/balancer/record"
)

// A Handover is a live session on its way from one engine to another, perhaps in
// another process: all there is to it but whose it is. Who has it owns its
// descriptors and secrets, and gives them to [Reactor.Resume] or to Forget.
type Handover struct {
	Client, Server Handed
	// In and Out are the octets moved up to now, as in [Result].
	In, Out uint64
	// Quiet is for how long no data has moved.
	Quiet time.Duration
	// Why the session will end, if one side has said so already.
	Why   End
	Noted bool
}

// Handed is one side of a Handover.
type Handed struct {
	FD int
	// Secured is the side's TLS, nil for plaintext. In it, Ciphertext is a part
	// of a record that has come.
	Secured *Secured
	// Opening and Sealing say that the kernel has the keys of a direction; those
	// of Secured are then only good for new ones.
	Opening, Sealing bool
	// Pending is what the socket did not take yet. It goes there as it is: under
	// TLS that we seal ourselves, it is sealed.
	Pending []byte
	// EOF: the peer has said that it sends nothing more. Shut: we have.
	EOF, Shut bool
}

var (
	// ErrOver says that a session has ended, or is about to.
	ErrOver = errors.New("the session has ended")
	// ErrBound says that a session cannot leave its engine: crypto/tls carries it.
	ErrBound = errors.New("the session is bound to its process")
)

// Export takes a live session out of the engine, which forgets it: the Pair's Done
// is not called, and the Flow is over for good. An error is ErrOver or ErrBound, and the
// session stays where it is. Data goes on to flow until the moment itself, and
// what is on its way then is in the Handover. Run must have been started.
func (r *Reactor) Export(f Flow) (*Handover, error) {
	l, ok := f.of.(*loop)
	if !ok {
		return nil, ErrBound
	}
	out := make(chan exported, 1)
	if !l.tell(order{export: f.ref, exported: out}) {
		return nil, ErrOver
	}
	e := <-out
	return e.h, e.err
}

type exported struct {
	h   *Handover
	err error
}

// export takes a session out of the loop.
func (l *loop) export(r ref) (*Handover, error) {
	id := l.meters.slotOf(r)
	if id == none {
		return nil, ErrOver
	}
	s := l.sessions.at(id)
	m := l.meters.at(s.meter)
	if s.grace != 0 || s.errno != 0 || s.half[1].flags&(gone|atEOF) != 0 {
		return nil, ErrOver // in a moment
	}
	h := &Handover{
		Client: Handed{FD: none}, Server: Handed{FD: none},
		In: m.in.Load(), Out: m.out.Load(), Quiet: time.Duration(l.clock - s.last), Why: s.why, Noted: s.noted,
	}
	for side, to := range []*Handed{&h.Client, &h.Server} {
		if err := l.handOver(&s.half[side], to); err != nil {
			// Nothing has been taken from the socket: what was read from the pipe
			// is lost, though, and so the session is.
			h.Forget()
			l.end(id, s, lost(side), err)
			return nil, ErrOver
		}
	}
	l.meters.give(s.meter, Result{})
	l.leave(id, s)
	return h, nil
}

// handOver moves a half out of the loop.
func (l *loop) handOver(from *half, to *Handed) error {
	*to = Handed{
		FD:      none,
		Opening: from.flags&opening != 0, Sealing: from.flags&sealing != 0,
		EOF: from.flags&atEOF != 0, Shut: from.flags&shut != 0,
	}
	if from.pipe != none {
		p := &l.pipes.all[from.pipe]
		to.Pending = make([]byte, p.n)
		for got := 0; got < p.n; {
			n, err := retry(func() (int, error) { return unix.Read(p.r, to.Pending[got:]) })
			if err != nil || n == 0 {
				return fmt.Errorf("empty a pipe: %w", errors.Join(err, io.ErrUnexpectedEOF))
			}
			got += n
		}
		p.n = 0
		l.pipes.give(from.pipe)
		from.pipe = none
	}
	if from.out != none {
		to.Pending = append(to.Pending, l.bufs.at(from.out)...)
		from.out = l.bufs.drop(from.out)
	}
	if from.tls != none {
		k := l.keys.at(from.tls)
		to.Secured = &Secured{Reader: k.r, Writer: k.w, Closed: to.EOF}
		k.r, k.w = record.Reader{}, record.Writer{}
		if from.in != none {
			to.Secured.Ciphertext = append([]byte(nil), l.bufs.at(from.in)...)
			from.in = l.bufs.drop(from.in)
		}
	}
	if err := unix.EpollCtl(l.ep, unix.EPOLL_CTL_DEL, int(from.fd), nil); err != nil {
		return err
	}
	to.FD, from.fd = int(from.fd), none
	return nil
}

// Forget closes and wipes what nobody goes on with.
func (h *Handover) Forget() {
	for _, s := range []*Handed{&h.Client, &h.Server} {
		if s.FD != none {
			_ = unix.SetsockoptLinger(s.FD, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			_ = unix.Close(s.FD)
		}
		s.wipe()
	}
}

func (s *Handed) wipe() {
	clear(s.Pending)
	if s.Secured != nil {
		s.Secured.Reader.Wipe()
		s.Secured.Writer.Wipe()
	}
	*s = Handed{FD: none}
}

// Resume goes on with a session that an engine has let go. Tag and done are as in a
// Pair. The Handover is empty afterwards.
func (r *Reactor) Resume(h *Handover, tag uint64, done func(Result)) Flow {
	l := r.loops[int(r.turn.Add(1))%len(r.loops)]
	a := &adoption{resumed: true, why: h.Why, noted: h.Noted}
	for side, from := range []*Handed{&h.Client, &h.Server} {
		a.fd[side] = from.FD
		a.raw[side] = from.Pending
		conn := []*Conn{&a.pair.Client, &a.pair.Server}[side]
		conn.Secured = from.Secured
		for flag, set := range map[uint16]bool{opening: from.Opening, sealing: from.Sealing, atEOF: from.EOF, shut: from.Shut} {
			if set {
				a.flag[side] |= flag
			}
		}
		*from = Handed{FD: none}
	}
	session := l.meters.take(&Pair{Tag: tag, Done: done}, a.way())
	a.meter = session.id
	r.adopted.count(a.way())
	m := l.meters.at(session.id)
	m.in.Store(h.In)
	m.out.Store(h.Out)
	m.last.Store(now() - int64(h.Quiet))
	l.tell(order{adopt: a})
	return Flow{l, session}
}
