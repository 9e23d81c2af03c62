package guest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	// endLimit is how long a killed guest may take to be gone.
	endLimit = 10 * time.Second

	// tailSize is how much of the console, in octets, an error shows.
	tailSize = 4 << 10
)

// A process is a started guest.
type process struct {
	cmd     *exec.Cmd
	report  *os.File // what init says, up to the guest's end
	console string   // path of what the kernel says
	began   time.Time
	done    chan struct{} // closed when it has ended
}

// start starts a guest that leads a process group and ends with this process,
// even if this one is killed. The death signal is one that user-mode-linux
// handles, to end its own children. The kernel sends it when the starting
// *thread* ends, so one thread is kept for as long as the guest lives.
func start(cmd *exec.Cmd, console string) (*process, error) {
	out, err := os.Create(console)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the child has its own
	report, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}

	p := &process{cmd: cmd, report: report, console: console, began: time.Now(), done: make(chan struct{})}
	started := make(chan error, 1)
	go func() { // ends with the guest, which end waits for
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its report
		}
	}()
	if err := <-started; err != nil {
		report.Close()
		return nil, err
	}
	return p, nil
}

// follow reads the report until the program has ended.
func (p *process) follow(ctx context.Context) (Result, error) {
	stop := context.AfterFunc(ctx, func() { p.setDeadline(time.Now()) })
	defer stop()
	p.setDeadline(p.began.Add(bootLimit))

	var r Result
	var text strings.Builder
	var booted time.Time
	for events := json.NewDecoder(p.report); ; {
		var ev event
		err := ctx.Err() // read after the deadline was set: one of both stops us
		if err == nil {
			err = events.Decode(&ev)
		}
		r.Output = text.String()
		switch {
		case err != nil:
			return r, p.interpret(ctx, err, !booted.IsZero())
		case ev.Failure != "":
			return r, fmt.Errorf("init says: %s", ev.Failure)
		case ev.Kernel != "":
			booted = time.Now()
			r.Kernel, r.Boot = ev.Kernel, booted.Sub(p.began)
			p.setDeadline(booted.Add(runLimit))
		case ev.Outcome != nil:
			r.ExitCode, r.TLSStat = ev.Outcome.ExitCode, ev.Outcome.TLSStat
			r.Ran = time.Since(booted)
			return r, nil
		default:
			text.Write(ev.Output)
		}
	}
}

// interpret says why the report ended early.
func (p *process) interpret(ctx context.Context, err error, booted bool) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !booted && errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w within %v", errNoBoot, bootLimit)
	case !booted:
		return fmt.Errorf("%w: read its report: %w", errNoBoot, err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the program did not end within %v", runLimit)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the guest ended before the program did")
	default:
		return fmt.Errorf("read the guest's report: %w", err)
	}
}

// setDeadline bounds the next read of the report. A pipe can do that.
func (p *process) setDeadline(t time.Time) {
	if err := p.report.SetReadDeadline(t); err != nil && !errors.Is(err, os.ErrClosed) {
		panic(err)
	}
}

// end kills what is left of the guest, and waits until it is gone. There is
// nothing in it to be saved.
func (p *process) end() error {
	defer p.report.Close()
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill the guest: %w", err)
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(endLimit):
		return fmt.Errorf("the guest's process %d does not end", p.cmd.Process.Pid)
	}
}

// consoleTail is the end of what the kernel said.
func (p *process) consoleTail() string {
	text, err := os.ReadFile(p.console)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-tailSize):])
}
