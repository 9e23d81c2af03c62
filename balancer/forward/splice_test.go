package forward

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// The peers of the splice test are another process, so that this one's
// accounting shows the engine alone.
const (
	peerEnv    = "USHER_TEST_PEER" // the address to dial, set in the child
	spliceSize = 64 << 20
)

// runPeer plays client and back end when this is the child process: it says
// where its back end listens, dials the engine, and sends spliceSize octets
// each way.
func runPeer() bool {
	engine := os.Getenv(peerEnv)
	if engine == "" {
		return false
	}
	if err := peer(engine); err != nil {
		fmt.Println("peer:", err)
		os.Exit(1)
	}
	fmt.Println("whole")
	return true
}

func peer(engine string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	client, err := net.Dial("tcp", engine)
	if err != nil {
		return err
	}
	server, err := l.Accept()
	if err != nil {
		return err
	}
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		go func() {
			chunk := make([]byte, 1<<20)
			for range spliceSize / len(chunk) {
				if _, err := way[0].Write(chunk); err != nil {
					return
				}
			}
		}()
		if n, err := io.CopyN(io.Discard, way[1], spliceSize); err != nil {
			return fmt.Errorf("got %d of %d: %w", n, spliceSize, err)
		}
	}
	return nil
}

// readOctets is what this process has got through read(2) and its relatives,
// by the kernel's count. splice(2) does not go through them.
func readOctets(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skipf("SKIPPED, the kernel keeps no account of I/O: %v", err)
	}
	_, rest, _ := bytes.Cut(text, []byte("rchar: "))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	n, err := strconv.Atoi(string(line))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Splice is proved, not assumed, for both engines: 128 MiB go through this
// process, by the kernel's account it reads next to nothing, and a trace of its
// system calls shows splice and hardly anything beside it. Copying would show
// 128 MiB and thousands of reads.
func TestPlaintextIsSpliced(t *testing.T) {
	engines := map[string]func(*testing.T) (e Engine, spliced func() uint64){
		"copy": func(*testing.T) (Engine, func() uint64) {
			e := new(Copy)
			return e, e.Spliced
		},
		"loop": func(t *testing.T) (Engine, func() uint64) {
			r, _ := runReactor(t)
			return r, r.Spliced
		},
	}
	for name, open := range engines {
		t.Run(name, func(t *testing.T) {
			e, spliced := open(t)
			read := 0
			res := throughPeers(t, e, func() { read = -readOctets(t) }, func() { read += readOctets(t) })
			t.Logf("%d octets forwarded, %d octets read by this process", res.In+res.Out, read)
			if res.In != spliceSize || res.Out != spliceSize || res.Path != "splice" {
				t.Errorf("account %+v", res)
			}
			if read > 1<<20 {
				t.Errorf("%d octets were read into this process: not spliced", read)
			}
			// The loop reads what could be a short message: what was read, and nothing
			// else, may be missing.
			least := uint64(2 * spliceSize)
			if name == "loop" {
				least -= uint64(read)
			}
			if n := spliced(); n > 2*spliceSize || n < least {
				t.Errorf("Spliced() = %d of %d, and %d were read", n, 2*spliceSize, read)
			}
		})
		t.Run(name+", traced", func(t *testing.T) {
			e, _ := open(t)
			calls := traced(t, func(begun func()) { throughPeers(t, e, begun, func() {}) })
			others := 0
			for call, n := range calls {
				if call != "splice" {
					others += n
				}
			}
			t.Logf("system calls: %v", calls)
			// 1 MiB at most goes in with one call and out with another. The others
			// are of this test and of wake-ups.
			if calls["splice"] < 2*2*spliceSize>>20 || others > calls["splice"]/2 {
				t.Errorf("%d calls of splice, %d of read and write and their kin", calls["splice"], others)
			}
		})
	}
}

// throughPeers has peers in another process send through an engine. It calls
// ready once they are connected, and over after the session but before their
// process is waited for: then its I/O counts as ours.
func throughPeers(t *testing.T, e Engine, ready, over func()) Result {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), peerEnv+"="+l.Addr().String())
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Scan()
	server, err := net.Dial("tcp", strings.TrimSpace(lines.Text()))
	if err != nil {
		t.Fatal(err)
	}
	client, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ready()
	done := make(chan Result, 1)
	e.Adopt(Pair{
		Client: Conn{Raw: client.(*net.TCPConn)}, Server: Conn{Raw: server.(*net.TCPConn)},
		Done: func(r Result) { done <- r },
	})
	lines.Scan()
	if lines.Text() != "whole" {
		t.Errorf("the peers say %q", lines.Text())
	}
	res := <-done
	over()
	if err := child.Wait(); err != nil {
		t.Error(err)
	}
	return res
}

// traced counts the system calls of this process that move octets. It traces
// from when do calls begun until do returns; the peers, which exist by then, are
// not traced.
func traced(t *testing.T, do func(begun func())) map[string]int {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("SKIPPED the trace, strace is missing")
	}
	file := t.TempDir() + "/calls"
	cmd := exec.Command("strace", "-f", "-c", "-o", file,
		"-e", "trace=splice,read,write,readv,writev,recvfrom,sendto", "-p", strconv.Itoa(os.Getpid()))
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	do(func() {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		first := bufio.NewScanner(said)
		if first.Scan(); !strings.Contains(first.Text(), "attached") {
			_ = cmd.Process.Kill() // it may have ended already
			_ = cmd.Wait()
			t.Skipf("SKIPPED the trace, it is not permitted here: %s", first.Text())
		}
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // by the signal, so with an error
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{} // % time, seconds, usecs/call, calls, (errors,) syscall
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 5 && f[len(f)-1] != "total" {
			if n, err := strconv.Atoi(f[3]); err == nil {
				counts[f[len(f)-1]] = n
			}
		}
	}
	return counts
}
