package forward

import (
	"syscall"

	"golang.org/x/sys/unix"

	"usher.example/balancer/record"
)

// briefCall is how many octets a call may move behind the back of Go's scheduler. To
// announce each system call, so that somebody else gets the processor if it takes
// long, costs as much as the loop's own work for a short message. One on a socket
// that never blocks and of a record at most takes no longer than to seal a record,
// where nobody can interrupt the loop either.
const briefCall = record.MaxRecord

// read is read(2), again if a signal interrupts it: Go's scheduler sends them.
func read(fd int32, p []byte) (int, error) {
	for {
		var n int
		var err error
		if 0 < len(p) && len(p) <= briefCall {
			n, err = brief(unix.SYS_READ, fd, p)
		} else {
			n, err = unix.Read(int(fd), p)
		}
		if err != unix.EINTR { //nolint:errorlint // straight from the kernel
			return n, err
		}
	}
}

// write is write(2), likewise.
func write(fd int32, p []byte) (int, error) {
	for {
		var n int
		var err error
		if 0 < len(p) && len(p) <= briefCall {
			n, err = brief(unix.SYS_WRITE, fd, p)
		} else {
			n, err = unix.Write(int(fd), p)
		}
		if err != unix.EINTR { //nolint:errorlint // as above
			return n, err
		}
	}
}

// outcome is a system call's, in Go's terms.
func outcome(n uintptr, errno syscall.Errno) (int, error) {
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
