package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"usher.example/cluster/lead"
)

const (
	// flushTime bounds one flush: the user waits for it, and longer than a login is
	// held (5 s) nobody does.
	flushTime = 5 * time.Second
	// maxFlushes is how many run at the same time.
	maxFlushes = 8
	// flushOutput bounds what is logged of a program that failed.
	flushOutput = 512
	// flushGrace is for how long the output of a program is waited for that was
	// killed: a child of it may have it open.
	flushGrace = 200 * time.Millisecond
)

// flush has the flushes of a leader done, and tells it. It does not wait.
func (f *Fleet) flush(l *lead.Leader, list []lead.Flush) {
	for _, one := range list {
		f.running.Go(func() {
			select {
			case f.flushing <- struct{}{}:
			case <-f.ctx.Done():
				return
			}
			if f.still(l) {
				f.flushOne(one)
			}
			<-f.flushing
			f.mu.Lock()
			l.Flushed(one.Move) // of a leader that is dropped it does nothing
			f.mu.Unlock()
			f.wake()
		})
	}
}

// still says whether a leader is still ours: what waits for its turn may be
// another's by then.
func (f *Fleet) still(l *lead.Leader) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.leader == l
}

// flushOne runs the program. A user is moved whether it succeeds or not: what it
// would have done can be done again, and a user who may log in nowhere is worse off.
func (f *Fleet) flushOne(one lead.Flush) {
	ctx, cancel := context.WithTimeout(f.ctx, flushTime)
	defer cancel()
	var out ending
	err := runFlush(ctx, f.o.Flush, one, &out)
	if err == nil || f.ctx.Err() != nil {
		return
	}
	f.stats.Unflushed.Add(1)
	if ctx.Err() != nil {
		err = fmt.Errorf("it took longer than %v and was killed", flushTime)
	}
	f.log.Warn("the flush of a user who is moved has failed; he is moved nevertheless", "event", "user_flush_failed",
		"user", one.User, "pool", one.Pool, "from", one.From, "to", one.To, "err", err, "output", out.String())
}

// runFlush runs a program with what it is about in its environment, and no shell in
// between: a user's name is a stranger's. No name has a NUL, which an environment
// cannot carry.
func runFlush(ctx context.Context, program []string, one lead.Flush, out *ending) error {
	if strings.ContainsRune(one.User, 0) {
		return fmt.Errorf("a user's name with a NUL cannot be handed to a program")
	}
	c := exec.CommandContext(ctx, program[0], program[1:]...) //nolint:gosec // the configuration's
	c.Env = append(os.Environ(),
		"USHER_USER="+one.User, "USHER_POOL="+one.Pool, "USHER_FROM="+one.From, "USHER_TO="+one.To, "USHER_BY="+one.By)
	c.Stdout, c.Stderr = out, out
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its children go with it
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = flushGrace
	return c.Run()
}

// An ending keeps the end of what is written.
type ending struct{ bytes.Buffer }

// Write keeps the last octets.
func (t *ending) Write(b []byte) (int, error) {
	n := len(b)
	if len(b) > flushOutput {
		b = b[len(b)-flushOutput:]
	}
	if more := t.Len() + len(b) - flushOutput; more > 0 {
		t.Next(more)
	}
	_, _ = t.Buffer.Write(b) // a buffer takes everything
	return n, nil
}
