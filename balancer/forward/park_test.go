package forward

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestParkAfterDeadline: a wait without a limit does not end at once since one before
// it has run out.
func TestParkAfterDeadline(t *testing.T) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ep)
	if err := unix.SetNonblock(ep, true); err != nil {
		t.Fatal(err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(wake)
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wake)}); err != nil {
		t.Fatal(err)
	}
	p := &park{}
	if err := p.open(ep); err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if events := p.wait(time.Millisecond); len(events) != 0 {
		t.Errorf("%d events of nothing", len(events))
	}
	if _, err := unix.Write(wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	if events := p.wait(-1); len(events) != 1 {
		t.Errorf("%d events, want the one that has come", len(events))
	}
}
