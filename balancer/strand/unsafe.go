package strand

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// All system calls of this file but accept4 are not announced to Go's scheduler: on a socket that
// never blocks they take no longer than other work that nobody interrupts.

// readNow is read(2) on a descriptor that does not block.
func readNow(fd int, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// writeNow is write(2) on a descriptor that does not block.
func writeNow(fd int, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// acceptNow is accept4(2). It is announced: that a socket which others have as well does
// not block is in their hands, too.
func acceptNow(fd int) (conn int, peer unix.RawSockaddrAny, errno syscall.Errno) {
	for {
		size := uint32(unsafe.Sizeof(peer))
		n, _, errno := syscall.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&peer)),
			uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		if errno != unix.EINTR {
			return int(n), peer, errno
		}
	}
}

// nameNow is getsockname(2).
func nameNow(fd int) (name unix.RawSockaddrAny) {
	size := uint32(unsafe.Sizeof(name))
	_, _, _ = syscall.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&name)), uintptr(unsafe.Pointer(&size)))
	return name
}

// epollNow is epoll_wait(2), for a few milliseconds at most: meanwhile the caller's
// processor is nobody else's, and a collection of garbage waits for a signal's way.
func epollNow(ep int, events []unix.EpollEvent, ms int) int {
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_WAIT, uintptr(ep), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), uintptr(ms), 0, 0)
	if errno != 0 {
		return 0 // EINTR; whatever else it is, a wait that is announced says so
	}
	return int(n)
}

// ctlNow is epoll_ctl(2).
func ctlNow(ep, op, fd int, ev *unix.EpollEvent) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(ep), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(ev)), 0, 0)
	return errno
}

// closeNow is close(2) on a socket without SO_LINGER's wait.
func closeNow(fd int) {
	_, _, _ = syscall.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
}

// inet4 and inet6 see an address as what its family says that it is.
func inet4(a *unix.RawSockaddrAny) *unix.RawSockaddrInet4 {
	return (*unix.RawSockaddrInet4)(unsafe.Pointer(a))
}

func inet6(a *unix.RawSockaddrAny) *unix.RawSockaddrInet6 {
	return (*unix.RawSockaddrInet6)(unsafe.Pointer(a))
}

// octets are those of a port, in the order of the network.
func octets(port *uint16) *[2]byte { return (*[2]byte)(unsafe.Pointer(port)) }

// undo ends a connection of a socket that is to be connected anew: connect(2) to nobody.
func undo(fd int) error {
	var nobody unix.RawSockaddrAny // AF_UNSPEC
	_, _, errno := syscall.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&nobody)), unix.SizeofSockaddrInet4)
	if errno != 0 {
		return errno
	}
	return nil
}
