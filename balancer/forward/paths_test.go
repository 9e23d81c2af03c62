package forward_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"usher.example/balancer/forward"
	"usher.example/balancer/record"
)

// The tests whose names begin with TestPath are one table: each of their cases
// runs over every data path that TLS can take, and wants to have taken it. They
// run on this machine and again in guests, by the tests of cmd/internal/guest.
const (
	insideVar = "USHER_GUEST"       // set in a guest, whose kernel has TLS
	rekeyVar  = "USHER_GUEST_REKEY" // its kernel can change the keys of TLS
	bulkVar   = "USHER_PATHS_BULK"  // how many octets are a bulk, for slow machines
)

// bulk is the size of what is large.
var bulk = sync.OnceValue(func() int {
	if n, err := strconv.Atoi(os.Getenv(bulkVar)); err == nil {
		return n
	}
	return 4 << 20
})

// An engine is one with goroutines of its own.
type engine interface {
	forward.Engine
	Run(ctx context.Context)
}

// A path is a way that the bytes of a session under TLS can take.
type path struct {
	name   string // as Flow.Path says it
	kernel forward.KernelMode
	engine // one that runs until the test ends
}

// rekeys says that the path goes on when a peer changes its keys.
func (p *path) rekeys(t *testing.T) bool {
	t.Helper()
	return p.name != "ktls" || kernelRekeys(t)
}

// each runs f over every data path. A guest must have kernel TLS, and runs
// nothing else: the others do not ask much of the kernel.
func each(t *testing.T, f func(t *testing.T, p *path)) {
	t.Helper()
	var all []*path
	if os.Getenv(insideVar) == "" {
		all = append(all, &path{name: "copy"}, &path{name: "user"})
	}
	if kernelTLS(t) {
		all = append(all, &path{name: "ktls", kernel: forward.KernelAlways})
	}
	for _, p := range all {
		t.Run(p.name, func(t *testing.T) {
			if p.name == "copy" {
				p.engine = new(forward.Copy)
			} else {
				p.engine = reactor(t, p.kernel)
			}
			run(t, p.engine)
			f(t, p)
		})
	}
}

func reactor(t *testing.T, mode forward.KernelMode) engine {
	t.Helper()
	r, err := forward.NewReactor(forward.Options{Loops: 1, Kernel: mode})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// run runs an engine until the end of the test, after all of its sessions.
func run(t *testing.T, e engine) {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
}

// kernelTLS asks the kernel whether it has TLS, as an engine does.
func kernelTLS(t *testing.T) bool {
	t.Helper()
	ours, theirs := dial(t)
	defer theirs.Close()
	defer ours.Close()
	err := ask(t, ours)
	if err == nil {
		return true
	}
	if os.Getenv(insideVar) != "" || !errors.Is(err, unix.ENOENT) {
		t.Fatalf("ask the kernel for TLS: %v", err)
	}
	return false
}

// ask gives a connection to the kernel's TLS.
func ask(t *testing.T, c *net.TCPConn) error {
	t.Helper()
	return onFD(t, c, func(fd int) error {
		return unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_ULP, "tls")
	})
}

// kernelRekeys asks the kernel whether it lets keys of TLS be changed. Who
// started a guest knows what it must say.
func kernelRekeys(t *testing.T) bool {
	t.Helper()
	const tlsTX = 1 // linux/tls.h
	ours, theirs := dial(t)
	defer theirs.Close()
	defer ours.Close()
	if err := ask(t, ours); err != nil {
		t.Fatalf("ask the kernel for TLS: %v", err)
	}
	keys, err := record.DeriveTLS13(record.AES128GCM, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	set := func(fd int) error {
		return unix.SetsockoptString(fd, unix.SOL_TLS, tlsTX, string(keys.AppendKernel(nil)))
	}
	if err := onFD(t, ours, set); err != nil {
		t.Fatalf("give the kernel keys: %v", err)
	}
	again := onFD(t, ours, set)
	if again != nil && !errors.Is(again, unix.EBUSY) {
		t.Fatalf("give the kernel other keys: %v", again)
	}
	if os.Getenv(insideVar) != "" && (again == nil) != (os.Getenv(rekeyVar) != "") {
		t.Fatalf("give the kernel other keys: got %v, and %s is %q", again, rekeyVar, os.Getenv(rekeyVar))
	}
	return again == nil
}

// onFD calls f with a connection's descriptor.
func onFD(t *testing.T, c *net.TCPConn, f func(fd int) error) error {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var result error
	if err := raw.Control(func(fd uintptr) { result = f(int(fd)) }); err != nil {
		t.Fatal(err)
	}
	return result
}

// kernelStats are the kernel's counters of TLS, by name.
type kernelStats map[string]int

// statsOfKernel reads them in a guest. Elsewhere they count what others do, too.
func statsOfKernel(t *testing.T) kernelStats {
	t.Helper()
	if os.Getenv(insideVar) == "" {
		return nil
	}
	text, err := os.ReadFile("/proc/net/tls_stat")
	if err != nil {
		t.Fatal(err)
	}
	stats := kernelStats{}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 2 {
			t.Fatalf("odd line %q among the kernel's counters", line)
		}
		if stats[f[0]], err = strconv.Atoi(f[1]); err != nil {
			t.Fatal(err)
		}
	}
	return stats
}
