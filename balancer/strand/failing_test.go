package strand

import (
	"errors"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// deaf is a socket that is bound, but does not listen yet.
func deaf(t testing.TB) (socket *os.File, to *net.TCPAddr, hears func()) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	socket = os.NewFile(uintptr(fd), "deaf")
	t.Cleanup(func() { _ = socket.Close() })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	to = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*unix.SockaddrInet4).Port}
	return socket, to, func() {
		if err := unix.Listen(fd, 8); err != nil {
			t.Error(err)
		}
	}
}

// TestFails has a socket fail for a while, and come back.
func TestFails(t *testing.T) {
	ls := open(t, 1)
	socket, to, hears := deaf(t)
	s, err := ls.Socket(socket)
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 100)
	if err := s.Accept(func(c *Conn) { _ = echo(c); _ = c.Close() }, func(err error) { errs <- err }); err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	for range 2 { // it is tried again
		var oe *net.OpError
		if err := wait(t, errs, "a failure"); !errors.Is(err, unix.EINVAL) || !errors.As(err, &oe) || oe.Op != "accept" {
			t.Errorf("got %v, want %v", err, unix.EINVAL)
		}
	}
	other, _ := accept(t, ls, func(c *Conn) { _ = echo(c); _ = c.Close() })
	ask(t, dial(t, other), "you are no worse?")
	hears()
	ask(t, dial(t, to.String()), "can you hear me?")
}

// TestScarce accepts when there are no descriptors, and again when there are.
func TestScarce(t *testing.T) {
	ls := open(t, 1)
	l := listen(t, "127.0.0.1:0")
	s, err := ls.Socket(l)
	if err != nil {
		t.Fatal(err)
	}
	errs, served := make(chan error, 100), make(chan struct{}, 1)
	if err := s.Accept(func(c *Conn) { _ = c.Close(); served <- struct{}{} }, func(err error) { errs <- err }); err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	restore := scarce(t)
	cerr := unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: l.Addr().(*net.TCPAddr).Port})
	err = wait(t, errs, "a failure")
	restore()
	if cerr != nil || !errors.Is(err, unix.EMFILE) {
		t.Errorf("got %v, %v, want %v", cerr, err, unix.EMFILE)
	}
	wait(t, served, "the connection that had to wait")
}

// TestStopFailing stops a socket that rests since it has failed. That the rest is over
// concerns nobody any more, not even whoever has the number of the loop's eventfd then.
func TestStopFailing(t *testing.T) {
	ls := open(t, 1)
	socket, _, _ := deaf(t)
	s, err := ls.Socket(socket)
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 100)
	if err := s.Accept(func(*Conn) { t.Error("served") }, func(err error) { errs <- err }); err != nil {
		t.Fatal(err)
	}
	wait(t, errs, "a failure")
	s.Stop()
	ls.Close()
	var heirs []int
	for range 8 {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			t.Fatal(err)
		}
		heirs = append(heirs, fd)
	}
	ls.all[0].tell(func() { t.Error("a loop that is closed does something") })
	for _, fd := range heirs {
		if _, err := unix.Read(fd, make([]byte, 8)); !errors.Is(err, unix.EAGAIN) {
			t.Errorf("descriptor %d has been written to: %v", fd, err)
		}
		_ = unix.Close(fd)
	}
}
