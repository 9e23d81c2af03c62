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
