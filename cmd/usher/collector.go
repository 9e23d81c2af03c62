package main

import (
	"io/fs"
	"os"
	"path"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// By how much the heap may grow before the next garbage collection. A login leaves 70 KiB of
// garbage, and little lives on: by Go's own 100 percent, of which 4 MiB are the least, there
// is a collection every 36 logins, whose cost is mostly the same however much there is to
// collect. So there is none before the heap has some megabytes, which every node has.
//
// Measured in turns, medians of six: by Go's own rule a login over TLS takes 0.95 of HAProxy's CPU
// time, with 8 MiB 0.82, with 12 MiB 0.82. In one run each 2,000 idle sessions then took 1.2,
// 1.4 and 1.5 KiB of memory each.
const (
	// leastHeap is as large as the heap may always become. It is no more: what lives on is
	// scattered among what does not, and the runtime's own tables grow with the heap's peak and stay.
	leastHeap = 8 << 20

	// mostPercent makes a heap of that where next to nothing lives, as Go's least is 4 MiB for
	// 100 percent. A process begins with it.
	mostPercent = 200

	// leastPercent are Go's own.
	leastPercent = 100
)

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
	Percent string // by which the heap may grow at first, or the operator's
	Limit   int64  // of the heap, in octets, or Go's idea of none
}

// collect sets the collector up. The function that is returned puts back what Go
// has by itself.
func collect(root fs.FS, machine uint64) (c collector, stop func()) {
	c.Percent = os.Getenv("GOGC")
	settle := func() {}
	if c.Percent == "" {
		c.Percent = strconv.Itoa(mostPercent)
		settle = followHeap()
	}
	none := debug.SetMemoryLimit(-1)
	if os.Getenv("GOMEMLIMIT") == "" {
		if limit := smaller(machine, cgroupLimit(root)); limit > 0 {
			debug.SetMemoryLimit(int64(heapLimit(limit)))
		}
	}
	c.Limit = debug.SetMemoryLimit(-1)
	return c, func() {
		settle()
		debug.SetMemoryLimit(none)
	}
}

// growth is by how many percent a heap of which so many octets live may grow. Go adds as much
// of what it has to look through besides, which is stacks and variables.
func growth(live, besides uint64) int {
	room := leastHeap - min(live, leastHeap)
	return int(min(max(room*100/max(live+besides, 1), leastPercent), mostPercent))
}

// A follower sets the percentage after each collection, by what has been found to live. It
// takes no timer, which would wake a node at rest.
type follower struct {
	mu      sync.Mutex
	percent int // in force
	over    bool
}

// followHeap begins with that. The function that is returned ends it, and puts back what was
// in force: there is one at a time in a process.
func followHeap() (stop func()) {
	f := &follower{percent: mostPercent}
	was := debug.SetGCPercent(mostPercent)
	f.await()
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if !f.over {
			f.over = true
			debug.SetGCPercent(was)
		}
	}
}

// await has follow called after the next collection: by a finalizer, of something that
// nobody has.
func (f *follower) await() {
	type sentinel struct{ *follower } // with a pointer: not one of the tiny that share a block
	runtime.SetFinalizer(&sentinel{f}, func(s *sentinel) { s.follow() })
}

func (f *follower) follow() {
	found := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(found)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return
	}
	if p := growth(found[0].Value.Uint64(), found[1].Value.Uint64()+found[2].Value.Uint64()); p != f.percent {
		f.percent = p
		debug.SetGCPercent(p)
	}
	f.await()
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
		return max(a, b)
	}
	return min(a, b)
}
