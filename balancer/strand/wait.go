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
	eagerTime = 4

	// eagerTries is how many such waits may be in vain before the loop waits in the
	// runtime's poller again, which costs nothing as long as it lasts: 8 ms are the time between
	// logins that are more than a hundred a second. With half of that 200 logins a second
	// took a fifth more CPU time each.
	eagerTries = 2

	// yieldEvery is how long a loop goes on before it lets Go's scheduler run what else there
	// is, in nanoseconds: goroutines that it has made ready wait as long if no other processor is
	// idle and takes them away. It wakes a thread, so it is not done for each wait; after ten
	// milliseconds the scheduler would do it.
	yieldEvery = 8 * int64(time.Millisecond)

	// nudgeEvery is the time between two looks, in nanoseconds, whether something has come for
	// those who wait in the runtime's poller: what a round trip of an open session takes longer
	// while all processors run logins. A look is a system call, a thousandth of that time.
	nudgeEvery = int64(time.Millisecond)

	// settled is how many events a loop has been busy with, without a rest, before the runtime's
	// poller is to hear of it no more, and watchedConns how many connections it has then at
	// most. To come back has the kernel walk all of them, with a lock of the whole system: that
	// is not to be done for each login, nor where thousands are silent.
	settled      = 32
	watchedConns = 1000
)

// A park is where a loop waits for long: in the runtime's own poller. That watches an epoll
// instance which has nothing in it but the loop's own, and has that no more once the loop has been
// busy for a while: each event would wake the thread that waits in that poller, too, for nobody.
type park struct {
	ep      int // the loop's
	file    *os.File
	conn    syscall.RawConn
	watches bool                  // the loop's instance is in it
	look    func(fd uintptr) bool // made once
	until   int64                 // the deadline that is set, by now; 0 for none
	n       int
	err     error
	tries   int // waits in hand that are left
	row     int // events since it has waited in hand
}

func (p *park) open(ep int) error {
	p.ep = ep
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	if err = unix.SetNonblock(fd, true); err != nil { // or the runtime would not watch it
		_ = unix.Close(fd)
		return err
	}
	p.file = os.NewFile(uintptr(fd), "epoll")
	err = p.file.SetReadDeadline(time.Time{}) // fails if it is not watched
	if err == nil {
		p.conn, err = p.file.SyscallConn()
	}
	return err
}

// watch has the runtime's poller hear of the loop's events, or not. False: it cannot be done.
func (p *park) watch(on bool) bool {
	if on == p.watches {
		return true
	}
	op := unix.EPOLL_CTL_DEL
	if on {
		op = unix.EPOLL_CTL_ADD
	}
	var errno syscall.Errno
	_ = p.conn.Control(func(fd uintptr) { errno = ctlNow(int(fd), op, p.ep, &unix.EpollEvent{Events: unix.EPOLLIN}) })
	p.watches = on && errno == 0
	return errno == 0
}

func (p *park) close() {
	if p.file != nil {
		_ = p.file.Close()
		p.file = nil
	}
}

// wait waits for events and returns them.
func (l *loop) wait() []unix.EpollEvent {
	p := &l.park
	clock := now()
	if clock-l.yielded >= yieldEvery {
		clock = l.yield()
	}
	if len(l.ready) > 0 {
		return l.events[:epollNow(l.ep, l.events[:], 0)]
	}
	if p.tries > 0 {
		ms := min(eagerTime, int((yieldEvery-(clock-l.yielded))/int64(time.Millisecond))+1)
		n := epollNow(l.ep, l.events[:], ms)
		switch {
		case n > 0:
			p.tries = eagerTries
			if p.row += n; p.row > settled && len(l.conns)-len(l.free) < watchedConns {
				p.watch(false)
			}
		case now()-clock >= int64(ms)*int64(time.Millisecond): // or it was a signal
			p.tries--
		}
		return l.events[:n]
	}
	l.parked()
	waited := now() - clock
	if waited >= int64(time.Millisecond) {
		l.yielded = clock + waited // it has given its processor away
		l.nudged = l.yielded       // and the poller has been asked
	}
	// One loop at most has a processor in its hand, and not the only one.
	if p.n > 0 && waited < eagerTime*int64(time.Millisecond) && l == l.of.all[0] && runtime.GOMAXPROCS(0) > 1 {
		p.tries, p.row = eagerTries, 0
	}
	return l.events[:max(p.n, 0)]
}

// yield lets the scheduler run what else there is, and returns the time after it.
func (l *loop) yield() int64 {
	runtime.Gosched()
	l.yielded = now()
	if runtime.GOMAXPROCS(0) == 1 { // by now: it may be changed at any time
		l.park.tries = 0
	}
	return l.yielded
}

// parked waits in the runtime's poller, until the nearest deadline.
func (l *loop) parked() {
	p := &l.park
	if !p.watch(true) {
		l.asleep()
		return
	}
	if p.look == nil {
		p.look = func(uintptr) bool {
			p.n, p.err = unix.EpollWait(l.ep, l.events[:], 0)
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

// asleep waits as parked does, in a system call: fs.epoll.max_user_watches are all in use.
func (l *loop) asleep() {
	ms := -1
	if l.nearest != 0 {
		ms = int(max(l.nearest-now(), 0)/int64(time.Millisecond)) + 1
	}
	p := &l.park
	if p.n, p.err = unix.EpollWait(l.ep, l.events[:], ms); p.err != nil && !errors.Is(p.err, unix.EINTR) {
		panic("wait for events: " + p.err.Error()) // as above
	}
}
