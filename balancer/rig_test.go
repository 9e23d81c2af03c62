package balancer_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"usher.example/balancer"
	"usher.example/balancer/balancertest"
	"usher.example/balancer/forward"
	"usher.example/balancer/guard"
	"usher.example/sniff"
	"usher.example/sniff/imap"
	"usher.example/sniff/pop3"
)

// engineName is the data path that the tests go over.
var engineName string

// inGuestVar is set in a guest, whose kernel does TLS: cmd/internal/guest starts it.
const inGuestVar = "USHER_GUEST"

func TestMain(m *testing.M) {
	names := []string{"loop", "copy"}
	if os.Getenv(inGuestVar) != "" {
		names = []string{"ktls"} // the others run on the machine itself
	}
	code := 0
	for _, engineName = range names {
		code = max(code, m.Run())
	}
	if err := goleak.Find(); err != nil {
		fmt.Println(err)
		code = 1
	}
	os.Exit(code)
}

// An idler is an engine with its own goroutines.
type idler interface {
	forward.Engine
	Run(ctx context.Context)
}

// newEngine runs an engine until the end of the test, after all of its sessions.
func newEngine(t *testing.T) idler {
	t.Helper()
	var e idler = new(forward.Copy)
	if engineName != "copy" {
		o := forward.Options{Loops: 1}
		if engineName == "ktls" {
			o.Kernel = forward.KernelAlways
		}
		r, err := forward.NewReactor(o)
		if err != nil {
			t.Fatal(err)
		}
		if k := r.Kernel(); engineName == "ktls" && (k.Err != nil || len(k.Suites) == 0) {
			t.Fatalf("the kernel does TLS for %d suites: %v", len(k.Suites), k.Err)
		}
		if e = r; engineName == "ktls" {
			e = kernelOnly{r, t}
		}
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return e
}

// A kernelOnly engine does not let a session under TLS go another way than the
// kernel's, but for those that it cannot take: it must begin with a whole record.
type kernelOnly struct {
	*forward.Reactor
	t *testing.T
}

func (k kernelOnly) Adopt(p forward.Pair) forward.Flow {
	want := "splice"
	for _, c := range []forward.Conn{p.Client, p.Server} {
		switch {
		case c.TLS != nil || c.Held != nil: // no engine has its keys
			return k.Reactor.Adopt(p)
		case c.Secured == nil:
		case len(c.Secured.Ciphertext) > 0 || c.Secured.Closed:
			return k.Reactor.Adopt(p)
		default:
			want = "ktls"
		}
	}
	f := k.Reactor.Adopt(p)
	if got := f.Path(); got != want {
		k.t.Errorf("a session goes by %q, not by %q", got, want)
	}
	return f
}

// patience bounds what a test waits for; nothing waits that long when it works.
const patience = 10 * time.Second

// A fixed placer sends everybody to one back end.
type fixed struct {
	mu      sync.Mutex // guards what follows
	backend string
	err     error
	last    uint64
	holds   map[uint64]bool
}

func (f *fixed) Place(context.Context, string, string) (string, string, uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return "", "", 0, f.err
	}
	if f.holds == nil {
		f.holds = make(map[uint64]bool)
	}
	f.last++
	f.holds[f.last] = true
	return f.backend, "home", f.last, nil
}

func (f *fixed) Release(hold uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.holds, hold)
}

func (*fixed) Still(uint64) error { return nil }

func (*fixed) Confirm(uint64) {}

func (*fixed) Refused(uint64) {}

func (f *fixed) Normal(user string) string { return strings.ToLower(user) }

func (f *fixed) set(backend string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.backend, f.err = backend, err
}

func (f *fixed) held() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.holds)
}

// A rig is a node with one pool and its back ends.
type rig struct {
	t       *testing.T
	server  *balancer.Server
	engine  idler
	placer  *fixed
	options balancer.Options
	log     *lockedBuffer
	ca      *balancertest.Authority
	guard   *guard.Guard // nil: nobody is delayed

	mu       sync.Mutex // guards what follows
	failed   []balancer.FailedLogin
	onFailed func() // is called for each of them
	observed []error
}

