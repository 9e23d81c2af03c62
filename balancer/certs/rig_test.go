package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long what has to happen is waited for: far longer than it takes.
const testPatience = 30 * time.Second

// An issuer signs certificates for tests.
type issuer struct {
	t     testing.TB
	cert  *x509.Certificate
	key   crypto.Signer
	above []*x509.Certificate // intermediates up to the root, which is left out
}

// An order is what a test wants of an issuer. Zero values: now, ECDSA.
type wanted struct {
	names    []string
	from, to time.Time
	key      crypto.Signer
	ca       bool
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// rsaKey is one for all tests: it takes long to make.
var rsaKey = sync.OnceValue(func() crypto.Signer {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func edKey(t testing.TB) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{t: t, key: newKey(t)}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{CommonName: "root " + t.Name()}, NotBefore: now.AddDate(-10, 0, 0), NotAfter: now.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, i.key.Public(), i.key)
	if err != nil {
		t.Fatal(err)
	}
	if i.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return i
}

// issue returns a certificate, parsed, and its key.
func (i *issuer) issue(w wanted) (*x509.Certificate, crypto.Signer) {
	i.t.Helper()
	if w.from.IsZero() {
		w.from = time.Now().Add(-time.Hour)
	}
	if w.to.IsZero() {
		w.to = w.from.AddDate(0, 0, 90)
	}
	if w.key == nil {
		w.key = newKey(i.t)
	}
	template := &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{CommonName: w.names[0]}, NotBefore: w.from, NotAfter: w.to, DNSNames: w.names,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	if w.ca {
		template.DNSNames, template.ExtKeyUsage, template.KeyUsage = nil, nil, x509.KeyUsageCertSign
		template.IsCA, template.BasicConstraintsValid = true, true
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.cert, w.key.Public(), i.key)
	if err != nil {
		i.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		i.t.Fatal(err)
	}
	return cert, w.key
}

// below is an intermediate CA.
func (i *issuer) below(name string) *issuer {
	i.t.Helper()
	cert, key := i.issue(wanted{names: []string{name}, ca: true, to: time.Now().AddDate(5, 0, 0)})
	return &issuer{t: i.t, cert: cert, key: key, above: append([]*x509.Certificate{cert}, i.above...)}
}

func certPEM(certs ...*x509.Certificate) string {
	var b bytes.Buffer
	for _, c := range certs {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return b.String()
}

func keyPEM(t testing.TB, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// put writes a file in one step.
func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// write puts a pair into dir/name.pem and dir/name.key.
func (i *issuer) write(dir, name string, w wanted) *x509.Certificate {
	i.t.Helper()
	cert, key := i.issue(w)
	put(i.t, filepath.Join(dir, name+".key"), keyPEM(i.t, key))
	put(i.t, filepath.Join(dir, name+".pem"), certPEM(append([]*x509.Certificate{cert}, i.above...)...))
	return cert
}

// A book is a log that can be read.
type book struct {
	mu sync.Mutex
	b  strings.Builder
}

// Write appends to the book.
func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *book) log() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// keep makes a Keeper of one listener, "l", that has the sources.
func keep(t testing.TB, log *book, sources ...Source) *Keeper {
	t.Helper()
	if log == nil {
		log = new(book)
	}
	k := New(Options{Log: log.log()})
	if err := k.Apply(planOf(sources...)); err != nil {
		t.Fatal(err)
	}
	return k
}

func planOf(sources ...Source) Plan {
	return Plan{Listeners: map[string]Listener{"l": {Sources: sources}}}
}

func pairOf(dir, name string) Source {
	return Source{CertFile: filepath.Join(dir, name+".pem"), KeyFile: filepath.Join(dir, name+".key")}
}

// shake does a handshake over a pipe with listener "l" and returns what the
// client was shown.
func shake(t testing.TB, k *Keeper, client *tls.Config) (*x509.Certificate, error) {
	t.Helper()
	client = client.Clone()
	client.InsecureSkipVerify = true
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	server := tls.Server(a, k.Config("l"))
	failed := make(chan error, 1)
	go func() { failed <- server.HandshakeContext(t.Context()) }()
	c := tls.Client(b, client)
	if err := c.HandshakeContext(t.Context()); err != nil {
		a.Close()
		return nil, <-failed
	}
	return c.ConnectionState().PeerCertificates[0], nil
}

// ask shakes hands with a name, and returns the serial number shown.
func ask(t testing.TB, k *Keeper, name string) string {
	t.Helper()
	c, err := shake(t, k, &tls.Config{ServerName: name})
	if err != nil {
		t.Fatalf("%q: %v", name, err)
	}
	return serial(c)
}

func serial(c *x509.Certificate) string { return c.SerialNumber.Text(16) }

// run runs a Keeper until the test ends.
func run(t *testing.T, k *Keeper) {
	t.Helper()
	done := make(chan struct{})
	ctx, cancel := contextOf(t)
	go func() { defer close(done); k.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

// eventually waits until done.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(testPatience); !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, testPatience)
		}
	}
}

// lockThread keeps the goroutine on its thread, which ends with it.
func lockThread() { runtime.LockOSThread() }

func leafOnly(leaf *x509.Certificate) *tls.Certificate { return &tls.Certificate{Leaf: leaf} }
