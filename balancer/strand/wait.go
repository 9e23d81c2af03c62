package strand

import (
	"errors"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// eagerTime is how long a loop that is busy waits with its processor in its hand, in
	// milliseconds. A wait that Go's scheduler hears of costs two changes of threads, and
	// has its monitor look every 20 microseconds what became of the processor: together a
	// sixth of a bare relay's login. A collection ends the wait by a signal.
	eagerTime = 1

	// eagerTries is how many such waits may be in vain before the loop waits in the
	// runtime's poller again, which costs nothing as long as it lasts.
	eagerTries = 4

	// yieldEvery is how long a busy loop goes on before it lets Go's scheduler run what
	// else there is, in nanoseconds.
	yieldEvery = int64(time.Millisecond)
)

// A park is where a loop waits for long: in the runtime's own poller, which watches the
// loop's epoll instance as it watches any descriptor.
type park struct {
	file  *os.File
	conn  syscall.RawConn
	look  func(fd uintptr) bool // made once
	until int64                 // the deadline that is set, by now; 0 for none
	n     int
	err   error
	tries int // waits in hand that are left
}

func (p *park) open(ep int) error {
	fd, err := unix.FcntlInt(uintptr(ep), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	p.file = os.NewFile(uintptr(fd), "epoll")
	err = p.file.SetReadDeadline(time.Time{}) // fails if it is not watched
	if err == nil {
		p.conn, err = p.file.SyscallConn()
	}
	return err
}

func (p *park) close() {
	if p.file != nil {
		_ = p.file.Close()
		p.file = nil
	}
}

// wait waits for events and returns them.
func (l *loop) wait() []unix.EpollEvent {
	if clock := now(); clock-l.yielded >= yieldEvery {
		l.yielded = clock
		runtime.Gosched()
	}
	if len(l.ready) > 0 {
		return l.events[:epollNow(l.ep, l.events[:], 0)]
	}
	p := &l.park
	if p.tries > 0 {
		runtime.Gosched() // others go first: for as long as we wait the processor is ours
		if n := epollNow(l.ep, l.events[:], eagerTime); n > 0 {
			p.tries = eagerTries
			return l.events[:n]
		}
		p.tries--
		return nil
	}
	began := now()
	l.parked()
	// One loop at most has a processor in its hand, and not the only one.
	if p.n > 0 && now()-began < eagerTime*int64(time.Millisecond) && l == l.of.all[0] && runtime.GOMAXPROCS(0) > 1 {
		p.tries = eagerTries
	}
	return l.events[:max(p.n, 0)]
}

// parked waits in the runtime's poller, until the nearest deadline.
func (l *loop) parked() {
	p := &l.park
	if p.look == nil {
		p.look = func(fd uintptr) bool {
			p.n, p.err = unix.EpollWait(int(fd), l.events[:], 0)
			return p.n > 0 || p.err != nil && !errors.Is(p.err, unix.EINTR)
		}
	}
	// A deadline that is too early only wakes the loop once in vain, which sets it anew.
	if p.until != l.nearest && (p.until == 0 || l.nearest == 0 || l.nearest < p.until || p.until <= now()) {
		t := time.Time{}
		if l.nearest != 0 {
			t = epoch.Add(time.Duration(l.nearest))
		}
		p.until = l.nearest
		_ = p.file.SetReadDeadline(t) // works, as open has found
	}
	p.n, p.err = 0, nil
	err := p.conn.Read(p.look)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	if err == nil {
		err = p.err
	}
	if err != nil && !errors.Is(err, unix.EINTR) {
		panic("wait for events: " + err.Error()) // the descriptor is ours; nothing could go on
	}
}
