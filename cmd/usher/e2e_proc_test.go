package main_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"usher.example/cmd/internal/dovecot"
)

// The tests of the e2e_*_test.go files run the program as people do: the built
// binary with a configuration file, real Dovecot servers behind it, real clients
// in front. Each node has a loopback address of its own in 127.78.0.0/16, so
// that its ports can be fixed and many nodes can run at once.

const (
	// patience is how long anything that has to happen is waited for: far
	// longer than it takes, since the machine may be busy.
	patience = 30 * time.Second

	// pollEvery is how often something that can only be looked at is looked at.
	pollEvery = 5 * time.Millisecond

	// portReserve is a port that nobody uses: who listens on it owns the
	// address.
	portReserve = 2999

	// addressTries is how many addresses are tried.
	addressTries = 32
)

// long reports whether tests that take minutes are wanted (make test-long).
func long() bool { return os.Getenv("USHER_LONG") != "" }

// builtAt tells a process of tests in a network of its own where the one that started
// it has the program, which is not built again.
const builtAt = "USHER_TEST_PROGRAM"

// program builds usher once and returns a path to it that is good as long as
// this process lives. The file has no name any more by then, so nothing is left
// behind whatever ends the tests. With USHER_E2E_RACE the race detector is in it.
var program = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(builtAt); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "usher-e2e-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "usher")
	args := []string{"build", "-o", file}
	if os.Getenv("USHER_E2E_RACE") != "" {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, ".")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build usher: %w\n%s", err, out)
	}
	fd, err := syscall.Open(file, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd), nil
})

// reserve finds a loopback address that belongs to this test until it ends.
func reserve(t testing.TB) string {
	t.Helper()
	for range addressTries {
		addr := netip.AddrFrom4([4]byte{127, 78, byte(1 + rand.IntN(254)), byte(1 + rand.IntN(254))})
		l, err := net.Listen("tcp", netip.AddrPortFrom(addr, portReserve).String())
		if err == nil {
			t.Cleanup(func() { l.Close() })
			return addr.String()
		}
	}
	t.Fatal("no loopback address is free")
	return ""
}

// A proc is a running usher. Its methods may be called from several goroutines,
// except those that end it.
type proc struct {
	t    testing.TB
	host string // where it listens
	path string // of its configuration
	log  *transcript
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended; then err is set
	err  error
}

// serve starts usher with a configuration and waits until it is ready. It ends
// with the test, and must then end well.
func (s *site) serve(env ...string) *proc {
	s.t.Helper()
	p := s.launch(env...)
	eventually(s.t, "usher is ready", func() bool {
		select {
		case <-p.done:
			s.t.Fatalf("usher ended at once: %v", p.err)
		default:
		}
		status, _ := p.ask("/readyz")
		return status == http.StatusOK
	})
	return p
}

// launch starts usher and does not wait. The kernel kills it when the thread
// that started it ends, so one is kept until then: usher never outlives the
// tests.
func (s *site) launch(env ...string) *proc {
	s.t.Helper()
	binary, err := program()
	if err != nil {
		s.t.Fatal(err)
	}
	p := &proc{t: s.t, host: s.host, path: s.write(), log: new(transcript), done: make(chan struct{})}
	p.cmd = exec.Command(binary, "serve", "-c", p.path)
	p.cmd.Args[0] = "usher"
	if len(s.within) > 0 {
		p.cmd = exec.Command(s.within[0], append(slices.Clone(s.within[1:]), binary, "serve", "-c", p.path)...)
	}
	out, in, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = in, in
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); name != "JOURNAL_STREAM" && name != "NOTIFY_SOCKET" {
			p.cmd.Env = append(p.cmd.Env, v)
		}
	}
	p.cmd.Env = append(p.cmd.Env, env...)
	if s.journal { // as systemd says that it reads what we write (systemd.exec(5))
		var st syscall.Stat_t
		if err := syscall.Fstat(int(in.Fd()), &st); err != nil {
			s.t.Fatal(err)
		}
		p.cmd.Env = append(p.cmd.Env, fmt.Sprintf("JOURNAL_STREAM=%d:%d", st.Dev, st.Ino))
	}
	started := make(chan error, 1)
	go func() { // ends with the process, which the cleanup below waits for
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := p.cmd.Start()
		in.Close() // the child has its own
		started <- err
		_, _ = io.Copy(p.log, out) // ends with the child; what it said is in the log
		out.Close()
		if err == nil {
			p.err = p.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		s.t.Fatalf("start usher: %v", err)
	}
	s.t.Cleanup(p.cleanup)
	return p
}

func (p *proc) cleanup() {
	select {
	case <-p.done:
	default:
		p.signal(syscall.SIGTERM)
		p.signal(syscall.SIGTERM) // do not wait for sessions
	}
	p.wait()
	for _, bad := range []string{"panic", "DATA RACE", "level=ERROR msg=\"a session", "failure=internal"} {
		if strings.Contains(p.log.String(), bad) {
			p.t.Errorf("usher's log has %q", bad)
		}
	}
	if p.t.Failed() {
		text := p.log.String()
		p.t.Logf("end of usher's log:\n%s", text[max(0, len(text)-logShown):])
	}
}

// logShown is how much of the log a failed test shows, in octets.
const logShown = 8 << 10

// wait waits for the end, which has to be a good one.
func (p *proc) wait() {
	p.t.Helper()
	select {
	case <-p.done:
		if p.err != nil {
			p.t.Errorf("usher's exit: got %v, want status 0", p.err)
		}
	case <-time.After(patience):
		p.t.Error("usher does not end")
		p.signal(syscall.SIGQUIT) // shows what hangs
		<-p.done
	}
}

func (p *proc) signal(sig syscall.Signal) {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("send %v to usher: %v", sig, err)
	}
}

// pid is the process's id.
func (p *proc) pid() int { return p.cmd.Process.Pid }

// addr is where a port of the node is.
func (p *proc) addr(port int) string { return hostPort(p.host, port) }

// ask asks an HTTP address of the node; the status is 0 if nobody answers.
func (p *proc) ask(path string) (status int, body string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr(portHTTP)+path, http.NoBody)
	if err != nil {
		return 0, err.Error()
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(text)
}

// command runs another usher, as an administrator does, and returns what it
// prints.
func (p *proc) command(args ...string) (string, error) {
	binary, err := program()
	if err != nil {
		return "", err
	}
	cmd := exec.Command(binary, args...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// eventually waits until done.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	if !poll(patience, done) {
		t.Fatalf("%s: not within %v", what, patience)
	}
}

// poll asks until the answer is yes, and reports whether it came in time.
func poll(limit time.Duration, done func() bool) bool {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); !done(); <-tick.C {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// require ends the test unless Dovecot and the programs are here.
func require(t testing.TB, programs ...string) {
	t.Helper()
	dovecot.Require(t, programs...)
}
