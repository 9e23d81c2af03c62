package gauge

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of times in /proc: USER_HZ is 100 on all that Go runs on.
const tick = 10 * time.Millisecond

// A stat is what is used of /proc/PID/stat.
type stat struct {
	state    byte // 'Z' and 'X' have ended
	parent   int
	own      time.Duration // user and system time, in ticks
	children time.Duration // of those that have ended and were waited for
	start    uint64        // in ticks since the machine's start
}

func (s stat) ended() bool { return s.state == 'Z' || s.state == 'X' }

var errStat = errors.New("not the form of /proc/PID/stat")

// parseStat reads proc_pid_stat(5). The name, in brackets, may hold anything.
func parseStat(text []byte) (stat, error) {
	at := strings.LastIndex(string(text), ") ")
	if at < 0 {
		return stat{}, errStat
	}
	f := strings.Fields(string(text[at+2:])) // f[0] is field 3
	if len(f) < 20 || len(f[0]) != 1 {
		return stat{}, errStat
	}
	s := stat{state: f[0][0]}
	var err error
	if s.parent, err = strconv.Atoi(f[1]); err != nil {
		return stat{}, errStat
	}
	var ticks [4]int64 // fields 14 to 17
	for i := range ticks {
		if ticks[i], err = strconv.ParseInt(f[11+i], 10, 64); err != nil {
			return stat{}, errStat
		}
	}
	if s.start, err = strconv.ParseUint(f[19], 10, 64); err != nil {
		return stat{}, errStat
	}
	s.own = time.Duration(ticks[0]+ticks[1]) * tick
	s.children = time.Duration(ticks[2]+ticks[3]) * tick
	return s, nil
}

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(text)
}

// readStats reads those of all processes.
func readStats() (map[int]stat, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	all := map[int]stat{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, err := readStat(pid); err == nil { // else it has ended since
			all[pid] = s
		}
	}
	return all, nil
}

// alive reports whether a process runs.
func alive(pid int) bool {
	s, err := readStat(pid)
	return err == nil && !s.ended()
}

// Memory is the memory of processes in octets. PSS shares out pages among all
// that map them, so it alone may be summed over processes of one program; Private
// is pages that nobody else has; RSS counts a shared page for each.
type Memory struct{ PSS, Private, RSS int64 }

// Memory sums /proc/PID/smaps_rollup over the group. For a program of another
// user it needs root.
func (g *Group) Memory() (Memory, error) {
	var sum Memory
	err := g.each(func(pid int) error {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return err
		}
		m := parseRollup(text)
		sum.PSS += m.PSS
		sum.Private += m.Private
		sum.RSS += m.RSS
		return nil
	})
	return sum, err
}

// parseRollup reads /proc/PID/smaps_rollup; what it does not know it skips.
func parseRollup(text []byte) Memory {
	var m Memory
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[2] != "kB" {
			continue
		}
		n, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			continue
		}
		switch f[0] {
		case "Pss:":
			m.PSS += n << 10
		case "Private_Clean:", "Private_Dirty:", "Private_Hugetlb:":
			m.Private += n << 10
		case "Rss:":
			m.RSS += n << 10
		}
	}
	return m
}

// Files counts the open descriptors of all processes in the group.
func (g *Group) Files() (int, error) { return g.count("fd") }

// Threads counts the threads of all processes in the group.
func (g *Group) Threads() (int, error) { return g.count("task") }

func (g *Group) count(dir string) (int, error) {
	n := 0
	err := g.each(func(pid int) error {
		entries, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), dir))
		n += len(entries)
		return err
	})
	return n, err
}

// each calls a function with every live process, and forgives it those that end
// meanwhile.
func (g *Group) each(f func(pid int) error) error {
	g.mu.Lock()
	pids, err := g.live()
	g.mu.Unlock()
	if err != nil {
		return err
	}
	if len(pids) == 0 {
		return fmt.Errorf("group %s: no process runs", g.name)
	}
	for _, pid := range pids {
		if err := f(pid); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("group %s: %w", g.name, err)
		}
	}
	return nil
}
