package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"usher.example/balancer/admin"
	"usher.example/cluster"
)

// emptier is an admin socket of a back end that loses a user with each look, and never
// the last ten.
func emptier(t *testing.T, users int64) (socket string, ordered *atomic.Bool) {
	t.Helper()
	socket, ordered = filepath.Join(t.TempDir(), "s"), new(atomic.Bool)
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var left atomic.Int64
	left.Store(users)
	mux := http.NewServeMux()
	mux.HandleFunc(admin.BackendStatePath, func(w http.ResponseWriter, _ *http.Request) {
		ordered.Store(true)
		_ = json.NewEncoder(w).Encode(admin.Done{Done: true})
	})
	mux.HandleFunc(admin.BackendsPath, func(w http.ResponseWriter, _ *http.Request) {
		n := int(max(left.Add(-1), 10))
		_ = json.NewEncoder(w).Encode(admin.Backends{Backends: []cluster.FleetBackend{{Pool: "main", Name: "mail1", Admin: "evacuate", State: "drain", Users: n, Holds: n}}})
	})
	srv := &http.Server{Handler: mux}
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(l) })
	t.Cleanup(func() { _ = srv.Close(); serving.Wait() })
	return socket, ordered
}

// terminal opens a pseudo-terminal (pts(4)) of so many columns.
func terminal(t *testing.T, columns uint16) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here: ", err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	number, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns})
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// A screen collects what is written to a terminal.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}
func (s *screen) String() string { s.mu.Lock(); defer s.mu.Unlock(); return s.text.String() }

// On a terminal the progress of an evacuation is one line that is written over, as wide as
// the terminal at most; ^C ends the wait and says what goes on.
func TestProgressOnTerminal(t *testing.T) {
	t.Parallel()
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	socket, ordered := emptier(t, 60)
	master, slave := terminal(t, 40)
	cmd := exec.Command(binary, "backend", "evacuate", "mail1", "--wait", "--socket", socket)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	var shown screen
	var reading sync.WaitGroup
	reading.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			_, _ = shown.Write(buf[:n])
			if err != nil {
				return // EIO: nobody has the other end any more
			}
		}
	})
	eventually(t, "a line is written over twice", func() bool { return strings.Count(shown.String(), "\r\x1b[K") >= 3 })
	if _, err := master.Write([]byte{3}); err != nil { // ^C
		t.Fatal(err)
	}
	err = cmd.Wait()
	reading.Wait()
	out := shown.String()
	if cmd.ProcessState.ExitCode() != 75 || !strings.Contains(out, "only the wait was interrupted: the evacuation goes on") {
		t.Errorf("exit %v after ^C, %q", err, out)
	}
	lines := strings.Split(out, "\r\x1b[K")
	for _, line := range lines[1:] {
		line, _, _ = strings.Cut(line, "\r\n")
		if line = strings.TrimSuffix(line, "^C"); len([]rune(line)) > 39 {
			t.Errorf("a line of %d characters on 40 columns: %q", len([]rune(line)), line)
		}
		if strings.Contains(line, "\n") || !strings.Contains(line, " left") {
			t.Errorf("progress: %q", line)
		}
	}
	if !ordered.Load() {
		t.Error("nothing was ordered")
	}
}

// Elsewhere there is a line every two seconds, with --json of JSON.
func TestProgressAsJSON(t *testing.T) {
	t.Parallel()
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	socket, _ := emptier(t, 60)
	cmd := exec.Command(binary, "backend", "evacuate", "mail1", "--wait", "--json", "--socket", socket)
	var shown screen
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &shown
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two lines", func() bool { return strings.Count(shown.String(), "\n") >= 2 })
	_ = cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait()
	before := -1
	for line := range strings.Lines(shown.String()) {
		if strings.HasPrefix(line, "usher: only the wait") {
			continue
		}
		var p struct {
			Done, Total *int
			Rate        *float64
			ETA         *float64 `json:"eta_seconds"`
		}
		if err := json.Unmarshal([]byte(line), &p); err != nil || p.Done == nil || p.Total == nil || p.Rate == nil {
			t.Fatalf("%q: %v", line, err)
		}
		if *p.Total != 59 || *p.Done < before || *p.Done > 0 && (p.ETA == nil || *p.Rate <= 0) {
			t.Errorf("progress %q after %d", line, before)
		}
		before = *p.Done
	}
	if before < 1 {
		t.Errorf("no progress: %s", shown.String())
	}
	var done admin.Done
	if err := json.Unmarshal(out.Bytes(), &done); err != nil || !done.Done {
		t.Errorf("standard output: %q", out.String())
	}
}
