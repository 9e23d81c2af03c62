package forward

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// What this package cannot do without package unsafe is in this file.

// header is the header of the control message that oob begins with. x/sys builds
// its own messages the same way.
func header(oob []byte) *unix.Cmsghdr {
	_ = oob[unix.SizeofCmsghdr-1]
	return (*unix.Cmsghdr)(unsafe.Pointer(&oob[0])) //nolint:gosec // long enough, and allocated in words
}

// setOption sets a socket option to octets that are secret: made a string in the
// ordinary way they would leave a copy behind that nobody can wipe.
func setOption(fd, level, option int, value []byte) error {
	if len(value) == 0 {
		return unix.EINVAL
	}
	return unix.SetsockoptString(fd, level, option, unsafe.String(&value[0], len(value)))
}

// brief makes a system call that moves the octets of p, of which there is one at least,
// and that neither blocks nor takes long: the scheduler does not hear of it.
func brief(call uintptr, fd int32, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return outcome(n, errno)
}

// readable says whether there is something to be read from a descriptor. It does not wait, and the
// scheduler does not hear of it: the caller may hold a lock.
func readable(fd int) bool {
	look := unix.PollFd{Fd: int32(fd), Events: unix.POLLIN} //nolint:gosec // a descriptor
	var limit unix.Timespec
	n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&look)), 1, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	return errno == 0 && n == 1
}
