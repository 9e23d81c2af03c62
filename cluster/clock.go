package cluster

import "golang.org/x/sys/unix"

// bootTime is the clock of leases: nanoseconds that go on while the machine
// sleeps, unlike Go's monotonic clock.
func bootTime() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("cluster: no CLOCK_BOOTTIME: " + err.Error()) // every Linux has it
	}
	return ts.Nano()
}
