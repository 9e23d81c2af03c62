package peers_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"usher.example/bench/load"
	"usher.example/bench/peers"
	"usher.example/bench/sink"
)

// TestMain plays the benchmark's own program where a target starts that.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != "auth" && os.Args[1] != "naive" {
		os.Exit(m.Run())
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	var child peers.Child
	switch os.Args[1] {
	case "auth":
		a := new(peers.Auth)
		flags.StringVar(&a.Address, "listen", "", "")
		flags.StringVar(&a.IMAP, "imap", "", "")
		flags.StringVar(&a.POP3, "pop3", "", "")
		child = a
	case "naive":
		n := new(peers.Naive)
		n.Flags(flags.StringVar)
		child = n
	}
	_ = flags.Parse(os.Args[2:]) // exits
	if err := peers.RunChild(context.Background(), child, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// required reports whether a peer that is missing fails a test: where all tests
// are meant to run.
func required() bool { return os.Getenv("USHER_REQUIRE_REAL") != "" || os.Getenv("CI") == "true" }

// usherBinary builds usher once. The file has no name any more by the time that it
// is used, so nothing is left behind.
var usherBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "usher-bench-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "usher")
	out, err := exec.Command("go", "build", "-o", file, "../../cmd/usher").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build usher: %w\n%s", err, out)
	}
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	kept = f // or its descriptor would go with it
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()), nil
})

var kept *os.File

// A bench is what a target needs around it.
type bench struct {
	peers.Site
	roots  *x509.CertPool
	sink   *sink.Server
	mu     sync.Mutex
	begins []string // the first octets of every connection to the sink's IMAP
}

func newBench(t *testing.T) *bench {
	t.Helper()
	dir, err := os.MkdirTemp("", "usher-bench-") //nolint:usetesting // t.TempDir is closed to the users that peers run as
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b := &bench{Site: peers.Site{Dir: dir}}
	if b.CertFile, b.KeyFile, b.roots, err = peers.NewCertificate(dir); err != nil {
		t.Fatal(err)
	}
	if b.Usher, err = usherBinary(); err != nil {
		t.Fatal(err)
	}
	if b.Self, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	if b.sink, err = sink.Listen(sink.Options{IMAP: []string{"127.0.0.1:0"}, POP3: []string{"127.0.0.1:0"}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.sink.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("sink: %v", err)
		}
	})
	b.SinkIMAP, b.SinkPOP3 = b.sink.IMAP()[0], b.sink.POP3()[0]
	return b
}

// listenIn puts a listener before the sink's IMAP that keeps how connections begin.
func (b *bench) listenIn(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	to := b.SinkIMAP
	b.SinkIMAP = l.Addr().String()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go b.pass(c, to)
		}
	}()
}

func (b *bench) pass(c net.Conn, to string) {
	defer c.Close()
	s, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer s.Close()
	go func() {
		_, _ = io.Copy(c, s)
		c.Close()
	}()
	first := make([]byte, 16)
	if _, err := io.ReadFull(c, first); err != nil {
		return
	}
	b.mu.Lock()
	b.begins = append(b.begins, string(first))
	b.mu.Unlock()
	if _, err := s.Write(first); err == nil {
		_, _ = io.Copy(s, c)
	}
}

// headers is how each tells the back end whose connection it is; the others do
// by commands, or not at all.
var headers = map[string]string{
	"usher": headerV2, "usher-copy": headerV2, "haproxy": headerV2, "haproxy-64k": headerV2, "hitch": headerV2, "naive": headerV2,
	"nginx-mail": headerV1, "nginx-mail-16k": headerV1, "nginx-stream": headerV1, "stunnel": headerV1,
}

const (
	headerV1 = "PROXY TCP4 127."
	headerV2 = "\r\n\r\n\x00\r\nQUIT\n"
)

// resumeTries is how many handshakes may go by until one is resumed: Dovecot's login
// processes know each other's tickets not, and which of them answers is the
// kernel's choice.
const resumeTries = 64

