package dovecot

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A process is a running master process and its children, which are all members
// of the process group that it leads.
type process struct {
	pgid int
	done chan struct{} // closed when the master has ended
}

// stopGrace is how long live sessions may hold up an orderly end. Dovecot would
// wait for ten seconds of silence, and without limit before the login.
const stopGrace = time.Second

// Stop ends the server in good order, as a service manager would: the master is
// asked, and what is still there a second later is killed.
func (s *Server) Stop(t testing.TB) { s.end(t, syscall.SIGTERM) }

// Kill9 kills the master, its login processes and all sessions at once, as a
// crash of the machine's mail service would: the kernel closes their sockets.
func (s *Server) Kill9(t testing.TB) { s.end(t, syscall.SIGKILL) }

// Restart stops the server if it runs and starts it again, with the same
// addresses, mail and log.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop(t)
	s.start(t)
}

// Freeze stops all of the server's processes where they are: the kernel still
// accepts connections for it, but nobody answers. Thaw ends that.
func (s *Server) Freeze(t testing.TB) { s.signal(t, syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (s *Server) Thaw(t testing.TB) { s.signal(t, syscall.SIGCONT) }

// Processes returns the ids of the server's live processes, master included.
func (s *Server) Processes() []int {
	if s.proc == nil {
		return nil
	}
	return members(s.proc.pgid)
}

func (s *Server) start(t testing.TB) {
	t.Helper()
	// A killed master leaves its pid behind, which by now may be another
	// process's: Dovecot would think that it runs already.
	if err := os.Remove(s.file("run/master.pid")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	proc, err := launch(s.file("dovecot.conf"), s.file("output.log"))
	if err != nil {
		t.Fatalf("start Dovecot: %v", err)
	}
	s.proc = proc
	var last error
	ready := poll(patience, func() bool {
		select {
		case <-proc.done:
			return true // ended, seen below
		default:
		}
		last = errors.Join(
			greets(s.IMAP, "CAPABILITY", "a LOGOUT\r\n"),
			greets(s.POP3, "+OK", "QUIT\r\n"),
		)
		return last == nil
	})
	select {
	case <-proc.done:
		output, err := os.ReadFile(s.file("output.log"))
		t.Fatalf("Dovecot ended at once: %s\n%v\n%s", output, err, s.logTail())
	default:
	}
	if !ready {
		t.Fatalf("Dovecot does not greet: %v\n%s", last, s.logTail())
	}
}

// launch starts a master process that leads a process group and ends with this
// one. The kernel sends the death signal when the starting *thread* ends, so one
// thread is kept for as long as the master lives.
func launch(config, output string) (*process, error) {
	program, err := find("dovecot")
	if err != nil {
		return nil, err
	}
	out, err := os.OpenFile(output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "-F", "-c", config)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}

	proc := &process{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() { // ends with the master, which end waits for
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(proc.done)
		err := cmd.Start()
		out.Close() // the child has its own
		if err == nil {
			proc.pgid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
	}()
	return proc, <-started
}

// end sends a signal that ends the server, and waits until nothing is left of
// it: a next start finds the ports free.
func (s *Server) end(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if s.proc == nil {
		return
	}
	proc := s.proc
	gone := func() bool {
		select {
		case <-proc.done:
			return len(members(proc.pgid)) == 0
		default:
			return false
		}
	}
	s.signal(t, sig)
	if sig == syscall.SIGTERM && !poll(stopGrace, gone) {
		s.signal(t, syscall.SIGKILL)
	}
	if !poll(patience, gone) {
		t.Fatalf("Dovecot's processes %v do not end", members(proc.pgid))
	}
	s.proc = nil
}

func (s *Server) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if s.proc == nil {
		return
	}
	to := -s.proc.pgid
	if sig == syscall.SIGTERM {
		to = s.proc.pgid // the master ends its children itself
	}
	if err := syscall.Kill(to, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Errorf("send %v to Dovecot: %v", sig, err)
	}
}

// members returns the live processes of a process group. A zombie does not
// count: it has closed everything, and in a container nobody may ever reap it.
func members(pgid int) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well-formed
	var pids []int
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // ended since
		}
		// proc(5): pid (name) state ppid pgrp …; the name may hold anything.
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 3 || fields[0] == "Z" || fields[2] != strconv.Itoa(pgid) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// greets reports whether a server sends a line that holds want. The first line
// may be another: until its authentication process is up, Dovecot's IMAP greets
// with "* OK Waiting for authentication process to respond..".
func greets(addr, want, bye string) error {
	const limit = time.Second
	conn, err := net.DialTimeout("tcp", addr, limit)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	for r := bufio.NewReader(conn); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return fmt.Errorf("wait for the greeting of %s: %w", addr, err)
		}
		if strings.Contains(line, want) {
			_, err := fmt.Fprint(conn, bye)
			return err
		}
	}
}
