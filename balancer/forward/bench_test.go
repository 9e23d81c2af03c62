package forward

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"usher.example/balancer/record"
)

// The figures of this file are CPU time of this process, which is the engine
// alone: both peers are a child process. Compare them within one run only.

const (
	benchEnv = "USHER_BENCH_PEER" // the address to dial, set in the child
	chunkLen = 256 << 10
)

// A job is what the child is told to do, on its standard input.
type job struct {
	TLS   bool  // of the client
	Up    bool  // from the client to the back end
	Ping  bool  // round trips of 32 octets instead
	Pairs int32 // sessions at the same time
	Bytes int64 // in all, or round trips
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
		if err := j.do(engine, l); err != nil {
			fmt.Println("failed:", err)
			return true
		}
		fmt.Println("done")
	}
}

func (j job) do(engine string, l net.Listener) error {
	errs := make(chan error, j.Pairs)
	for range j.Pairs {
		raw, err := net.Dial("tcp", engine)
		if err != nil {
			return err
		}
		client := raw
		if j.TLS {
			t := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}})
			if err := t.Handshake(); err != nil {
				return err
			}
			client = t
		}
		server, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer client.Close()
			defer server.Close()
			errs <- j.session(client, server, j.Bytes/int64(j.Pairs))
		}()
	}
	for range j.Pairs {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

func (j job) session(client, server net.Conn, n int64) error {
	if j.Ping {
		msg, buf := make([]byte, 32), make([]byte, 32)
		for range n {
			for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
				if _, err := way[0].Write(msg); err != nil {
					return err
				}
				if _, err := io.ReadFull(way[1], buf); err != nil {
					return err
				}
			}
		}
		return nil
	}
	from, to := server, client
	if j.Up {
		from, to = client, server
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

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkEngines(b *testing.B) {
	jobs := []struct {
		name string
		job  job
	}{
		{"tls-down-1", job{TLS: true, Pairs: 1, Bytes: 1 << 30}},
		{"tls-up-1", job{TLS: true, Up: true, Pairs: 1, Bytes: 1 << 30}},
		{"tls-down-8", job{TLS: true, Pairs: 8, Bytes: 1 << 30}},
		{"tls-up-8", job{TLS: true, Up: true, Pairs: 8, Bytes: 1 << 30}},
		{"plain-down-1", job{Pairs: 1, Bytes: 2 << 30}},
		{"plain-up-8", job{Up: true, Pairs: 8, Bytes: 2 << 30}},
		{"tls-ping-20", job{TLS: true, Ping: true, Pairs: 20, Bytes: 40_000}},
		{"plain-ping-20", job{Ping: true, Pairs: 20, Bytes: 40_000}},
	}
	cert := certificate(b)
	for _, j := range jobs {
		for _, engine := range []string{"copy", "loop"} {
			b.Run(j.name+"/"+engine, func(b *testing.B) {
				var e idler = new(Copy)
				if engine == "loop" {
					r, err := NewReactor(Options{})
					if err != nil {
						b.Fatal(err)
					}
					e = r
				}
				ctx, stop := context.WithCancel(b.Context())
				defer stop()
				go e.Run(ctx)
				benchJob(b, e, cert, j.job)
			})
		}
	}
}

// benchJob has the child do the job b.N times and reports what it cost us.
func benchJob(b *testing.B, e Engine, cert *tls.Certificate, j job) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
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
	defer func() { _ = in.Close(); _ = child.Wait() }()
	lines := bufio.NewScanner(out)
	lines.Scan()
	backend := strings.TrimSpace(lines.Text())
	_, own := e.(*Reactor)
	spent := time.Duration(0)
	for b.Loop() {
		_ = binary.Write(in, binary.LittleEndian, j)
		for range j.Pairs {
			benchAdopt(b, e, l, backend, cert, j.TLS, own)
		}
		begin := cpu()
		lines.Scan()
		spent += cpu() - begin
		if lines.Text() != "done" {
			b.Fatal(lines.Text())
		}
	}
	per := spent / time.Duration(b.N)
	if j.Ping {
		b.ReportMetric(float64(per.Microseconds())/float64(j.Bytes), "cpu-µs/trip")
	} else {
		b.ReportMetric(per.Seconds()*float64(1<<30)/float64(j.Bytes), "cpu-s/GiB")
	}
}

func benchAdopt(b *testing.B, e Engine, l net.Listener, backend string, cert *tls.Certificate, secure, own bool) {
	c, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	p := Pair{Client: Conn{Raw: c.(*net.TCPConn)}}
	if secure {
		keys := new(keyLog)
		t := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*cert}, KeyLogWriter: keys, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true})
		if err := t.Handshake(); err != nil {
			b.Fatal(err)
		}
		if own {
			p.Client.Secured = keys.secured(b, uint16(record.Suite(t.ConnectionState().CipherSuite)))
		} else {
			p.Client.TLS = t
		}
	}
	s, err := net.Dial("tcp", backend)
	if err != nil {
		b.Fatal(err)
	}
	p.Server.Raw = s.(*net.TCPConn)
	e.Adopt(p)
}
