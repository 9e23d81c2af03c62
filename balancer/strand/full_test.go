package strand

import (
	"errors"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// A crowd is a socket of this host whose queue is full: whoever connects gets no
// answer.
type crowd struct {
	address netip.AddrPort
	socket  int
	close   func() // from now on there is an answer: nobody listens
	leave   func() // the one who waits already gives up
}

func newCrowd(t testing.TB) crowd {
	t.Helper()
	socket := func() (fd int, end func()) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		end = sync.OnceFunc(func() { _ = unix.Close(fd) })
		t.Cleanup(end)
		return fd, end
	}
	var r crowd
	r.socket, r.close = socket()
	here := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if err := errors.Join(unix.Bind(r.socket, here), unix.Listen(r.socket, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(r.socket)
	if err != nil {
		t.Fatal(err)
	}
	r.address = netip.AddrPortFrom(netip.AddrFrom4(here.Addr), uint16(name.(*unix.SockaddrInet4).Port))
	for range 16 {
		fd, end := socket()
		if err := unix.Connect(fd, name); err != nil && !errors.Is(err, unix.EINPROGRESS) {
			t.Fatal(err)
		}
		if _, err := unix.Getpeername(fd); errors.Is(err, unix.ENOTCONN) {
			r.leave = end
			return r
		}
	}
	t.Skip("SKIPPED: this kernel answers everybody who connects, whether or not anybody accepts")
	return r
}

// place makes place for one.
func (r crowd) place(t testing.TB) {
	t.Helper()
	r.leave()
	fd, _, err := unix.Accept(r.socket)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(fd)
}
