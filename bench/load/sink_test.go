package load_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"usher.example/bench/load"
	"usher.example/bench/sink"
)

const (
	host  = "mail.example.org"
	wrong = "wrong"
)

// startSink serves until the test's end.
func startSink(t testing.TB) *sink.Server {
	t.Helper()
	s, err := sink.Listen(sink.Options{IMAP: []string{"127.0.0.1:0"}, POP3: []string{"127.0.0.1:0"}, Wrong: wrong})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

// A relay ends TLS in front of a sink, as a target does.
type relay struct {
	addr   string
	config *tls.Config
	roots  *x509.CertPool
}

// startRelay relays to an address until the test's end. before is what it does
// on a connection in plaintext before TLS begins, nil for nothing.
func startRelay(t testing.TB, to string, before func(client, server net.Conn) error) *relay {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{
		addr: l.Addr().String(), roots: roots,
		config: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { r.serve(client, to, before) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return r
}

func (r *relay) serve(client net.Conn, to string, before func(client, server net.Conn) error) {
	defer client.Close()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	if before != nil && before(client, server) != nil {
		return
	}
	outer := tls.Server(client, r.config)
	var up sync.WaitGroup
	up.Go(func() {
		_, _ = io.Copy(server, outer)
		_ = server.Close()
	})
	_, _ = io.Copy(outer, server)
	_ = client.Close()
	up.Wait()
}

// service is how to reach the relay.
func (r *relay) service(protocol string, cache tls.ClientSessionCache) load.Service {
	return load.Service{
		Protocol: protocol, Security: load.TLS, Addr: r.addr,
		TLS: load.TLSConfig(r.roots, host, tls.X25519, cache),
	}
}
