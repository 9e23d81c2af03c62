package strand

import (
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// acceptAtOnce is how many connections are accepted before those that are under way
	// have their turns.
	acceptAtOnce = 16

	// acceptPause is how long a socket rests after accept failed, as it does when
	// descriptors are used up: others need time to free some.
	acceptPause = 50 * time.Millisecond
)

// A Socket is one on which connections are accepted.
type Socket struct {
	// Accepted, if not nil, is called for each connection as soon as there is one, in the
	// order of accepting and before Stop returns; its strand may begin later. It is set
	// before Accept.
	Accepted func()

	loop   *loop
	id     int
	fd     int
	serve  func(*Conn)
	failed func(error)
	stop   sync.Once
}

// Socket makes ready to accept on what listens, which is left alone otherwise and may be
// closed before or after Stop.
func (ls *Loops) Socket(listens syscall.Conn) (*Socket, error) {
	raw, err := listens.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &Socket{loop: ls.all[0]}
	var derr error
	if err := raw.Control(func(fd uintptr) { s.fd, derr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if derr != nil {
		return nil, os.NewSyscallError("fcntl", derr)
	}
	begun := make(chan error, 1)
	if !s.loop.tell(func() { begun <- s.loop.open(s) }) {
		begun <- net.ErrClosed
	}
	if err := <-begun; err != nil {
		_ = unix.Close(s.fd)
		return nil, err
	}
	return s, nil
}

// Accept begins to accept, once. Each connection is served as a strand of its own by
// serve, which has to close or release it. Failed is told of accepts that failed; it
// must not block.
func (s *Socket) Accept(serve func(*Conn), failed func(error)) error {
	begun := make(chan error, 1)
	if !s.loop.tell(func() {
		s.serve, s.failed = serve, failed
		err := s.loop.watch(s, unix.EPOLL_CTL_MOD, unix.EPOLLIN)
		if errors.Is(err, unix.ENOENT) {
			err = s.loop.watch(s, unix.EPOLL_CTL_ADD, unix.EPOLLIN)
		}
		begun <- err
	}) {
		return net.ErrClosed
	}
	return <-begun
}

// Stop ends accepting: Accepted is called no more when it returns, and serve only for
// those of whom it was.
func (s *Socket) Stop() {
	s.stop.Do(func() {
		ended := make(chan struct{})
		if s.loop.tell(func() {
			s.loop.sockets[s.id] = nil
			_ = unix.EpollCtl(s.loop.ep, unix.EPOLL_CTL_DEL, s.fd, nil)
			_ = unix.Close(s.fd)
			close(ended)
		}) {
			<-ended
		} else {
			_ = unix.Close(s.fd)
		}
	})
}

// open begins to look after a socket.
func (l *loop) open(s *Socket) error {
	if s.id = slices.Index(l.sockets, nil); s.id < 0 {
		s.id = len(l.sockets)
		l.sockets = append(l.sockets, nil)
	}
	// What can fail for want of something does so here, and not when there is no way back.
	if err := l.watch(s, unix.EPOLL_CTL_ADD, 0); err != nil {
		return err
	}
	l.sockets[s.id] = s
	return nil
}

// watch has the epoll instance look after a socket.
func (l *loop) watch(s *Socket, op int, events uint32) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(socketID - s.id)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.ep, op, s.fd, &ev))
}

// accept takes what has come. A socket that has more makes another event.
func (l *loop) accept(s *Socket) {
	if s == nil || len(l.ready) > acceptAtOnce {
		return // stopped just now; or those who have been accepted go first
	}
	if s.serve == nil { // an error that nobody has asked for: Accept will hear of it
		_ = unix.EpollCtl(l.ep, unix.EPOLL_CTL_DEL, s.fd, nil)
		return
	}
	for range acceptAtOnce {
		fd, peer, errno := acceptNow(s.fd)
		switch errno {
		case 0:
		case unix.EAGAIN:
			return
		case unix.ECONNABORTED: // gone before anybody took it
			continue
		default:
			s.failed(&net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", errno)})
			l.rest(s)
			return
		}
		if s.Accepted != nil {
			s.Accepted()
		}
		// As package net has it: what is written is sent at once.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		c := &Conn{fd: fd, remote: addrPort(&peer)}
		to := l.least()
		if to == l {
			l.begin(s, c)
		} else {
			to.load.Add(1)
			to.tell(func() {
				to.load.Add(-1)
				to.begin(s, c)
			})
		}
	}
}

// begin makes a strand of a connection.
func (l *loop) begin(s *Socket, c *Conn) {
	st := l.strand()
	l.add(st, c)
	l.start(st, func(*Strand) { s.serve(c) })
}

// least is the loop for a new connection: this one, or if it has enough to do the one
// with the least.
func (l *loop) least() *loop {
	if l.load.Load() < enough {
		return l
	}
	return slices.MinFunc(l.of.all, func(a, b *loop) int { return int(a.load.Load() - b.load.Load()) })
}

// rest leaves a socket alone for a while.
func (l *loop) rest(s *Socket) {
	// To ask for no events is not enough: of an error or a hang-up epoll tells always.
	_ = unix.EpollCtl(l.ep, unix.EPOLL_CTL_DEL, s.fd, nil)
	time.AfterFunc(acceptPause, func() {
		l.tell(func() {
			if l.sockets[s.id] != s {
				return
			}
			if err := l.watch(s, unix.EPOLL_CTL_ADD, unix.EPOLLIN); err != nil {
				s.failed(err)
				l.rest(s)
			}
		})
	})
}
