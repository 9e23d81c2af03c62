package handshake_test

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"usher.example/balancer/handshake"
	"usher.example/balancer/record"
)

// cpu is the time that this process has computed.
func cpu() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkHandshake connects, does a handshake and greets, over loopback and
// with both ends in this process. "tls" has crypto/tls at both ends; "server" and
// "client" have us at one. The CPU time is that of both ends, and a busy machine
// does not stretch it as much.
func BenchmarkHandshake(b *testing.B) {
	for _, kind := range []struct {
		name    string
		version uint16
		resume  bool
	}{
		{"TLS13", record.TLS13, false},
		{"TLS13-resumed", record.TLS13, true},
		{"TLS12", record.TLS12, false},
		{"TLS12-resumed", record.TLS12, true},
	} {
		for _, who := range []string{"tls", "server", "client"} {
			b.Run(kind.name+"/"+who, func(b *testing.B) {
				server, client := configs()
				client.MaxVersion = kind.version
				if kind.resume {
					client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
				}
				sc, cc := handshake.Prepare(server, handshake.Options{}), handshake.Prepare(client, handshake.Options{})
				l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
				if err != nil {
					b.Fatal(err)
				}
				defer l.Close()
				serve := func(raw *net.TCPConn) (net.Conn, error) { return tls.Server(raw, server), nil }
				if who == "server" {
					serve = func(raw *net.TCPConn) (net.Conn, error) { return handshake.Server(b.Context(), raw, sc) }
				}
				call := func(raw *net.TCPConn) (net.Conn, error) { return tls.Client(raw, client), nil }
				if who == "client" {
					call = func(raw *net.TCPConn) (net.Conn, error) { return handshake.Client(b.Context(), raw, cc) }
				}
				go func() {
					for {
						raw, err := l.AcceptTCP()
						if err != nil {
							return
						}
						if c, err := serve(raw); err == nil {
							_, _ = c.Write([]byte("* OK\r\n"))
						}
						_ = raw.Close()
					}
				}()
				buf := make([]byte, 8)
				b.ReportAllocs()
				began := cpu()
				for b.Loop() {
					raw, err := net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr))
					if err != nil {
						b.Fatal(err)
					}
					c, err := call(raw)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := c.Read(buf); err != nil {
						b.Fatal(err)
					}
					_ = raw.Close()
				}
				b.ReportMetric(float64(cpu()-began)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// BenchmarkLine echoes a line of a login dialogue.
func BenchmarkLine(b *testing.B) {
	line := []byte("a1 LOGIN joe@example.org secret\r\n")
	for name, copied := range map[string]bool{"tls": true, "user": false} {
		b.Run(name, func(b *testing.B) {
			server, client := configs()
			c, p := shake(b, record.Server, handshake.Prepare(server, handshake.Options{Copy: copied}), client)
			go func() {
				buf := make([]byte, 100)
				for {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					_, _ = c.Write(buf[:n])
				}
			}()
			b.ReportAllocs()
			got := make([]byte, 100)
			for b.Loop() {
				_, _ = p.Write(line)
				if _, err := p.Read(got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
