package main

import (
	"cmp"
	"io/fs"
	"os"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Go's own 100 percent stay in force, by which the heap may grow before the next garbage
// collection. A login leaves 70 KiB of garbage where some megabytes are live, so that there is
// one every 60 logins. Both ways were measured, in turns: with 200 percent a login takes 5 %
// less CPU time, and an idle session 15 % more memory for as long as it lives: what lives
// on is scattered among more that does not, and the runtime's own tables grow with the
// heap's peak.
const goPercent = "100"

const (
	// limitShare is which part of the memory that there is the heap is held to, by
	// collecting more often: half. The kernel's part of a session is several times as
	// large as ours, and a control group counts it as well.
	limitShare = 2

	// leastLimit is what the heap has at least, if three quarters of the memory are as
	// much: usher takes 25 MiB by itself, and a limit that is close above what lives
	// has the collector run without end just when a thousand come at once.
	leastLimit = 128 << 20
)

// A collector is how Go's garbage collector is set up for this process. What the
// environment says (GOGC, GOMEMLIMIT) is the operator's, and left alone.
type collector struct {
	Percent string // how much the heap may grow: Go's own, or the operator's
	Limit   int64  // of the heap, in octets, or Go's idea of none
}

// collect sets the collector up. The function that is returned puts back what Go
// has by itself.
func collect(root fs.FS, machine uint64) (c collector, stop func()) {
	c.Percent = cmp.Or(os.Getenv("GOGC"), goPercent)
	none := debug.SetMemoryLimit(-1)
	if os.Getenv("GOMEMLIMIT") == "" {
		if limit := smaller(machine, cgroupLimit(root)); limit > 0 {
			debug.SetMemoryLimit(int64(heapLimit(limit)))
		}
	}
	c.Limit = debug.SetMemoryLimit(-1)
	return c, func() { debug.SetMemoryLimit(none) }
}

// heapLimit is what the heap is held to where there is so much memory, in octets.
func heapLimit(memory uint64) uint64 {
	return max(memory/limitShare, min(memory/4*3, leastLimit))
}

// machineMemory is how much memory the machine has, in octets; 0 if it does not say.
func machineMemory() uint64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return uint64(info.Totalram) * uint64(info.Unit) //nolint:unconvert // it has 32 bits on other machines
}

// cgroupLimit is how much memory the control groups of this process leave it, in
// octets; 0 means that they set no bound. A group's bound holds for those below it,
// so all up to the root are asked (cgroups(7); of version 2 also memory.high, above
// which a process is slowed down).
func cgroupLimit(root fs.FS) (limit uint64) {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(groups)) {
		_, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, dir, _ := strings.Cut(rest, ":")
		mount, files := "sys/fs/cgroup", []string{"memory.max", "memory.high"}
		switch {
		case controllers == "":
		case slices.Contains(strings.Split(controllers, ","), "memory"):
			mount, files = "sys/fs/cgroup/memory", []string{"memory.limit_in_bytes"}
		default:
			continue
		}
		// In a container the path may be the host's, of which only the root is here.
		for dir = path.Clean("/" + dir); ; dir = path.Dir(dir) {
			for _, f := range files {
				limit = smaller(limit, readLimit(root, path.Join(mount, dir, f)))
			}
			if dir == "/" {
				break
			}
		}
	}
	return limit
}

// unlimited is where version 1 of control groups begins to mean no limit: it says
// the largest whole number of pages.
const unlimited = 1 << 62

// readLimit reads a file with a number of octets; 0 is for none, and for "max".
func readLimit(root fs.FS, name string) uint64 {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || n >= unlimited {
		return 0
	}
	return n
}

// smaller is the smaller one of two limits, of which 0 is none.
func smaller(a, b uint64) uint64 {
	if a == 0 || b == 0 {
		return cmp.Or(a, b)
	}
	return min(a, b)
}
