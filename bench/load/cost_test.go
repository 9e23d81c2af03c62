package load_test

import (
	"context"
	"crypto/tls"
	"errors"
	"testing"

	"usher.example/bench/load"
)

// The benchmarks say what the clients and the sink cost themselves, and with
// TLS a relay between them: all that shares the processors with a target.

func BenchmarkLogin(b *testing.B) {
	sink := startSink(b)
	relay := startRelay(b, sink.IMAP()[0], nil)
	for name, service := range map[string]load.Service{
		"plain":   {Protocol: load.IMAP, Security: load.Plain, Addr: sink.IMAP()[0]},
		"full":    relay.service(load.IMAP, nil),
		"resumed": relay.service(load.IMAP, tls.NewLRUClientSessionCache(1)),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			r := load.Closed(b.Context(), 1, b.N, func(ctx context.Context, _, _ int) error {
				c, err := service.Dial(ctx)
				if err != nil {
					return err
				}
				err = c.Login("alice", "secret")
				load.Mark(ctx)
				return errors.Join(err, c.Logout(), c.Close())
			})
			must(b, r.First)
		})
	}
}

func BenchmarkNoop(b *testing.B) {
	sink := startSink(b)
	c := dial(b, load.Service{Protocol: load.IMAP, Security: load.Plain, Addr: sink.IMAP()[0]})
	must(b, c.Login("alice", "secret"))
	b.ReportAllocs()
	r := load.Closed(b.Context(), 1, b.N, func(context.Context, int, int) error { return c.Noop() })
	must(b, r.First)
}

func BenchmarkTransfer(b *testing.B) {
	const size = 64 << 20
	sink := startSink(b)
	relay := startRelay(b, sink.IMAP()[0], nil)
	for name, service := range map[string]load.Service{
		"plain": {Protocol: load.IMAP, Security: load.Plain, Addr: sink.IMAP()[0]},
		"tls":   relay.service(load.IMAP, nil),
	} {
		c := dial(b, service)
		must(b, c.Login("alice", "secret"))
		for way, transfer := range map[string]func(int64) error{"down": c.Download, "up": c.Upload} {
			b.Run(name+"-"+way, func(b *testing.B) {
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					must(b, transfer(size))
				}
			})
		}
	}
}
