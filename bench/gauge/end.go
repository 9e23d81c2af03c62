package gauge

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

const (
	// stopGrace is how long processes have after SIGTERM: as long as an usher's
	// sessions may need that is told to drain.
	stopGrace = 5 * time.Second

	// killTime is how long they may need after SIGKILL: a process with thousands
	// of sockets closes them first, on a machine that is busy.
	killTime = 30 * time.Second

	// endPause is the time between two looks.
	endPause = 5 * time.Millisecond

	// removeTime is how long a control group may be busy after its last process:
	// the kernel takes zombies out of it late.
	removeTime = 5 * time.Second
)

// Stop asks the processes that were started to end (SIGTERM), kills what is still
// there some seconds later, waits until nothing is left and gives up the group.
// CPU still answers then. Stop and Kill may be called again.
func (g *Group) Stop() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.roots {
		_ = r.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	}
	poll(stopGrace, g.empty)
	return g.kill()
}

// Kill kills all processes of the group at once (SIGKILL), as the death of a
// machine would, waits until nothing is left and gives up the group.
func (g *Group) Kill() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.kill()
}

// kill wants mu held.
func (g *Group) kill() error {
	if g.gone {
		return nil
	}
	if !poll(killTime, func() bool {
		if g.empty() {
			return true
		}
		pids, _ := g.live()
		for _, pid := range pids { // again and again: some may be forking
			if pid != os.Getpid() { // whatever went wrong
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		return false
	}) {
		pids, err := g.live()
		return errors.Join(fmt.Errorf("group %s: processes %v do not end: look what they wait for", g.name, pids), err)
	}
	final, err := g.way.cpu()
	g.final = final
	var busy error
	if !poll(removeTime, func() bool {
		busy = g.way.remove()
		return busy == nil || !errors.Is(busy, syscall.EBUSY)
	}) || busy != nil && !errors.Is(busy, os.ErrNotExist) {
		err = errors.Join(err, fmt.Errorf("group %s: remove the control group: %w", g.name, busy))
	}
	g.gone = true
	return err
}

// empty reports whether every process has ended and was waited for.
func (g *Group) empty() bool {
	for _, r := range g.roots {
		select {
		case <-r.done:
		default:
			return false
		}
	}
	pids, err := g.live()
	return err == nil && len(pids) == 0 // whom nobody can list may be there
}

// poll asks until the answer is true or the time is over.
func poll(limit time.Duration, ok func() bool) bool {
	for deadline := time.Now().Add(limit); ; time.Sleep(endPause) {
		if ok() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}
