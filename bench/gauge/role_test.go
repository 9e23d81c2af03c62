package gauge_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"usher.example/bench/gauge"
)

// roleVariable names the part that this program plays when a test has started it
// as a process to be measured: "name argument...".
const roleVariable = "USHER_GAUGE_ROLE"

// roles are what a measured process does. Each answers "ready ..." on standard
// output, and goes on to its next step with each line that it reads.
var roles = map[string]func(args []string, next func(answer string)){
	"burn":    burn,
	"tree":    family,
	"fill":    fill,
	"accept":  accept,
	"connect": connect,
	"stuck":   stuck,
	"maker":   maker,
}

func TestMain(m *testing.M) {
	words := strings.Fields(os.Getenv(roleVariable))
	if len(words) == 0 {
		os.Exit(m.Run())
	}
	in := bufio.NewReader(os.Stdin)
	roles[words[0]](words[1:], func(answer string) {
		fmt.Println("ready", answer)
		if _, err := in.ReadString('\n'); err != nil {
			os.Exit(0)
		}
	})
}

// spin takes CPU time.
func spin(d time.Duration) {
	for cpuTime() < d {
		for range 1000 {
			_ = strconv.Itoa(1 << 40)
		}
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// burn takes as much time as its argument says, and says how much it was.
func burn(args []string, next func(string)) {
	next("")
	d, _ := time.ParseDuration(args[0])
	spin(d)
	next(cpuTime().String())
}

// family has one child that takes time and ends, and one that lives.
func family(args []string, next func(string)) {
	self, _ := os.Executable()
	child := func(role string) *exec.Cmd {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), roleVariable+"="+role)
		return cmd
	}
	ended := child("burn " + args[0])
	ended.Stdin = strings.NewReader("\n\n")
	if err := ended.Run(); err != nil {
		os.Exit(1)
	}
	living := child("burn " + args[0])
	in, _ := living.StdinPipe()
	out, _ := living.StdoutPipe()
	if err := living.Start(); err != nil {
		os.Exit(1)
	}
	r := bufio.NewReader(out)
	_, _ = r.ReadString('\n')
	fmt.Fprintln(in)
	line, _ := r.ReadString('\n')
	used, _ := time.ParseDuration(strings.Fields(line)[1])
	used += cpuTime() + ended.ProcessState.UserTime() + ended.ProcessState.SystemTime()
	next(used.String())
	select {} // whoever ends the group has to end two
}

// fill touches as many octets as its argument says.
func fill(args []string, next func(string)) {
	next("")
	n, _ := strconv.Atoi(args[0])
	// Not from Go's heap, which the race detector shadows.
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		os.Exit(1)
	}
	for i := 0; i < n; i += os.Getpagesize() {
		b[i] = 1
	}
	next("")
	_ = b[n-1]
}

// accept takes up as many connections as its argument says.
func accept(args []string, next func(string)) {
	n, _ := strconv.Atoi(args[0])
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		os.Exit(1)
	}
	next(l.Addr().String())
	var held []net.Conn
	for range n {
		c, err := l.Accept()
		if err != nil {
			os.Exit(1)
		}
		held = append(held, c)
	}
	next(strconv.Itoa(len(held)))
	runtime.KeepAlive(held)
}

// connect makes as many connections as its first argument says to its second.
func connect(args []string, next func(string)) {
	n, _ := strconv.Atoi(args[0])
	next("")
	var held []net.Conn
	for range n {
		c, err := net.Dial("tcp", args[1])
		if err != nil {
			os.Exit(1)
		}
		held = append(held, c)
	}
	next(strconv.Itoa(len(held)))
	for _, c := range held { // nobody reads it
		if _, err := c.Write(make([]byte, unread)); err != nil {
			os.Exit(1)
		}
	}
	next("")
	runtime.KeepAlive(held)
}

// unread is what a peer leaves in each socket: so little that the kernel takes it.
const unread = 4 << 10

// maker has a group of its own, in the way that is its argument, with a process in it
// whose number it says.
func maker(args []string, next func(string)) {
	g, err := gauge.Ways[strings.Join(args, " ")]("orphan")
	if err != nil {
		os.Exit(1)
	}
	cmd := exec.Command("/bin/sleep", "600")
	if err := g.Start(cmd); err != nil {
		os.Exit(1)
	}
	next(strconv.Itoa(cmd.Process.Pid))
	_ = g.Kill()
}

// stuck ignores SIGTERM, and so does its child.
func stuck(args []string, next func(string)) {
	if len(args) == 0 {
		cmd := exec.Command("/bin/sh", "-c", "trap '' TERM; while :; do sleep 1000; done")
		if err := cmd.Start(); err != nil {
			os.Exit(1)
		}
	}
	signal.Ignore(syscall.SIGTERM)
	next("")
	select {}
}
