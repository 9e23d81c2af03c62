package handshake_test

import (
	"crypto/tls"
	"testing"

	"usher.example/balancer/handshake"
	"usher.example/balancer/record"
)

// BenchmarkHandshake does handshakes over loopback, both ends in this process.
// "tls" has crypto/tls at both ends; "server" and "client" have us at one.
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
				b.ReportAllocs()
				for b.Loop() {
					b.StopTimer()
					s, c := dial(b)
					b.StartTimer()
					done := make(chan error, 1)
					go func() {
						if who == "client" {
							conn, err := handshake.Client(b.Context(), c, cc)
							if err == nil {
								_, err = conn.Read(make([]byte, 8))
							}
							done <- err
							return
						}
						conn := tls.Client(c, client)
						_, err := conn.Read(make([]byte, 8))
						done <- err
					}()
					if who == "server" {
						conn, err := handshake.Server(b.Context(), s, sc)
						if err != nil || !conn.Detachable() {
							b.Fatal(err, conn.Reason())
						}
						_, _ = conn.Write([]byte("* OK\r\n"))
					} else {
						_, _ = tls.Server(s, server).Write([]byte("* OK\r\n"))
					}
					if err := <-done; err != nil {
						b.Fatal(err)
					}
					b.StopTimer()
					_, _ = s.Close(), c.Close()
					b.StartTimer()
				}
			})
		}
	}
}

// BenchmarkLine echoes a line of a login dialogue.
func BenchmarkLine(b *testing.B) {
	line := []byte("a1 LOGIN joe@example.org secret\r\n")
	for _, copied := range []bool{true, false} {
		name := "user"
		if copied {
			name = "tls"
		}
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
