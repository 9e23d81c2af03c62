package strand

import (
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// Loops run strands. All methods may be called by any goroutine.
type Loops struct {
	all   []*loop
	nudge func() bool // nil for none
	wg    sync.WaitGroup
}

// New opens n loops, which run until Close.
//
// Loops that are busy keep Go's processors to themselves, and who waits in the runtime's poller
// hears of nothing until one of them is idle or ten milliseconds are over. Such loops call
// nudge about every millisecond, from several goroutines: it makes those ready for whom
// something has come, in some microseconds, and says whether it has. Nil is fine.
func New(n int, nudge func() bool) (*Loops, error) {
	ls := &Loops{nudge: nudge}
	for range max(n, 1) {
		l, err := newLoop(ls)
		if err != nil {
			for _, l := range ls.all {
				l.close()
			}
			return nil, fmt.Errorf("open a loop for logins: %w", err)
		}
		ls.all = append(ls.all, l)
	}
	for _, l := range ls.all {
		ls.wg.Go(l.run)
	}
	return ls, nil
}

// Close ends the loops, as soon as all strands in them have done their jobs or left. No
// socket may be open any more.
func (ls *Loops) Close() {
	for _, l := range ls.all {
		l.tell(func() { l.over = true })
	}
	ls.wg.Wait()
}

func newLoop(of *Loops) (*loop, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	l := &loop{of: of, ep: ep, wake: -1}
	if err = unix.SetNonblock(ep, true); err == nil { // or the runtime would not watch it
		l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	}
	if err == nil {
		err = unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, l.wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeID})
	}
	if err == nil {
		err = l.park.open(ep)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *loop) close() {
	l.park.close()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wake >= 0 {
		_ = unix.Close(l.wake)
		l.wake = -1
	}
	_ = unix.Close(l.ep)
}

// tell has the loop do something between two turns. False means that it is closed, and
// will not.
func (l *loop) tell(do func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wake < 0 {
		return false
	}
	l.inbox = append(l.inbox, do)
	l.ring()
	return true
}

// look has the loop look at a connection's deadline.
func (l *loop) look(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, c)
	l.ring()
}

// ring is called with mu held.
func (l *loop) ring() {
	if !l.rung && l.wake >= 0 {
		l.rung = true
		_, _ = unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// orders does what others have asked for.
func (l *loop) orders() {
	var b [8]byte
	_, _ = unix.Read(l.wake, b[:])
	l.mu.Lock()
	inbox, seen := l.inbox, l.seen
	l.inbox, l.seen, l.rung = nil, nil, false
	l.mu.Unlock()
	for _, do := range inbox {
		do()
	}
	for _, c := range seen {
		if c.s.loop == l && !c.s.left && c.s.waits.Load() == c {
			l.queue(c.s) // it looks for itself, and waits again if there is no reason
		}
	}
}

// Processors is how many loops there are to be: one for each processor.
func Processors() int { return runtime.GOMAXPROCS(0) }
