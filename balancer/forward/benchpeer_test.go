package forward

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"usher.example/balancer/record"
)

const (
	benchEnv = "USHER_BENCH_PEER" // the address to dial, set in the child
	chunkLen = 256 << 10

	// besideEvery is how often an interactive session beside a bulk one speaks:
	// somebody who types or a client that steps through a folder.
	besideEvery = 5 * time.Millisecond
)

// A job is what the child is told to do, on its standard input.
type job struct {
	TLS    bool  // of the client
	Up     bool  // bulk goes from the client to the back end
	Ping   bool  // round trips of 32 octets instead
	Beside bool  // the first session is bulk without end, the others round trips, one every besideEvery
	Pairs  int32 // sessions at the same time
	Bytes  int64 // in all, or round trips
}

// benchPeer plays the clients and back ends.
func benchPeer() bool {
	engine := os.Getenv(benchEnv)
	if engine == "" {
		return false
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	for {
		var j job
		if binary.Read(os.Stdin, binary.LittleEndian, &j) != nil {
			return true
		}
		begin := cpu()
		trips, err := j.do(engine, l)
		if err != nil {
			fmt.Println("failed:", err)
			return true
		}
		p50, p99 := time.Duration(0), time.Duration(0)
		if n := len(trips); n > 0 {
			slices.Sort(trips)
			p50, p99 = trips[n/2], trips[n*99/100]
		}
		fmt.Println("done", p50.Nanoseconds(), p99.Nanoseconds(), (cpu() - begin).Nanoseconds())
	}
}

// do returns how long each round trip beside a bulk session took.
func (j job) do(engine string, l net.Listener) (trips []time.Duration, err error) {
	pairs := make([][2]net.Conn, j.Pairs)
	for i := range pairs {
		client, err := j.dial(engine)
		if err != nil {
			return nil, err
		}
		defer client.Close()
		server, err := l.Accept()
		if err != nil {
			return nil, err
		}
		defer server.Close()
		pairs[i] = [2]net.Conn{client, server}
	}
	var mu sync.Mutex
	errs := make(chan error, j.Pairs)
	if j.Beside {
		bulk := pairs[0]
		go func() { _ = j.bulk(bulk, 1<<62) }() // until its connections are closed
		pairs = pairs[1:]
	}
	for _, p := range pairs {
		go func() {
			switch n := j.Bytes / int64(len(pairs)); {
			case j.Beside:
				d, err := typist(p, n)
				mu.Lock()
				trips = append(trips, d...)
				mu.Unlock()
				errs <- err
			case j.Ping:
				errs <- ping(p, n)
			default:
				errs <- j.bulk(p, n)
			}
		}()
	}
	for range pairs {
		if err := <-errs; err != nil {
			return nil, err
		}
	}
	return trips, nil
}

func (j job) dial(engine string) (net.Conn, error) {
	raw, err := net.Dial("tcp", engine)
	if err != nil || !j.TLS {
		return raw, err
	}
	t := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}})
	return t, t.Handshake()
}

func ping(p [2]net.Conn, n int64) error {
	msg := make([]byte, 32)
	for range n {
		if err := trip(p, msg); err != nil {
			return err
		}
	}
	return nil
}

func trip(p [2]net.Conn, msg []byte) error {
	for _, way := range [][2]net.Conn{{p[0], p[1]}, {p[1], p[0]}} {
		if _, err := way[0].Write(msg); err != nil {
			return err
		}
		if _, err := io.ReadFull(way[1], msg); err != nil {
			return err
		}
	}
	return nil
}

func typist(p [2]net.Conn, n int64) (took []time.Duration, err error) {
	tick := time.NewTicker(besideEvery)
	defer tick.Stop()
	msg := make([]byte, 32)
	for range n {
		<-tick.C
		begin := time.Now()
		if err := trip(p, msg); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begin))
	}
	return took, nil
}

func (j job) bulk(p [2]net.Conn, n int64) error {
	from, to := p[1], p[0]
	if j.Up {
		from, to = to, from
	}
	go func() {
		chunk := make([]byte, chunkLen)
		for left := n; left > 0; left -= chunkLen {
			if _, err := from.Write(chunk[:min(left, chunkLen)]); err != nil {
				return
			}
		}
	}()
	_, err := io.CopyBuffer(io.Discard, io.LimitReader(to, n), make([]byte, chunkLen))
	return err
}

// A bench is the child and what it talks to.
type bench struct {
	b       *testing.B
	l       net.Listener
	backend string
	cert    *tls.Certificate
	in      io.Writer
	lines   *bufio.Scanner
}

func newBench(b *testing.B) *bench {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), benchEnv+"="+l.Addr().String())
	in, err := child.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := child.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = in.Close(); _ = child.Wait(); _ = l.Close() })
	r := &bench{b: b, l: l, cert: certificate(b), in: in, lines: bufio.NewScanner(out)}
	r.lines.Scan()
	r.backend = strings.TrimSpace(r.lines.Text())
	return r
}

// A cost is what a job took: CPU time of the engine and of the peers, and the
// trips beside bulk.
type cost struct{ cpu, peers, p50, p99 time.Duration }

// run has the child do a job through an engine.
func (r *bench) run(e Engine, j job) (c cost) {
	r.b.Helper()
	if err := binary.Write(r.in, binary.LittleEndian, j); err != nil {
		r.b.Fatal(err)
	}
	for range j.Pairs {
		r.adopt(e, j.TLS)
	}
	begin := cpu()
	r.lines.Scan()
	c.cpu = cpu() - begin
	if _, err := fmt.Sscanf(r.lines.Text(), "done %d %d %d", &c.p50, &c.p99, &c.peers); err != nil {
		r.b.Fatalf("the peers say %q", r.lines.Text())
	}
	return c
}

func (r *bench) adopt(e Engine, secure bool) {
	r.b.Helper()
	c, err := r.l.Accept()
	if err != nil {
		r.b.Fatal(err)
	}
	p := Pair{Client: Conn{Raw: c.(*net.TCPConn)}}
	if secure {
		keys := new(keyLog)
		t := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*r.cert}, KeyLogWriter: keys, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true})
		if err := t.Handshake(); err != nil {
			r.b.Fatal(err)
		}
		if e.Secures() {
			p.Client.Secured = keys.secured(r.b, uint16(record.Suite(t.ConnectionState().CipherSuite)))
		} else {
			p.Client.TLS = t
		}
	}
	s, err := net.Dial("tcp", r.backend)
	if err != nil {
		r.b.Fatal(err)
	}
	p.Server.Raw = s.(*net.TCPConn)
	e.Adopt(p)
}

// benchEngine runs an engine until the benchmark is over: "copy", "loop" with as
// many loops as by default, or "loops" with one for each core.
func benchEngine(b *testing.B, name string) Engine {
	b.Helper()
	var e idler = new(Copy)
	if name != "copy" {
		o := Options{}
		if name == "loops" {
			o.Loops = runtime.GOMAXPROCS(0)
		}
		r, err := NewReactor(o)
		if err != nil {
			b.Fatal(err)
		}
		e = r
	}
	ctx, done := b.Context(), make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	b.Cleanup(func() { <-done })
	return e
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
