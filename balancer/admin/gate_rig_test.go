package admin_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"usher.example/balancer/admin"
)

// An authority makes certificates.
type authority struct {
	t    *testing.T
	crt  *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, file: filepath.Join(t.TempDir(), name+".pem")}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.key = key
	a.crt = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, a.crt, a.crt, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return a
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// issue makes a certificate of a subject, for clients and servers at 127.0.0.1 unless
// change says otherwise, and writes it with its key to one file.
func (a *authority) issue(file string, subject pkix.Name, change func(*x509.Certificate)) string {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	crt := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: subject, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(crt)
	}
	der, err := x509.CreateCertificate(rand.Reader, crt, a.crt, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	write(a.t, file, append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})...))
	return file
}

// A port is the API over TCP, with a token of each role.
type port struct {
	*admin.Gate
	t       *testing.T
	options admin.GateOptions
	url     string
	ca      *authority // of the port
	clients *authority // of callers
	read    string     // tokens
	operate string
	log     lines
}

// lines is a log that several goroutines write.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// openPort serves a node's API on a port; change may make the options others.
func openPort(t *testing.T, change func(*admin.GateOptions, *admin.Options)) *port {
	t.Helper()
	dir := t.TempDir()
	p := &port{t: t, ca: newAuthority(t, "servers"), clients: newAuthority(t, "clients")}
	var readLine, operateLine string
	p.read, readLine = newToken(t, "ann", admin.RoleRead)
	p.operate, operateLine = newToken(t, "bob", admin.RoleOperate)
	tokens := filepath.Join(dir, "tokens")
	write(t, tokens, []byte(readLine+operateLine))
	pair := p.ca.issue(filepath.Join(dir, "api.pem"), pkix.Name{CommonName: "first"}, nil)
	p.options = admin.GateOptions{CertFile: pair, KeyFile: pair, ClientCAFile: p.clients.file, TokenFile: tokens, Operators: []string{"OU=mail"}}
	n := newNode(t)
	o := admin.Options{Node: n.balancer, Places: n.places, Fleet: new(fakeFleet), Keeper: keeper{}, Log: slog.New(slog.NewTextHandler(&p.log, nil))}
	if change != nil {
		change(&p.options, &o)
	}
	var err error
	if p.Gate, err = admin.NewGate(p.options, o.Log); err != nil {
		t.Fatal(err)
	}
	o.Gate = p.Gate
	l, err := p.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.url = "https://" + l.Addr().String()
	health := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine\n") })
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := admin.Serve(ctx, l, admin.New(o).Remote(health), slog.New(slog.DiscardHandler)); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return p
}

// A client asks a port.
func (p *port) client(certificate string) *http.Client {
	p.t.Helper()
	c := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"}
	text, err := os.ReadFile(p.ca.file)
	if err != nil || !c.RootCAs.AppendCertsFromPEM(text) {
		p.t.Fatal(err)
	}
	if certificate != "" {
		pair, err := tls.LoadX509KeyPair(certificate, certificate)
		if err != nil {
			p.t.Fatal(err)
		}
		// Also one that the server has not asked for.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: c}, Timeout: 30 * time.Second}
}

// ask returns status and body of an answer, or 0 and the error of the connection.
func (p *port) ask(c *http.Client, method, path, token, body string) (int, string) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	if body == "" {
		r.Body = http.NoBody
		r.ContentLength = 0
	} else {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w, err := c.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	if err != nil {
		return 0, err.Error()
	}
	if strings.HasPrefix(path, "/v1/") {
		heard(method, path, w.StatusCode, text)
	}
	return w.StatusCode, string(text)
}
