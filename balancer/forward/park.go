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
	armed  bool      // there is to be a deadline; guarded by the loop's mu, as is what follows
	until  time.Time // the one in force, zero for none
}

// waits is where a loop waits for events: others wake it accordingly.
type waits uint8

const (
	nowhere waits = iota // it looks for orders before it waits
	inEpoll              // in epoll_wait: an event of its eventfd wakes it
	parked               // in its park
)

// wait waits for events, in either way, and returns them.
func (l *loop) wait() []unix.EpollEvent {
	patience := l.patience()
	if patience != 0 && (l.clock-l.adopted < loginsNear || l.sessions.live == 0) {
		if l.park.file != nil || l.park.open(l.ep) == nil {
			l.lock(false)
			if l.begin(parked, patience) {
				defer l.begun()
				return l.park.wait()
			}
			patience = 0
		}
	}
	if patience != 0 { // or the park is needed again at once
		l.park.close()
		l.lock(true)
		if l.begin(inEpoll, patience) {
			defer l.begun()
		} else {
			patience = 0
		}
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

// begin tells others where the loop is about to wait. False means that it has been
// called since it last looked for orders, and must not wait.
func (l *loop) begin(where waits, patience time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.called {
		return false
	}
	if l.waits = where; where == parked {
		l.park.arm(patience)
	}
	return true
}

// begun tells others that it waits no more.
func (l *loop) begun() {
	l.mu.Lock()
	l.waits = nowhere
	l.mu.Unlock()
}

// wakeUp is called with mu held, while the loop is not over: afterwards the
// descriptor may be another's.
func (l *loop) wakeUp() {
	l.called = true
	waits := l.waits
	l.waits = nowhere // it is woken once
	switch waits {
	case nowhere:
		return // it looks before it waits
	case parked:
		l.park.ring()
		return
	case inEpoll:
	}
	one := [8]byte{1}
	for {
		if _, err := unix.Write(l.wake, one[:]); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// nudge ends a wait in the park if something has come, and says whether it has. A loop that
// has been called is not looked after: it is ready already, and most calls are adoptions,
// which nobody waits for.
func (l *loop) nudge() bool {
	if !l.mu.TryLock() { // it is about to wait or has woken, or somebody wakes it
		return false
	}
	defer l.mu.Unlock()
	if l.over || l.waits != parked {
		return false
	}
	if !readable(l.ep) {
		return false
	}
	l.waits = nowhere // it has been woken
	l.park.ring()
	return true
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
	p.until = time.Time{}
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

// wait returns what has happened, nothing if the deadline came before: the deadline is
// not put off for each event.
func (p *park) wait() []unix.EpollEvent {
	p.n, p.err = 0, nil
	err := p.conn.Read(p.look)
	if errors.Is(err, os.ErrDeadlineExceeded) {
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

// arm sets a deadline after patience, unless there is one that is no later; below zero
// there is none. The loop's mu is held, as for ring.
func (p *park) arm(patience time.Duration) {
	now := time.Now()
	limited := patience > 0
	passed := !p.until.IsZero() && !now.Before(p.until)
	late := limited && p.until.After(now.Add(patience)) // it was set by a loop at rest
	if p.armed != limited || passed || late {
		p.armed, p.until = limited, time.Time{}
		if limited {
			p.until = now.Add(patience)
		}
		_ = p.file.SetReadDeadline(p.until) // works, as open has found
	}
}

// ring ends a wait, by a deadline that has passed: that takes no system call.
func (p *park) ring() {
	p.until = longAgo
	_ = p.file.SetReadDeadline(p.until)
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)
