package bulk_test

import (
	"net"
	"testing"

	"usher.example/bench/bulk"
)

// BenchmarkMove is the ceiling of what a target can be measured at, and says
// which way to send costs less.
func BenchmarkMove(b *testing.B) {
	const size = 64 << 20
	for name, send := range map[string]func(*net.TCPConn, int64) error{
		"sendfile": bulk.SendFile,
		"write":    bulk.Send,
	} {
		b.Run(name, func(b *testing.B) {
			from, to := pair(b)
			b.SetBytes(size)
			done := make(chan error, 1)
			for b.Loop() {
				go func() { done <- send(from, size) }()
				if err := bulk.Drop(to, size); err != nil {
					b.Fatal(err)
				}
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
