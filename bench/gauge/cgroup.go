package gauge

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// prefix begins the name of every control group that is made here.
const prefix = "usher-bench"

// A mount is a hierarchy of control groups.
type mount struct {
	dir         string   // where it is mounted
	root        string   // what of the hierarchy is there
	version     int      // 1 or 2
	controllers []string // of version 1
}

// mounts are the hierarchies that this process sees.
func mounts() ([]mount, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMounts(text), nil
}

// parseMounts reads proc_pid_mountinfo(5) and drops what is not a hierarchy of
// control groups.
func parseMounts(text []byte) []mount {
	var found []mount
	for line := range strings.Lines(string(text)) {
		before, after, ok := strings.Cut(line, " - ")
		place, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(place) < 5 || len(kind) < 3 {
			continue
		}
		m := mount{root: place[3], dir: place[4]}
		switch kind[0] {
		case "cgroup":
			m.version, m.controllers = 1, strings.Split(kind[2], ",")
		case "cgroup2":
			m.version = 2
		default:
			continue
		}
		found = append(found, m)
	}
	return found
}

// own is where this process is: the directory of its control group in the
// hierarchy of a controller, or in that of version 2 if controller is empty.
func own(controller string) (string, error) {
	all, err := mounts()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	at := slices.IndexFunc(all, func(m mount) bool {
		if controller == "" {
			return m.version == 2
		}
		return m.version == 1 && slices.Contains(m.controllers, controller)
	})
	path, ok := parseMembership(text)[controller]
	if at < 0 || !ok {
		return "", fmt.Errorf("no control group of %q is mounted", controller)
	}
	// In a container what is mounted may be only a part of the hierarchy.
	if rel, err := filepath.Rel(all[at].root, path); err == nil && filepath.IsLocal(rel) {
		path = rel
	}
	return filepath.Join(all[at].dir, path), nil
}

// parseMembership reads /proc/PID/cgroup (cgroups(7)): the path by controller,
// that of version 2 under "".
func parseMembership(text []byte) map[string]string {
	paths := map[string]string{}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) < 3 {
			continue
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			paths[controller] = parts[2]
		}
	}
	return paths
}

// mkdir makes a control group below dir whose name nobody else has, and ends what
// is left there by a benchmark that was killed.
func mkdir(dir, name string) (string, error) {
	left, _ := filepath.Glob(filepath.Join(dir, prefix+"-*")) // the pattern is well-formed
	for _, path := range left {
		maker, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), prefix+"-"), "-")
		if pid, err := strconv.Atoi(maker); err == nil && !alive(pid) {
			sweep(path)
		}
	}
	for i := 0; ; i++ {
		path := filepath.Join(dir, fmt.Sprintf("%s-%d-%s-%d", prefix, os.Getpid(), name, i))
		err := os.Mkdir(path, 0o755)
		if err == nil || !errors.Is(err, fs.ErrExist) {
			return path, err
		}
	}
}

// sweep ends what outlives the maker of a control group, and removes the group. It
// may not be ours to signal, or somebody else may be sweeping: then it is left.
func sweep(dir string) {
	poll(removeTime, func() bool {
		pids, err := members(dir)
		if err != nil {
			return true
		}
		for _, pid := range pids {
			if !killIn(dir, pid) {
				return true
			}
		}
		return !errors.Is(os.Remove(dir), syscall.EBUSY)
	})
}

// killIn kills a process if it is in a control group, and never one that has got
// its number since: the process is held by a descriptor before it is looked at.
// False means that it may not be killed.
func killIn(dir string, pid int) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return errors.Is(err, unix.ESRCH) // it has ended
	}
	defer unix.Close(fd)
	if pids, err := members(dir); err != nil || pid == os.Getpid() || !slices.Contains(pids, pid) {
		return err == nil && pid != os.Getpid()
	}
	err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	return err == nil || errors.Is(err, unix.ESRCH)
}

// number reads a file that holds one number.
func number(path string) (int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// numbers reads a file of lines "name number", as cpu.stat and memory.stat are.
func numbers(path string) (map[string]int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseNumbers(text), nil
}

// parseNumbers drops lines that are not of the form.
func parseNumbers(text []byte) map[string]int64 {
	found := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 2 {
			continue
		}
		if n, err := strconv.ParseInt(f[1], 10, 64); err == nil {
			found[f[0]] = n
		}
	}
	return found
}

// members reads cgroup.procs. A zombie is no member: it costs nothing more.
func members(dir string) ([]int, error) {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // only an empty group can be removed
	}
	if err != nil {
		return nil, err
	}
	var pids []int
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if pid, err := strconv.Atoi(lines.Text()); err == nil && alive(pid) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids), lines.Err()
}
