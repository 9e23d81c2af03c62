package peers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"usher.example/bench/gauge"
)

// startSelf starts a command of this benchmark's own program in a group and
// returns the addresses that it serves. It ends when this process does.
func (p *place) startSelf(g *gauge.Group, args ...string) ([]string, error) {
	cmd := exec.Command(p.Self, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(p.Workers))
	return StartChild(cmd, func() error { return p.start(g, cmd) })
}

// StartChild has start start a command of this benchmark's own program and returns the
// addresses that it says it serves (see [RunChild]). Its standard input is a pipe from
// here, which ends when this process does. One that is not ready in some seconds is an error.
func StartChild(cmd *exec.Cmd, start func() error) (addrs []string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", strings.Join(cmd.Args[:min(2, len(cmd.Args))], " "), err)
		}
	}()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	defer w.Close() // the child has its own
	cmd.Stdout = w
	if _, err := cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := start(); err != nil {
		return nil, err
	}
	w.Close() // so that the child's end is the pipe's
	return awaitReady(r, readyTime)
}

func awaitReady(out *os.File, limit time.Duration) ([]string, error) {
	if err := out.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	words := strings.Fields(line)
	if err != nil || len(words) < 2 || words[0] != "ready" {
		return nil, errors.Join(fmt.Errorf("it does not say where it is ready: %q", line), err)
	}
	return words[1:], nil
}

// A Child is a command that a run of the benchmark starts as a process of its
// own, so that its cost can be told from that of others.
type Child interface {
	// Listen returns the addresses that are served.
	Listen() ([]string, error)
	// Serve serves until the context is done.
	Serve(ctx context.Context) error
}

// RunChild runs a child as all of them are run: it says "ready ADDR..." on out, and
// ends when in does, which is when the process that has started it ends.
func RunChild(ctx context.Context, c Child, in io.Reader, out io.Writer) error {
	addrs, err := c.Listen()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with the input, or with the process
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	if _, err := fmt.Fprintln(out, "ready", strings.Join(addrs, " ")); err != nil {
		return err
	}
	if err := c.Serve(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
