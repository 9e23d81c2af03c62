package gauge_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"usher.example/bench/gauge"
)

// An actor is a measured process.
type actor struct {
	t   *testing.T
	g   *gauge.Group
	in  io.Writer
	out *bufio.Reader
}

// play starts a role in a group, which ends with the test.
func play(t *testing.T, g *gauge.Group, role string) *actor {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleVariable+"="+role, "GOCOVERDIR="+t.TempDir())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	cmd.Stdout = w
	err = g.Start(cmd)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Kill(); err != nil {
			t.Error(err)
		}
	})
	return &actor{t, g, in, bufio.NewReader(r)}
}

// ready waits for the answer of a step.
func (a *actor) ready() string {
	a.t.Helper()
	line, err := a.out.ReadString('\n')
	if err != nil {
		a.t.Fatalf("no answer: %v (%v)", err, a.g.Alive())
	}
	return strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "ready"))
}

// next has it go on.
func (a *actor) next() {
	a.t.Helper()
	if _, err := io.WriteString(a.in, "\n"); err != nil {
		a.t.Fatal(err)
	}
}

// inEach runs a test with every way that can be had here.
func inEach(t *testing.T, test func(t *testing.T, g *gauge.Group)) {
	for name, make := range gauge.Ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, err := make("test")
			if err != nil {
				t.Skipf("cannot be had here: %v", err)
			}
			t.Cleanup(func() {
				if err := g.Kill(); err != nil {
					t.Error(err)
				}
			})
			test(t, g)
		})
	}
}

// TestCPU holds the time of a family, of which one has ended, against what each of
// them says of itself.
func TestCPU(t *testing.T) {
	inEach(t, func(t *testing.T, g *gauge.Group) {
		a := play(t, g, "tree 100ms")
		want, err := time.ParseDuration(a.ready())
		if err != nil {
			t.Fatal(err)
		}
		got, err := g.CPU()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%v: %v, they say %v", g, got, want)
		// What a process takes before and after it looks is not in what it says.
		if want < 200*time.Millisecond || got < want*9/10 || got > want*3/2 {
			t.Errorf("CPU time is %v, they say %v", got, want)
		}
		if n := len(g.Pids()); n != 2 {
			t.Errorf("%d processes are in the group, want 2", n)
		}
		if err := g.Stop(); err != nil {
			t.Fatal(err)
		}
		if last, err := g.CPU(); err != nil || last < got*9/10 {
			t.Errorf("after the end CPU time is %v, %v; before it was %v", last, err, got)
		}
	})
}

// TestFine wants times that a clock of 10 ms could not show.
func TestFine(t *testing.T) {
	inEach(t, func(t *testing.T, g *gauge.Group) {
		a := play(t, g, "burn 30ms")
		a.ready()
		a.next()
		a.ready()
		d, err := g.CPU()
		if err != nil {
			t.Fatal(err)
		}
		if d < 30*time.Millisecond || d%(10*time.Millisecond) == 0 {
			t.Errorf("CPU time is %v", d)
		}
	})
}

func TestMemory(t *testing.T) {
	const size = 64 << 20
	inEach(t, func(t *testing.T, g *gauge.Group) {
		a := play(t, g, fmt.Sprint("fill ", size))
		a.ready()
		before, err := g.Memory()
		if err != nil {
			t.Fatal(err)
		}
		a.next()
		a.ready()
		after, err := g.Memory()
		if err != nil {
			t.Fatal(err)
		}
		for name, grown := range map[string]int64{
			"PSS": after.PSS - before.PSS, "private": after.Private - before.Private, "RSS": after.RSS - before.RSS,
		} {
			// PSS of the program's own pages falls when another test maps them too.
			if grown < size-size/32 || grown > size+size/8 {
				t.Errorf("%s has grown by %d octets, want %d", name, grown, size)
			}
		}
	})
}

