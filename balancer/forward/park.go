package forward

import (
	"errors"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// loginsNear is how long after the last adoption a loop counts on another soon.
const loginsNear = int64(50 * time.Millisecond)

// A park is where a loop waits for events while logins go on, or when it has no
// sessions: with the runtime's own poller, which watches the loop's epoll instance as it
// watches any descriptor.
//
// A thread that waits in epoll_wait itself is quickest to move bytes: by a tenth of their
// cost. But to the scheduler it is in a system call that may return at any moment, and
// holds a processor: the runtime's monitor looks after it every 20 to 70 microseconds and
// each waking of the loop takes two changes of threads. That was a tenth of the CPU of a
// login.
type park struct {
	file   *os.File // nil: the runtime's poller does not watch
	conn   syscall.RawConn
	look   func(fd uintptr) bool // made once
	events [maxEvents]unix.EpollEvent
	n      int
	err    error
	armed  bool // there is a deadline
}

// wait waits for events, in either way, and returns them.
func (l *loop) wait() []unix.EpollEvent {
	patience := l.patience()
	if patience != 0 && (l.clock-l.adopted < loginsNear || l.sessions.live == 0) {
		if l.park.file != nil || l.park.open(l.ep) == nil {
			l.lock(false)
			return l.park.wait(patience)
		}
	}
	if patience != 0 { // or it is needed again at once
		l.park.close()
		l.lock(true)
	}
	ms := int(patience.Milliseconds())
	if patience < 0 {
		ms = -1
	}
	n, err := unix.EpollWait(l.ep, l.park.events[:], ms)
	if err != nil && !errors.Is(err, unix.EINTR) {
		panic("epoll_wait: " + err.Error()) // the descriptor is ours; nothing could go on
	}
	return l.park.events[:max(n, 0)]
}

// lock gives the loop a thread of its own, or takes it away.
func (l *loop) lock(own bool) {
	switch {
	case own && !l.locked:
		runtime.LockOSThread()
	case !own && l.locked:
		runtime.UnlockOSThread()
	}
	l.locked = own
}

// open has the runtime's poller watch an epoll instance, which is not blocking, under a
// descriptor of its own.
func (p *park) open(ep int) error {
	fd, err := unix.FcntlInt(uintptr(ep), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	p.file, p.armed = os.NewFile(uintptr(fd), "epoll"), false
	err = p.file.SetReadDeadline(time.Time{}) // fails if it is not watched
	if err == nil {
		p.conn, err = p.file.SyscallConn()
	}
	if err != nil {
		p.close()
	}
	if p.look == nil {
		p.look = func(fd uintptr) bool {
			p.n, p.err = unix.EpollWait(int(fd), p.events[:], 0)
			return p.n > 0 || p.err != nil && !errors.Is(p.err, unix.EINTR)
		}
	}
	return err
}

func (p *park) close() {
	if p.file != nil {
		_ = p.file.Close()
		p.file, p.conn = nil, nil
	}
}

// wait returns what has happened, nothing if that took longer than patience, or a
// little less: the deadline is not put off for each event. Below zero there is no limit.
func (p *park) wait(patience time.Duration) []unix.EpollEvent {
	p.n, p.err = 0, nil
	p.arm(patience)
	err := p.conn.Read(p.look)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// It is over for ever, and so would be each wait without a limit, until it is
		// taken away: a loop without sessions would go round on a whole processor.
		p.armed = false
		_ = p.file.SetReadDeadline(time.Time{}) // works, as open has found
		return nil
	}
	if err == nil {
		err = p.err
	}
	if err != nil && !errors.Is(err, unix.EINTR) {
		panic("wait for events: " + err.Error()) // the descriptor is ours; nothing could go on
	}
	return p.events[:max(p.n, 0)]
}

// arm sets a deadline, unless there is one.
func (p *park) arm(patience time.Duration) {
	if limited := patience > 0; p.armed != limited {
		var at time.Time
		if limited {
			at = time.Now().Add(patience)
		}
		p.armed = limited
		_ = p.file.SetReadDeadline(at) // works, as open has found
	}
}
