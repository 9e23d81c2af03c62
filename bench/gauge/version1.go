package gauge

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// version1 is a control group of version 1: one directory in the hierarchy of
// cpuacct, and one in that of memory if that can be had.
type version1 struct {
	cpuacct string
	memory  string            // empty: none
	homes   map[string]string // of each of them: where this process is
}

// Where this process is, looked up before any thread of it has been elsewhere:
// what /proc/self says is of the first thread, and start may have that in a
// group for a moment.
var (
	cpuacctHome = sync.OnceValues(func() (string, error) { return own("cpuacct") })
	memoryHome  = sync.OnceValues(func() (string, error) { return own("memory") })
)

func newVersion1(name string) (way, error) {
	w := &version1{homes: map[string]string{}}
	home, err := cpuacctHome()
	memory, noMemory := memoryHome() // both, before anything is started
	if err != nil {
		return nil, err
	}
	if w.cpuacct, err = mkdir(home, name); err != nil {
		return nil, err
	}
	w.homes[w.cpuacct] = home
	if noMemory == nil {
		if dir, err := mkdir(memory, name); err == nil {
			w.memory, w.homes[dir] = dir, memory
			// The kernel counts what waits in sockets only for groups that have been
			// given a bound of it, and charges an accepted socket's own memory only
			// then. No bound is one. Not to have it is no reason to fail.
			_ = os.WriteFile(filepath.Join(dir, "memory.kmem.tcp.limit_in_bytes"), []byte("-1"), 0)
		}
	}
	return w, nil
}

func (w *version1) what() string {
	if w.memory == "" {
		return "control group v1, without memory"
	}
	return "control group v1"
}

// start moves this thread into the group, and out of it when the process is
// there: a process begins in the control groups of the thread that makes it.
func (w *version1) start(cmd *exec.Cmd) (err error) {
	runtime.LockOSThread()
	tid := []byte(strconv.Itoa(unix.Gettid()))
	defer func() {
		for _, home := range w.homes {
			if e := move(home, tid); e != nil {
				// The thread is not fit for other work: it ends with this goroutine,
				// which is never unlocked from it.
				err = errors.Join(err, fmt.Errorf("take a thread out of a control group: %w", e))
			}
		}
		if err == nil {
			runtime.UnlockOSThread()
		}
	}()
	for dir := range w.homes {
		if err := move(dir, tid); err != nil {
			return err
		}
	}
	return cmd.Start()
}

func (w *version1) started(*root) {}

func move(dir string, tid []byte) error {
	return os.WriteFile(filepath.Join(dir, "tasks"), tid, 0)
}

func (w *version1) pids() ([]int, error) { return members(w.cpuacct) }

func (w *version1) cpu() (time.Duration, error) {
	n, err := number(filepath.Join(w.cpuacct, "cpuacct.usage"))
	return time.Duration(n), err
}

func (w *version1) kernel() (int64, error) {
	if w.memory == "" {
		return 0, ErrUnknown
	}
	n, err := number(filepath.Join(w.memory, "memory.kmem.usage_in_bytes"))
	if err != nil {
		return 0, errors.Join(ErrUnknown, err)
	}
	if tcp, err := number(filepath.Join(w.memory, "memory.kmem.tcp.usage_in_bytes")); err == nil {
		n += tcp
	}
	return n, nil
}

// remove tries again with what is left: one of the two may be busy for longer.
func (w *version1) remove() error {
	var errs []error
	for dir := range w.homes {
		if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
			continue
		}
		delete(w.homes, dir)
	}
	return errors.Join(errs...)
}
