package cluster

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// bootTime is the clock of leases: nanoseconds that go on while the machine
// sleeps, unlike Go's monotonic clock. A login reads it, and it is the dearest part
// of one: the call is a real one, as the runtime asks the vDSO for its own clocks
// only. It never blocks, so the scheduler need not know of it.
func bootTime() int64 {
	var ts unix.Timespec
	if _, _, errno := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
		panic("cluster: no CLOCK_BOOTTIME: " + errno.Error()) // every Linux has it
	}
	return ts.Nano()
}
