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
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd := exec.Command(p.Self, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(p.Workers))
	cmd.Stdout = w
	// Its standard input is closed when this process ends, or the group does.
	if _, err := cmd.StdinPipe(); err != nil {
		w.Close()
		return nil, err
	}
	err = p.start(g, cmd)
	w.Close()
	if err != nil {
		return nil, err
	}
	addrs, err := AwaitReady(r)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", p.Self, args[0], err)
	}
	return addrs, nil
}

// AwaitReady reads from the pipe that is a child's standard output (see [RunChild])
// which addresses it serves. A child that does not say it in some seconds is an error.
func AwaitReady(out *os.File) ([]string, error) { return awaitReady(out, readyTime) }

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
