package cluster

import (
	"time"
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

// Beat is how long it is until a time that is the same for all who do something so often, on
// this machine: a node at rest is woken once by what is due each second, not by each of it.
func Beat(every time.Duration) time.Duration {
	return every - time.Duration(bootTime())%every
}
