package scenario

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A ledger tells what CPU others used while the benchmark ran: whoever reads its
// figures has to know.
type ledger struct {
	stub      Stub
	spent     *time.Duration // of targets that have ended
	at        time.Time
	busy, own time.Duration
}

// open begins an account.
func open(stub Stub, spent *time.Duration) (ledger, error) {
	l := ledger{stub: stub, spent: spent}
	var err error
	l.at, l.busy, l.own, err = l.read()
	return l, err
}

// others is the average number of processors that others kept busy since the
// account was opened, the machine's host included.
func (l ledger) others() (float64, error) {
	at, busy, own, err := l.read()
	if err != nil {
		return 0, err
	}
	return max(0, ((busy-l.busy)-(own-l.own)).Seconds()/at.Sub(l.at).Seconds()), nil
}

// read is how much all processors have worked so far, and how much of it for us:
// this process, the stub, and targets that have ended.
func (l ledger) read() (at time.Time, busy, own time.Duration, err error) {
	if busy, err = machineBusy(); err != nil {
		return at, 0, 0, err
	}
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return at, 0, 0, err
	}
	own = time.Duration(usage.Utime.Nano()+usage.Stime.Nano()) + *l.spent
	if l.stub != nil {
		used, err := l.stub.CPU()
		if err != nil {
			return at, 0, 0, err
		}
		own += used
	}
	return time.Now(), busy, own, nil
}

// machineBusy is how long the processors have worked since the machine started.
func machineBusy() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseBusy(string(text))
}

// tick is the unit of /proc/stat, USER_HZ: 100 on every Linux that Go knows.
const tick = 10 * time.Millisecond

// The columns of /proc/stat's first line that are no work: proc_stat(5). Guests'
// time is in that of users already.
var idleColumns = map[int]bool{3: true, 4: true, 8: true, 9: true} // idle, iowait, guest, guest_nice

// parseBusy is how long the processors have worked, from the text of /proc/stat.
func parseBusy(text string) (time.Duration, error) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 5 || fields[0] != "cpu" {
		return 0, fmt.Errorf("read /proc/stat: it begins with %.40q", line)
	}
	var ticks int64
	for i, field := range fields[1:] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil || n < 0 || n > int64(1<<62/tick)/16 {
			return 0, fmt.Errorf("read /proc/stat: column %d is %.40q", i+1, field)
		}
		if !idleColumns[i] {
			ticks += n
		}
	}
	return time.Duration(ticks) * tick, nil
}
