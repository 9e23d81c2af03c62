package forward

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"usher.example/balancer/record"
)

const (
	// bulkPipe is the size of a loop's first pipes: a session alone in bulk
	// moves a megabyte with two system calls, which Go's own splice does too.
	bulkPipe  = 1 << 20
	bulkPipes = 8

	// smallPipe is the size of a pipe that the kernel gives without asking.
	smallPipe = 64 << 10

	// maxPipes bounds the pipes that sessions whose receivers do not read may hold,
	// at two descriptors each; further ones are copied.
	maxPipes = 128

	// sparePipes is how many empty pipes a loop keeps.
	sparePipes = 32

	// shortMessage is how much plaintext is read and written where no more comes at a
	// time: commands and answers. A splice takes two calls that each handle pages, which
	// is dearer than copying so little.
	shortMessage = 4 << 10
)

// pipes are what splice(2) needs between two sockets. A session has one only
// while it holds something.
type pipes struct {
	all  []pipe
	free []int32 // closed ones
	idle []int32 // open and empty
	open int
}

type pipe struct {
	r, w int
	n    int // octets in it
	size int
	// pieces is how many it takes, of an octet or more each: one for each page of
	// its size. 0 if that is not known: a user with many pipes gets smaller ones.
	pieces int
}

func (p *pipes) take() (int32, error) {
	if n := len(p.idle); n > 0 {
		i := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return i, nil
	}
	if p.open >= maxPipes {
		return none, unix.EMFILE
	}
	var fd [2]int
	if err := unix.Pipe2(fd[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return none, err
	}
	i := int32(len(p.all))
	if n := len(p.free); n > 0 {
		i, p.free = p.free[n-1], p.free[:n-1]
	} else {
		p.all = append(p.all, pipe{})
	}
	size, pieces := smallPipe, 0
	if p.open < bulkPipes {
		if got, err := unix.FcntlInt(uintptr(fd[1]), unix.F_SETPIPE_SZ, bulkPipe); err == nil {
			size, pieces = got, got/os.Getpagesize()
		}
	}
	p.open++
	p.all[i] = pipe{r: fd[0], w: fd[1], size: size, pieces: pieces}
	return i, nil
}

// give takes an empty pipe back.
func (p *pipes) give(i int32) {
	if len(p.idle) >= sparePipes {
		p.discard(i)
		return
	}
	p.idle = append(p.idle, i)
}

// discard closes a pipe, with what is in it.
func (p *pipes) discard(i int32) {
	_ = unix.Close(p.all[i].r)
	_ = unix.Close(p.all[i].w)
	p.all[i] = pipe{}
	p.free = append(p.free, i)
	p.open--
}

func (p *pipes) close() {
	for _, i := range p.idle {
		p.discard(i)
	}
	p.idle = nil
}

// pumpSplice moves octets from socket to socket inside the kernel.
func (l *loop) pumpSplice(id int32, s *slot, from, budget int) (int, error) {
	src, dst := &s.half[from], &s.half[1-from]
	if src.flags&(streams|opening) == 0 && dst.flags&sealing == 0 {
		return l.pumpCopy(id, s, from, shortMessage)
	}
	i, err := l.pipes.take()
	if err != nil {
		return l.pumpCopy(id, s, from, smallPipe) // there are other ways than this one
	}
	p := &l.pipes.all[i]
	var behind error // what ended a gathering
	size := p.size   // a megabyte takes a quarter of a millisecond: others in bulk can wait for that
	if l.beside {
		size = min(size, besideSplice)
	}
	got, err := retry(func() (int, error) {
		n, err := unix.Splice(int(src.fd), nil, p.w, nil, size, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		return int(n), err
	})
	if src.flags&opening != 0 {
		if got <= 0 || err != nil {
			l.pipes.give(i)
			return l.control(id, s, from, err)
		}
		more, records, gerr := l.gather(src, p, size-got, budget-1)
		if got, behind = got+more, gerr; records == budget-1 {
			src.window = min(src.window*2, aloneBudget)
		} else {
			src.window = max(src.window/2, 1)
		}
		if err := l.passed(src); err != nil {
			l.pipes.discard(i)
			return 0, err
		}
	}
	got, eof, err := src.drained(got, err)
	if err != nil || eof || got == 0 {
		l.pipes.give(i)
		return 0, err
	}
	// A short splice does not mean that the socket is empty: a pipe has a bound
	// of pieces, too, and a busy kernel gives small ones. Read on until EAGAIN,
	// unless not even pieces of one octet would have filled it.
	if got < p.pieces && src.flags&(hungUp|opening) == 0 {
		src.flags &^= canRead
	}
	p.n, dst.pipe = got, i
	l.count(id, 1-from, got)
	l.spliced.Add(uint64(got))
	gen := s.gen
	l.flushPipe(id, s, 1-from)
	if behind != nil && l.sessions.find(id, gen) != nil {
		return l.control(id, s, from, behind)
	}
	return max(1, got/(16<<10)), nil
}

// pumpCopy does by reading and writing what pumpSplice would do if there were a pipe, or
// if it were worth one. It takes at most that many octets.
func (l *loop) pumpCopy(id int32, s *slot, from, most int) (int, error) {
	src := &s.half[from]
	got, err := read(src.fd, l.open[:most])
	if src.flags&opening != 0 && (got <= 0 || err != nil) {
		return l.control(id, s, from, err)
	}
	got, eof, err := src.drained(got, err)
	if err != nil || eof || got == 0 {
		return 0, err
	}
	if err := l.passed(src); err != nil {
		return 0, err
	}
	if got < most && src.flags&(hungUp|opening) == 0 {
		src.flags &^= canRead // as in grow
	}
	l.iov = append(l.iov[:0], l.open[:got])
	l.handOn(id, s, from, got)
	return max(1, got/record.MaxPlaintext), nil
}

// flushPipe moves a side's pipe into its socket; true when it is empty.
func (l *loop) flushPipe(id int32, s *slot, side int) bool {
	h := &s.half[side]
	if h.flags&canWrite == 0 || !l.rekeyKernel(id, s, side) {
		return false
	}
	p := &l.pipes.all[h.pipe]
	for p.n > 0 {
		n, err := retry(func() (int, error) {
			n, err := unix.Splice(p.r, nil, int(h.fd), nil, p.n, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
			return int(n), err
		})
		if err != nil {
			if errors.Is(err, unix.EAGAIN) {
				l.full(id, s, side)
			} else {
				l.failWrite(id, s, side, err)
			}
			return false
		}
		p.n -= n
		s.last = l.clock
		l.sealed(h, n)
	}
	l.pipes.give(h.pipe)
	h.pipe = none
	return true
}

// gather has more of the records that the kernel opens follow into the pipe: it
// gives one at a time. What ended it has to be looked at: the kernel says some
// things only once.
func (l *loop) gather(src *half, p *pipe, room, most int) (got, records int, err error) {
	for records < most && room > 0 {
		n, err := retry(func() (int, error) {
			n, err := unix.Splice(int(src.fd), nil, p.w, nil, room, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
			return int(n), err
		})
		switch {
		case errors.Is(err, unix.EAGAIN):
			src.flags &^= canRead
			return got, records, nil
		case err != nil:
			return got, records, err
		case n == 0: // the end, which is found again, or a record without data
			if !hasEnded(src.fd) {
				_, err = l.keys.at(src.tls).r.Handle(record.TypeData, nil)
			}
			return got, records, err
		}
		got, room, records = got+n, room-n, records+1
	}
	return got, records, nil
}

// discard reads what a client says to a back end that is gone.
func (l *loop) discard(id int32, s *slot) (int, error) {
	src := &s.half[0]
	got, err := read(src.fd, l.open)
	if src.flags&opening != 0 && (got <= 0 || err != nil) {
		return l.control(id, s, 0, err)
	}
	_, _, err = src.drained(got, err)
	return 1, err
}
