package gauge

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// pinRounds bounds how often threads are looked for that were made meanwhile.
// One that is made after a round inherits from one that was pinned in it.
const pinRounds = 20

// Pin lets all threads of the group run on these processors only; those that
// they make later inherit that. No processors is all of them.
func (g *Group) Pin(cpus ...int) error {
	set := mask(cpus)
	done := map[int]bool{}
	for range pinRounds {
		fresh := false
		if err := g.each(func(pid int) error {
			more, err := pinThreads(pid, &set, done)
			fresh = fresh || more
			return err
		}); err != nil {
			return err
		}
		if !fresh {
			return nil
		}
	}
	return fmt.Errorf("group %s makes threads faster than they can be pinned", g.name)
}

// PinSelf lets all threads of this process run on these processors only, and
// those that are made later, as well as processes that are started meanwhile: start targets before, or
// after restore, which gives all threads what the calling one had.
func PinSelf(cpus ...int) (restore func(), err error) {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return nil, err
	}
	restore = func() { _ = pinSelf(&before) }
	set := mask(cpus)
	if err := pinSelf(&set); err != nil {
		restore()
		return nil, err
	}
	return restore, nil
}

func pinSelf(set *unix.CPUSet) error {
	done := map[int]bool{}
	for range pinRounds {
		fresh, err := pinThreads(os.Getpid(), set, done)
		if err != nil || !fresh {
			return err
		}
	}
	return errors.New("this process makes threads faster than they can be pinned")
}

// pinThreads pins the threads of a process that were not before, and reports
// whether there were any.
func pinThreads(pid int, set *unix.CPUSet, done map[int]bool) (fresh bool, err error) {
	entries, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "task"))
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		tid, err := strconv.Atoi(e.Name())
		if err != nil || done[tid] {
			continue
		}
		if err := unix.SchedSetaffinity(tid, set); err != nil && !errors.Is(err, unix.ESRCH) {
			return fresh, fmt.Errorf("pin thread %d: %w", tid, err)
		}
		done[tid], fresh = true, true
	}
	return fresh, nil
}

// mask is a set of processors. No processors is all that there could be; the
// kernel leaves out those that are not.
func mask(cpus []int) (set unix.CPUSet) {
	if len(cpus) == 0 {
		set.Fill()
	}
	for _, c := range cpus {
		set.Set(c)
	}
	return set
}
