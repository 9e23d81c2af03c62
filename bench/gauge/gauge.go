// Package gauge says what the processes of one program cost: CPU time, memory,
// kernel memory, descriptors and threads, of all of them together and those that
// have ended.
//
// A [Group] holds the processes. Where it may, it puts them into a control group
// of their own (version 1 or 2), below the one that this process is in, so that
// whatever bounds this process bounds them: then nothing that they start escapes
// it, the kernel sums their CPU time itself, and says what it has allocated for
// them. Where it may not, it finds them in /proc by who started whom.
//
// Laws: a group signals only processes in it, and a new one those in control groups
// that a benchmark has left here which is dead; it never reads a figure of a clock
// that ticks (the 10 ms of /proc/PID/stat) where there is a finer one; what cannot be known
// is an error, never a zero. Linux only.
package gauge

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

// ErrUnknown is what a figure is that this machine does not tell.
var ErrUnknown = errors.New("this machine does not tell")

// A way is how a group keeps its processes together. Its methods are called one
// at a time.
type way interface {
	// start starts a process in the group.
	start(cmd *exec.Cmd) error
	// started is told of what start has started.
	started(r *root)
	// pids are the processes in the group that have not ended.
	pids() ([]int, error)
	// cpu is the user and system time of all, ended ones included.
	cpu() (time.Duration, error)
	// kernel is the kernel memory charged to the group, in octets.
	kernel() (int64, error)
	// remove gives up what was made; there are no processes any more.
	remove() error
	// what says in a few words how it is done.
	what() string
}

// A Group is the processes of one program. Its methods may be called from
// several goroutines.
type Group struct {
	name string

	mu    sync.Mutex // guards all below
	way   way
	roots []*root
	gone  bool          // removed; then final is the last word
	final time.Duration // CPU time at the end
}

// A root is a process that Start has started.
type root struct {
	cmd  *exec.Cmd     // what Wait writes, ProcessState, is to be read after done only
	done chan struct{} // closed when it has ended and err is set
	err  error         // of Wait
}

// used is the CPU time of a process that has ended, with what it knows of its
// children; 0 before.
func (r *root) used() time.Duration {
	select {
	case <-r.done:
	default:
		return 0
	}
	if state := r.cmd.ProcessState; state != nil {
		return state.UserTime() + state.SystemTime()
	}
	return 0
}

// NewGroup makes an empty group. The name, of letters, digits and "-", is part of
// the control group's. It fails only if there is not even /proc.
func NewGroup(name string) (*Group, error) {
	ways := []func(string) (way, error){newVersion1, newVersion2, newTree}
	var errs []error
	for _, make := range ways {
		w, err := make(name)
		if err == nil {
			return &Group{name: name, way: w}, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("group %s: %w", name, errors.Join(errs...))
}

// String says how the group's processes are found and measured.
func (g *Group) String() string { return g.name + " (" + g.way.what() + ")" }

// Start starts a process in the group. The group waits for it: the caller must
// not, and reads cmd.Stdout and cmd.Stderr through files or pipes of its own.
func (g *Group) Start(cmd *exec.Cmd) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone {
		return fmt.Errorf("group %s has ended: make a new one", g.name)
	}
	if err := g.way.start(cmd); err != nil {
		return fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	r := &root{cmd: cmd, done: make(chan struct{})}
	g.roots = append(g.roots, r)
	g.way.started(r)
	go func() { // ends with the process, which Stop and Kill wait for
		r.err = cmd.Wait()
		close(r.done)
	}()
	return nil
}

// Alive returns nil while every process that Start has started runs, and else
// how the first of those ended that do not.
func (g *Group) Alive() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.roots {
		select {
		case <-r.done:
			if r.err != nil {
				return fmt.Errorf("%s ended: %w", r.cmd.Path, r.err)
			}
			return fmt.Errorf("%s ended by itself", r.cmd.Path)
		default:
		}
	}
	return nil
}

// Started reports whether the group ever had a process; it may have ended since.
func (g *Group) Started() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.roots) > 0
}

// Pids are the live processes in the group, in ascending order; none if they
// cannot be read, which whatever is asked of them then says.
func (g *Group) Pids() []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	pids, _ := g.live()
	return pids
}

// live wants mu held.
func (g *Group) live() ([]int, error) {
	if g.gone {
		return nil, nil
	}
	pids, err := g.way.pids()
	if err != nil {
		return nil, fmt.Errorf("list the processes of %s: %w", g.name, err)
	}
	return pids, nil
}

// CPU is the user and system time of all processes that were ever in the group,
// ended ones included. Control groups tell it to the microsecond, up to what runs
// at this moment, of which a tick (1 to 10 ms) may be missing; without them it is
// as fine for those that live, and of 10 ms for the sum of a process's ended children.
func (g *Group) CPU() (time.Duration, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone {
		return g.final, nil
	}
	d, err := g.way.cpu()
	if err != nil {
		return 0, fmt.Errorf("CPU time of %s: %w", g.name, err)
	}
	return d, nil
}

// Kernel is the kernel memory in octets that is charged to the group: sockets,
// files, page tables, stacks of threads, epoll's records. Charges are made a page
// at a time on each processor and taken back late, so two readings that should be
// equal differ by up to [KernelSlack]; sockets that are closed stay in it until
// the kernel has freed them, which a TIME_WAIT need not delay. ErrUnknown where
// there is no control group that tells.
func (g *Group) Kernel() (int64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone {
		return 0, fmt.Errorf("group %s has ended: read it before", g.name)
	}
	n, err := g.way.kernel()
	if err != nil {
		return 0, fmt.Errorf("kernel memory of %s: %w", g.name, err)
	}
	return n, nil
}

// KernelSlack is how far two readings of Kernel may differ that should be equal:
// each processor may hold back two pages of charges for small objects.
func KernelSlack() int64 {
	return int64(2 * runtime.NumCPU() * os.Getpagesize())
}
