package handshake_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
	_ "unsafe" // for linkname

	"go.uber.org/goleak"

	"usher.example/balancer/handshake"
	"usher.example/balancer/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// defaultTLS13 and its like are the suites of TLS 1.3 that crypto/tls offers,
// which no configuration changes. Only with them can all three be tested.
//
//go:linkname defaultTLS13 crypto/tls.defaultCipherSuitesTLS13
var defaultTLS13 []uint16

//go:linkname defaultTLS13NoAES crypto/tls.defaultCipherSuitesTLS13NoAES
var defaultTLS13NoAES []uint16

// useTLS13 leaves one suite of TLS 1.3 for the rest of the test.
func useTLS13(t *testing.T, suite record.Suite) {
	a, b := defaultTLS13, defaultTLS13NoAES
	defaultTLS13, defaultTLS13NoAES = []uint16{uint16(suite)}, []uint16{uint16(suite)}
	t.Cleanup(func() { defaultTLS13, defaultTLS13NoAES = a, b })
}

// An identity has a certificate of each kind of key, and who signed them.
type identity struct {
	ecdsa, rsa, ed25519 tls.Certificate
	pool                *x509.CertPool
}

// identities are for "peer", for servers and clients alike.
var identities = sync.OnceValue(func() (all identity) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	must(err)
	all.pool = x509.NewCertPool()
	sign := func(key crypto.Signer) tls.Certificate {
		tmpl := &x509.Certificate{
			SerialNumber: big.NewInt(1), DNSNames: []string{"peer"}, IsCA: true, BasicConstraintsValid: true,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
		must(err)
		cert, err := x509.ParseCertificate(der)
		must(err)
		all.pool.AddCert(cert)
		return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: cert}
	}
	all.ecdsa, all.rsa, all.ed25519 = sign(ec), sign(rs), sign(ed)
	return all
})

// configs returns what a server and a client can start from.
func configs() (server, client *tls.Config) {
	id := identities()
	return &tls.Config{Certificates: []tls.Certificate{id.ecdsa, id.rsa, id.ed25519}},
		&tls.Config{RootCAs: id.pool, ServerName: "peer"}
}

// dial makes a TCP connection and returns both ends.
func dial(tb testing.TB) (server, client *net.TCPConn) {
	tb.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	if client, err = net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr)); err != nil {
		tb.Fatal(err)
	}
	if server, err = l.AcceptTCP(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _, _ = server.Close(), client.Close() })
	for _, c := range []*net.TCPConn{server, client} {
		_ = c.SetDeadline(time.Now().Add(patience))
	}
	return server, client
}

// A peer is a connection that crypto/tls carries.
type peer struct {
	*tls.Conn
	raw *net.TCPConn
}

// shake has us do a handshake in role with crypto/tls at the other end.
func shake(tb testing.TB, role record.Role, ours *handshake.Config, theirs *tls.Config) (*handshake.Conn, peer) {
	tb.Helper()
	server, client := dial(tb)
	c, p, err := over(tb.Context(), role, server, client, ours, theirs)
	if err != nil {
		tb.Fatalf("handshake: %v", err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c, p
}

func over(ctx context.Context, role record.Role, server, client *net.TCPConn, ours *handshake.Config, theirs *tls.Config) (*handshake.Conn, peer, error) {
	var p peer
	mine := server
	if role == record.Server {
		p = peer{tls.Client(client, theirs), client}
	} else {
		mine = client
		p = peer{tls.Server(server, theirs), server}
	}
	done := make(chan error, 1)
	go func() { done <- p.HandshakeContext(ctx) }()
	var c *handshake.Conn
	var err error
	if role == record.Server {
		c, err = handshake.Server(ctx, mine, ours)
	} else {
		c, err = handshake.Client(ctx, mine, ours)
	}
	if err != nil {
		_ = mine.Close() // the peer may still wait
	}
	perr := <-done
	if err = errors.Join(err, perr); err != nil {
		return nil, p, err
	}
	return c, p, nil
}

// pattern makes n bytes that differ from place to place.
func pattern(n int) []byte {
	b := make([]byte, n)
	r := mrand.NewPCG(1, uint64(n))
	for i := range b {
		b[i] = byte(r.Uint64())
	}
	return b
}

// carry sends data from one end and wants it at the other.
func carry(tb testing.TB, from io.Writer, to io.Reader, data []byte) {
	tb.Helper()
	sent := make(chan error, 1)
	go func() {
		_, err := from.Write(data)
		sent <- err
	}()
	got := make([]byte, len(data))
	n, err := io.ReadFull(to, got)
	if err := errors.Join(err, <-sent); err != nil {
		tb.Fatalf("carry %d bytes, %d came: %v", len(data), n, err)
	}
	if !bytes.Equal(got, data) {
		tb.Fatalf("%d bytes came, other than were sent", n)
	}
}

// sizes are lengths of data that may be somebody's edge.
var sizes = []int{1, 15, 300, handshake.SmallBuffer, 4096, 16384, 16385, 70_000}

// talk moves data both ways and closes both.
func talk(tb testing.TB, c *handshake.Conn, p peer) {
	tb.Helper()
	for _, n := range sizes {
		carry(tb, c, p, pattern(n))
		carry(tb, p, c, pattern(n+1))
	}
	if err := p.CloseWrite(); err != nil {
		tb.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		tb.Errorf("after the peer's close_notify: %d, %v, want EOF", n, err)
	}
	if err := c.CloseWrite(); err != nil {
		tb.Errorf("close for writing: %v", err)
	}
	if n, err := p.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		tb.Errorf("after our close_notify: peer got %d, %v, want EOF", n, err)
	}
	if err := c.Close(); err != nil {
		tb.Errorf("close: %v", err)
	}
}
