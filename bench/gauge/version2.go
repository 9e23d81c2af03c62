package gauge

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// version2 is a control group of version 2.
type version2 struct{ dir string }

// newVersion2 makes the group below this process's own. The memory controller
// cannot be had there while processes are in that (the rule of no inner
// processes, cgroups(7)), unless it is the root: then the nearest above it is
// taken that has the controller for its children, if that may be written.
func newVersion2(name string) (way, error) {
	home, err := own("")
	if err != nil {
		return nil, err
	}
	all, err := mounts()
	if err != nil {
		return nil, err
	}
	top := home
	for _, m := range all {
		if m.version == 2 {
			top = filepath.Clean(m.dir)
		}
	}
	var first *version2
	var errs []error
	for dir := home; ; dir = filepath.Dir(dir) {
		made, err := mkdir(dir, name)
		if err != nil {
			errs = append(errs, err)
		} else if w := (&version2{made}); w.memory() {
			if first != nil {
				_ = first.remove()
			}
			return w, nil
		} else if first == nil {
			first = w
		} else {
			_ = w.remove()
		}
		if dir == top || len(dir) <= len(top) {
			break
		}
	}
	if first == nil {
		return nil, fmt.Errorf("make a control group: %w", errors.Join(errs...))
	}
	return first, nil
}

// memory reports whether the group has the memory controller.
func (w *version2) memory() bool {
	_, err := os.Stat(filepath.Join(w.dir, "memory.stat"))
	return err == nil
}

func (w *version2) what() string {
	if !w.memory() {
		return "control group v2, without memory"
	}
	return "control group v2"
}

func (w *version2) start(cmd *exec.Cmd) error {
	dir, err := os.Open(w.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	return cmd.Start()
}

func (w *version2) started(*root) {}

func (w *version2) pids() ([]int, error) { return members(w.dir) }

func (w *version2) cpu() (time.Duration, error) {
	stat, err := numbers(filepath.Join(w.dir, "cpu.stat"))
	if err != nil {
		return 0, err
	}
	used, ok := stat["usage_usec"]
	if !ok {
		return 0, ErrUnknown
	}
	return time.Duration(used) * time.Microsecond, nil
}

// kernel is what Linux sums as kernel memory (slabs, stacks, page tables) and
// what waits in sockets, which it counts apart.
func (w *version2) kernel() (int64, error) {
	stat, err := numbers(filepath.Join(w.dir, "memory.stat"))
	if err != nil {
		return 0, errors.Join(ErrUnknown, err)
	}
	kernel, ok := stat["kernel"] // since Linux 5.18
	if !ok {
		return 0, ErrUnknown
	}
	return kernel + stat["sock"], nil
}

func (w *version2) remove() error { return os.Remove(w.dir) }