// TestKernel holds the kernel's memory for sockets to what is known of them: some
// 4 KiB for each end of a connection, and what waits to be read.
func TestKernel(t *testing.T) {
	t.Parallel()
	const pairs = 1000
	server, client := newGroup(t, "server"), newGroup(t, "client")
	if _, err := server.Kernel(); errors.Is(err, gauge.ErrUnknown) {
		t.Skip(err)
	}
	accepts := play(t, server, fmt.Sprint("accept ", pairs))
	addr := accepts.ready()
	connects := play(t, client, fmt.Sprint("connect ", pairs, " ", addr))
	connects.ready()
	kernel := func(g *gauge.Group) int64 {
		n, err := g.Kernel()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	files := func(g *gauge.Group) int {
		n, err := g.Files()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	serverBefore, clientBefore, filesBefore := kernel(server), kernel(client), files(server)
	accepts.next()
	connects.next()
	accepts.ready()
	connects.ready()
	for name, grown := range map[string]int64{"accepted": kernel(server) - serverBefore, "connected": kernel(client) - clientBefore} {
		t.Logf("%s: %d octets for each socket, give or take %d", name, grown/pairs, gauge.KernelSlack()/pairs)
		if grown < pairs*2500 || grown > pairs*6500 {
			t.Errorf("an %s socket costs %d octets, known are some 4,000", name, grown/pairs)
		}
	}
	if grown := files(server) - filesBefore; grown != pairs {
		t.Errorf("%d more files are open, want %d", grown, pairs)
	}
	idle := kernel(server)
	connects.next()
	connects.ready()
	// The data has come when write returns: this is loopback.
	if grown := kernel(server) - idle; grown < pairs*unread {
		t.Errorf("kernel memory has grown by %d octets for %d that wait", grown, pairs*unread)
	}
}

func newGroup(t *testing.T, name string) *gauge.Group {
	t.Helper()
	g, err := gauge.NewGroup(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Kill(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func TestPin(t *testing.T) {
	t.Parallel()
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		t.Fatal(err)
	}
	cpu := 0
	for !may.IsSet(cpu) {
		cpu++
	}
	g := newGroup(t, "pin")
	play(t, g, "fill 1").ready()
	if n, err := g.Threads(); err != nil || n < 2 {
		t.Errorf("%d threads, %v", n, err)
	}
	if err := g.Pin(cpu); err != nil {
		t.Fatal(err)
	}
	for _, tid := range threads(t, g.Pids()[0]) {
		var set unix.CPUSet
		if err := unix.SchedGetaffinity(tid, &set); err == nil && (set.Count() != 1 || !set.IsSet(cpu)) {
			t.Errorf("thread %d may run on %d processors", tid, set.Count())
		}
	}
	if err := g.Pin(); err != nil {
		t.Fatal(err)
	}
	for _, tid := range threads(t, g.Pids()[0]) {
		var set unix.CPUSet
		if err := unix.SchedGetaffinity(tid, &set); err == nil && set.Count() < may.Count() {
			t.Errorf("after Pin() thread %d may run on %d processors of %d", tid, set.Count(), may.Count())
		}
	}
}

func threads(t *testing.T, pid int) []int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	var tids []int
	for _, e := range entries {
		var tid int
		if _, err := fmt.Sscan(e.Name(), &tid); err == nil {
			tids = append(tids, tid)
		}
	}
	return tids
}

// TestPinSelf is not parallel: it pins all tests.
func TestPinSelf(t *testing.T) {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(os.Getpid(), &before); err != nil {
		t.Fatal(err)
	}
	cpu := 0
	for !before.IsSet(cpu) {
		cpu++
	}
	restore, err := gauge.PinSelf(cpu)
	if err != nil {
		t.Fatal(err)
	}
	for _, tid := range threads(t, os.Getpid()) {
		var set unix.CPUSet
		if err := unix.SchedGetaffinity(tid, &set); err == nil && set.Count() != 1 {
			t.Errorf("thread %d may run on %d processors", tid, set.Count())
		}
	}
	restore()
	for _, tid := range threads(t, os.Getpid()) {
		var set unix.CPUSet
		if err := unix.SchedGetaffinity(tid, &set); err == nil && set != before {
			t.Errorf("after restore thread %d may run on %d processors of %d", tid, set.Count(), before.Count())
		}
	}
}

// TestEnd ends processes that do not want to.
func TestEnd(t *testing.T) {
	inEach(t, func(t *testing.T, g *gauge.Group) {
		play(t, g, "stuck").ready()
		pids := g.Pids()
		if len(pids) < 2 {
			t.Errorf("processes %v, want a child too", pids)
		}
		if err := g.Alive(); err != nil {
			t.Error(err)
		}
		if err := g.Kill(); err != nil {
			t.Fatal(err)
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, 0); err == nil && !zombie(pid) {
				t.Errorf("process %d is still there", pid)
			}
		}
		if err := g.Alive(); err == nil {
			t.Error("a killed process is said to be alive")
		}
		if left := g.Pids(); len(left) > 0 {
			t.Errorf("processes %v are left", left)
		}
		if _, err := g.Memory(); err == nil {
			t.Error("a group without processes has memory")
		}
		if err := g.Start(exec.Command("/bin/true")); err == nil {
			t.Error("a process can be started in a group that has ended")
		}
	})
}

// zombie reports whether a process has ended and nobody asked how: its parent
// was killed with it, and who inherits it may not care.
func zombie(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(text), ") Z ")
}

// TestManyAtOnce starts and ends groups beside one another: none may ever hold this
// process, which starts them.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 8 {
				g, err := gauge.NewGroup("many")
				if err != nil {
					t.Error(err)
					return
				}
				if err := g.Start(exec.Command("/bin/sleep", "60")); err != nil {
					t.Error(err)
				}
				if pids := g.Pids(); len(pids) != 1 || slices.Contains(pids, os.Getpid()) {
					t.Errorf("processes %v in a group of one, this is %d", pids, os.Getpid())
				}
				if err := g.Kill(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// TestSwept kills the maker of a group: what is in it is ended by the next who makes
// one, and not as long as the maker lives.
func TestSwept(t *testing.T) {
	inEach(t, func(t *testing.T, _ *gauge.Group) {
		way := strings.TrimPrefix(t.Name(), "TestSwept/")
		way = strings.ReplaceAll(way, "_", " ")
		if way == "tree" {
			t.Skip("nothing is left of a tree whose root is gone")
		}
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), roleVariable+"=maker "+way, "GOCOVERDIR="+t.TempDir())
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}()
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		orphan, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "ready ")))
		if err != nil {
			t.Fatal(err)
		}
		another := func() {
			g, err := gauge.Ways[way]("another")
			if err != nil {
				t.Fatal(err)
			}
			if err := g.Kill(); err != nil {
				t.Error(err)
			}
		}
		another()
		if syscall.Kill(orphan, 0) != nil || zombie(orphan) {
			t.Fatal("a process was killed whose group has a maker")
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		another()
		if syscall.Kill(orphan, 0) == nil && !zombie(orphan) {
			_ = syscall.Kill(orphan, syscall.SIGKILL)
			t.Error("a process outlives the benchmark that has started it, and the next one")
		}
	})
}

// TestStop asks first: a process that obeys SIGTERM says good-bye.
func TestStop(t *testing.T) {
	t.Parallel()
	g := newGroup(t, "stop")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command("/bin/sh", "-c", "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 1 & wait $!; done")
	cmd.Stdout = w
	err = g.Start(cmd)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(r)
	if line, err := out.ReadString('\n'); line != "ready\n" {
		t.Fatalf("it says %q, %v", line, err)
	}
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(out); string(rest) != "bye\n" {
		t.Errorf("it says %q, %v", rest, err)
	}
}

func TestHost(t *testing.T) {
	m := gauge.Host()
	t.Logf("%+v", m)
	if m.CPU == "" || m.Cores < 1 || m.Kernel == "" || m.Memory < 1<<20 || m.Accounting == "" {
		t.Errorf("%+v", m)
	}
}