type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newRig makes a node whose pool has the given back ends, b0, b1 and so on,
// and whose users all belong to b0. change may adapt the options.
func newRig(t *testing.T, backends []*balancertest.Backend, change func(r *rig, o *balancer.Options)) *rig {
	t.Helper()
	r := &rig{t: t, placer: &fixed{backend: "b0"}, engine: newEngine(t), log: new(lockedBuffer), ca: balancertest.NewAuthority(t)}
	cert := r.ca.Server("mail.example.org", "127.0.0.1")
	pool := balancer.PoolOptions{Name: "main", Protocols: []sniff.Protocol{imap.Protocol{}, pop3.Protocol{}}}
	for i, b := range backends {
		pool.Backends = append(pool.Backends, balancer.BackendOptions{
			Name: "b" + string(rune('0'+i)), Host: b.Host(), Ports: map[string]int{"imap": b.Port(), "pop3": b.Port()},
		})
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	r.options = balancer.Options{
		Hostname: "mail.example.org",
		Limits:   balancer.Limits{DialWait: -1, LoginTime: patience},
		Pools:    []balancer.PoolOptions{pool},
		Listeners: []balancer.ListenerOptions{
			{Name: "imap", Address: "127.0.0.1:0", Protocol: imap.Protocol{}, TLS: balancer.TLSStart, Config: config, Pool: "main", PlaintextLogin: true},
			{Name: "imaps", Address: "localhost:0", Protocol: imap.Protocol{}, TLS: balancer.TLSImplicit, Config: config, Pool: "main"},
			{Name: "pop3", Address: "127.0.0.1:00", Protocol: pop3.Protocol{}, TLS: balancer.TLSStart, Config: config, Pool: "main", PlaintextLogin: true},
		},
	}
	if change != nil {
		change(r, &r.options)
	}
	r.server = balancer.New(balancer.Deps{
		Log:    slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Engine: r.engine, Placer: r.placer, Guard: r.guard,
		Observe: func(_, _ string, err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.observed = append(r.observed, err)
		},
		LoginFailed: func(f balancer.FailedLogin) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.failed = append(r.failed, f)
			if r.onFailed != nil {
				r.onFailed()
			}
		},
	})
	if err := r.server.Apply(r.options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r.server.Drain(ctx)
		if n := r.placer.held(); n != 0 {
			t.Errorf("%d holds are left", n)
		}
		if t.Failed() {
			t.Logf("log:\n%s", r.log)
		}
	})
	return r
}

// A peer is a client in a test.
type peer struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func (r *rig) dial(listener string) *peer {
	r.t.Helper()
	c, err := net.Dial("tcp", r.server.Addr(listener).String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &peer{c, r.t, bufio.NewReader(c)}
}

// secure starts TLS as a client.
func (p *peer) secure(ca *balancertest.Authority, change func(*tls.Config)) error {
	cfg := &tls.Config{RootCAs: ca.Pool(), ServerName: "mail.example.org"}
	if change != nil {
		change(cfg)
	}
	c := tls.Client(p.Conn, cfg)
	if err := c.Handshake(); err != nil {
		return err
	}
	p.Conn, p.r = c, bufio.NewReader(c)
	return nil
}

func (p *peer) say(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p.Conn, text); err != nil {
		p.t.Fatalf("write %q: %v", text, err)
	}
}

// expect reads a line and wants it to contain the words.
func (p *peer) expect(words ...string) string {
	p.t.Helper()
	line, err := p.r.ReadString('\n')
	if err != nil {
		p.t.Fatalf("read, expecting %q: %v (got %q)", words, err, line)
	}
	for _, w := range words {
		if !strings.Contains(line, w) {
			p.t.Fatalf("got %q, want it to contain %q", line, w)
		}
	}
	return line
}

// closed reads up to the end of the connection and returns what came.
func (p *peer) closed() string {
	p.t.Helper()
	b, err := io.ReadAll(p.r)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatalf("the connection stays open, after %q", b)
	}
	return string(b)
}

// until asks again and again whether something has come about. It is for what
// another goroutine does soon and gives no sign of.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("in vain: %s", what)
		}
	}
}
