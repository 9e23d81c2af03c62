package gauge

import (
	"os"
	"os/exec"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A tree is processes found in /proc: those that were started here, their
// children, and so on. A process whose parent ends before it was seen once
// escapes it.
type tree struct {
	roots []*root
	seen  map[int]uint64 // start of every process by its id
}

func newTree(string) (way, error) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		return nil, err
	}
	return &tree{seen: map[int]uint64{}}, nil
}

func (w *tree) what() string { return "found in /proc" }

func (w *tree) start(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	if s, err := readStat(cmd.Process.Pid); err == nil {
		w.seen[cmd.Process.Pid] = s.start
	}
	return nil
}

func (w *tree) started(r *root) { w.roots = append(w.roots, r) }

func (w *tree) pids() ([]int, error) {
	stats, err := w.look()
	if err != nil {
		return nil, err
	}
	var pids []int
	for pid, s := range stats {
		if !s.ended() {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// look finds all processes of the tree, zombies among them.
func (w *tree) look() (map[int]stat, error) {
	all, err := readStats()
	if err != nil {
		return nil, err
	}
	found := map[int]stat{}
	for more := true; more; { // until nobody's child is new
		more = false
		for pid, s := range all {
			_, have := found[pid]
			start, known := w.seen[pid]
			_, child := found[s.parent]
			if have || (!known || start != s.start) && !child {
				continue
			}
			found[pid], w.seen[pid], more = s, s.start, true
		}
	}
	return found, nil
}

// cpu is what the clocks of the live ones say, what they know of children that
// they have waited for, and what the roots that have ended took with all of theirs.
func (w *tree) cpu() (time.Duration, error) {
	stats, err := w.look()
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for pid, s := range stats {
		used, err := clock(pid)
		if err != nil {
			used = s.own // of ticks, but better than nothing
		}
		sum += used + s.children
	}
	for _, r := range w.roots {
		if _, live := stats[r.cmd.Process.Pid]; !live {
			sum += r.used()
		}
	}
	return sum, nil
}

func (w *tree) kernel() (int64, error) { return 0, ErrUnknown }

func (w *tree) remove() error { return nil }

// clock is the CPU time of a process, as clock_getcpuclockid(3) has it: all of
// its threads, to the nanosecond.
func clock(pid int) (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED: user and system time, exactly
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &ts); err != nil {
		return 0, err
	}
	return time.Duration(ts.Nano()), nil
}
