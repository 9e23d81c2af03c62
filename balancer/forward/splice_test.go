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

// Splice is proved, not assumed: 128 MiB go through this process, and it reads
// next to nothing. The same with data_path copy would show 128 MiB.
func TestPlaintextIsSpliced(t *testing.T) {
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
	before := readOctets(t)
	e, done := new(Copy), make(chan Result, 1)
	e.Adopt(Pair{
		Client: Conn{Raw: client.(*net.TCPConn)}, Server: Conn{Raw: server.(*net.TCPConn)},
		Done: func(r Result) { done <- r },
	})
	lines.Scan()
	if lines.Text() != "whole" {
		t.Errorf("the peers say %q", lines.Text())
	}
	res := <-done
	read := readOctets(t) - before
	t.Logf("%d octets forwarded, %d octets read by this process", res.In+res.Out, read)
	if res.In != spliceSize || res.Out != spliceSize {
		t.Errorf("account %+v", res)
	}
	if read > 1<<20 {
		t.Errorf("%d octets were read into this process: not spliced", read)
	}
	if e.Spliced() != 2*spliceSize {
		t.Errorf("Spliced() = %d", e.Spliced())
	}
	if err := child.Wait(); err != nil {
		t.Error(err)
	}
}