func TestPeersServe(t *testing.T) {
	for _, peer := range peers.All() {
		t.Run(peer.Name, func(t *testing.T) {
			t.Parallel()
			version, err := peer.Version()
			if err != nil && !required() {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			b := newBench(t)
			b.listenIn(t)
			target, err := peer.Start(t.Context(), b.Site)
			if err != nil {
				t.Fatal(err)
			}
			defer target.Kill()
			t.Logf("%s, %v, processes %v", version, target.Group, target.Group.Pids())
			served := 0
			for _, protocol := range []string{load.IMAP, load.POP3} {
				for _, security := range []string{load.TLS, load.StartTLS, load.Plain} {
					if !peer.Serves(protocol, security) {
						continue
					}
					served++
					service := load.Service{Protocol: protocol, Security: security, Addr: target.Addr(protocol, security)}
					if security != load.Plain {
						service.TLS = load.TLSConfig(b.roots, peers.ServerName, peer.Curve, tls.NewLRUClientSessionCache(1))
					}
					b.use(t, service)
				}
			}
			if served == 0 {
				t.Error("it serves nothing")
			}
			b.told(t, peer.Name)
			pids := target.Group.Pids()
			if len(pids) == 0 != (peer.Name == "direct") {
				t.Errorf("processes %v", pids)
			}
			if err := target.Stop(); err != nil {
				t.Error(err)
			}
			b.clean(t, pids)
		})
	}
}

// use logs in by a service until a handshake is resumed.
func (b *bench) use(t *testing.T, service load.Service) {
	t.Helper()
	before := b.sink.Stats().Logins
	logins, resumed := 0, false
	for !resumed && logins < resumeTries {
		c, err := service.Dial(t.Context())
		if err != nil {
			t.Fatalf("%s %s: %v", service.Protocol, service.Security, err)
		}
		if err := errors.Join(c.Login("joe@bench.example", "secret"), c.Noop(), c.Logout()); err != nil {
			t.Fatalf("%s %s: %v", service.Protocol, service.Security, err)
		}
		logins++
		resumed = service.TLS == nil || c.State().DidResume
		_ = c.Close()
	}
	if !resumed {
		t.Errorf("%s %s: none of %d handshakes was resumed", service.Protocol, service.Security, logins)
	}
	if got := b.sink.Stats().Logins - before; got < int64(logins) {
		t.Errorf("%s %s: the back end has seen %d of %d logins", service.Protocol, service.Security, got, logins)
	}
}

// told looks how connections to the back end began.
func (b *bench) told(t *testing.T, name string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.begins) == 0 {
		t.Error("nobody came to the back end")
	}
	with := 0
	for _, first := range b.begins {
		if strings.HasPrefix(first, headerV1) || strings.HasPrefix(first, headerV2) {
			with++
			if want := headers[name]; want == "" || !strings.HasPrefix(first, want) {
				t.Fatalf("a connection to the back end begins with %q, want %q", first, want)
			}
		}
	}
	if headers[name] != "" && with == 0 {
		t.Errorf("no connection to the back end begins with %q, one with %q", headers[name], b.begins[0])
	}
}

// clean looks that nothing is left of a target.
func (b *bench) clean(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(text), ") Z ") {
			t.Errorf("process %d is still there: %s", pid, text)
		}
	}
	entries, err := os.ReadDir(b.Dir)
	if err != nil {
		t.Fatal(err)
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return strings.HasSuffix(e.Name(), ".pem") })
	if len(entries) > 0 {
		t.Errorf("files are left: %v", entries)
	}
}

func TestFleet(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Workers = 1
	nodes, err := peers.Fleet(t.Context(), b.Site, 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		defer n.Kill()
	}
	tlsConfig := load.TLSConfig(b.roots, peers.ServerName, tls.X25519, tls.NewLRUClientSessionCache(1))
	try := func(n *peers.Target) (resumed bool, err error) {
		c, err := load.Service{Protocol: load.IMAP, Security: load.TLS, Addr: n.Addr(load.IMAP, load.TLS), TLS: tlsConfig}.Dial(t.Context())
		if err != nil {
			return false, err
		}
		defer c.Close()
		return c.State().DidResume, c.Login("joe@bench.example", "secret")
	}
	for i, n := range nodes {
		resumed, err := try(n)
		if err != nil {
			t.Fatalf("node %d: %v", i, err)
		}
		if i > 0 && !resumed { // one fleet: nodes know each other's tickets
			t.Errorf("node %d does not know the ticket of another", i)
		}
	}
	if err := nodes[0].Kill(); err != nil {
		t.Fatal(err)
	}
	for i, n := range nodes {
		if _, err := try(n); (err != nil) != (i == 0) {
			t.Errorf("after node 0 was killed, node %d: %v", i, err)
		}
	}
}

func TestMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	peers.LookNowhere(t)
	own := []string{"usher", "usher-copy", "naive", "direct"}
	for _, peer := range peers.All() {
		_, err := peer.Version()
		if slices.Contains(own, peer.Name) {
			if err != nil {
				t.Errorf("%s needs no package: %v", peer.Name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "make bench-setup") {
			t.Errorf("version of %s, which is missing: %v", peer.Name, err)
		}
		if target, err := peer.Start(t.Context(), peers.Site{Dir: t.TempDir()}); err == nil {
			t.Errorf("%s is missing, but starts", peer.Name)
			_ = target.Kill()
		}
	}
}

// TestFailure wants a target that cannot start to say why, and to leave nothing.
func TestFailure(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.KeyFile = b.CertFile // has no key in it
	for _, peer := range peers.All() {
		if peer.Name != "haproxy" && peer.Name != "usher" {
			continue
		}
		if _, err := peer.Version(); err != nil && !required() {
			continue
		}
		target, err := peer.Start(t.Context(), b.Site)
		if err == nil {
			_ = target.Kill()
			t.Errorf("%s starts without a key", peer.Name)
			continue
		}
		if !strings.Contains(err.Error(), "it says:") || !strings.Contains(strings.ToLower(err.Error()), "key") {
			t.Errorf("%s without a key: %v", peer.Name, err)
		}
		b.clean(t, nil)
	}
}

func TestCertificate(t *testing.T) {
	cert, key, roots, err := peers.NewCertificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(key)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("the key's mode is %v", mode)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: peers.ServerName, Roots: roots}); err != nil {
		t.Error(err)
	}
	if got := pair.Leaf.SignatureAlgorithm; got != x509.ECDSAWithSHA256 {
		t.Errorf("signed with %v", got)
	}
}

// TestManySessions holds as many idle sessions as the benchmark does, at every
// peer that is not a process for each.
func TestManySessions(t *testing.T) {
	if os.Getenv("USHER_LONG") == "" {
		t.Skip("takes minutes: USHER_LONG=1 runs it")
	}
	const many = 9_500
	for _, peer := range peers.All() {
		if peer.Name == "perdition" || !peer.Serves(load.IMAP, load.TLS) {
			continue
		}
		t.Run(peer.Name, func(t *testing.T) {
			b := newBench(t)
			target, err := peer.Start(t.Context(), b.Site)
			if err != nil {
				t.Fatal(err)
			}
			defer target.Kill()
			before, _ := target.Group.Memory()
			kernel, _ := target.Group.Kernel()
			service := load.Service{
				Protocol: load.IMAP, Security: load.TLS, Addr: target.Addr(load.IMAP, load.TLS),
				TLS: load.TLSConfig(b.roots, peers.ServerName, peer.Curve, nil),
			}
			held := make([]*load.Client, many)
			report := load.Closed(t.Context(), 4*runtime.NumCPU(), many, func(ctx context.Context, _, i int) error {
				c, err := service.Dial(t.Context())
				if err != nil {
					return err
				}
				held[i] = c
				return errors.Join(c.Login(fmt.Sprintf("user%d@bench.example", i%500), "secret"), c.Idle())
			})
			if report.Failed > 0 {
				t.Errorf("%d of %d sessions failed: %v", report.Failed, many, report.Errors)
			}
			after, err := target.Group.Memory()
			if err != nil {
				t.Error(err)
			}
			kernelAfter, _ := target.Group.Kernel()
			files, _ := target.Group.Files()
			threads, _ := target.Group.Threads()
			cpu, _ := target.Group.CPU()
			t.Logf("%d sessions in %v, CPU %v: %d octets each, %d of the kernel's; %d files, %d threads",
				many, report.Elapsed, cpu, (after.PSS-before.PSS)/many, (kernelAfter-kernel)/many, files, threads)
			if files < 2*many {
				t.Errorf("%d files for %d sessions", files, many)
			}
			for i, c := range held {
				if c == nil {
					continue
				}
				if err := c.Done(); err != nil {
					t.Fatalf("session %d: %v", i, err)
				}
				_ = c.Close()
			}
		})
	}
}
