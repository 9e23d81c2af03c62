package main_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"usher.example/balancer/certs/pebble"
	"usher.example/cmd/internal/dovecot"
)

// A badCA is an ACME server that goes wrong at one point.
type badCA struct {
	*httptest.Server
	directory string
	caFile    string // of its own HTTPS
	path      string // at which it goes wrong
	fault     http.HandlerFunc
	nonces    atomic.Uint64
	orders    atomic.Uint64
}

// newBadCA starts one, whose own certificate is valid as said. Its directory is at a
// path of its own: clients remember what they read at a URL, and ports come again.
func newBadCA(t testing.TB, s *site, from, to time.Duration, path string, fault http.HandlerFunc) *badCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bad CA's own HTTPS"},
		NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca := &badCA{path: path, fault: fault}
	ca.Server = httptest.NewUnstartedServer(ca)
	ca.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	ca.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	ca.StartTLS()
	t.Cleanup(ca.Close)
	name := rand.Text()
	ca.directory, ca.caFile = ca.URL+"/dir/"+name, s.file(name+".pem")
	s.put(ca.caFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return ca
}

func (ca *badCA) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Replay-Nonce", fmt.Sprint("nonce", ca.nonces.Add(1)))
	at := r.URL.Path
	if strings.HasPrefix(at, "/dir/") {
		at = "/dir"
	}
	if at == "/order" {
		ca.orders.Add(1)
	}
	if at == ca.path {
		ca.fault(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch at {
	case "/dir":
		_ = json.NewEncoder(w).Encode(map[string]string{"newNonce": ca.URL + "/nonce", "newAccount": ca.URL + "/account", "newOrder": ca.URL + "/order"})
	case "/account":
		w.Header().Set("Location", ca.URL+"/account/1")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"status":"valid"}`)
	}
}

// limitsRate wants to be left alone for an hour.
func limitsRate(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Retry-After", "3600")
	w.WriteHeader(http.StatusTooManyRequests)
	_, _ = io.WriteString(w, `{"type":"urn:ietf:params:acme:error:rateLimited","status":429,"detail":"too many certificates (5) already issued"}`)
}

// webPage is what a web server shows.
func webPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	_, _ = io.WriteString(w, "<html><title>Welcome to nginx!</title></html>")
}

// newFrozen has a node ask a CA that takes connections and says nothing, which takes
// half a minute. What it returns waits for the end, and looks.
func newFrozen(t *testing.T, srv *dovecot.Server) (thaw func(t *testing.T)) {
	t.Helper()
	a := newAutomatic(t, srv, pebble.Options{}, "slow.example.net")
	a.asks(a.ca.Directory, a.ca.CAFile, "http-01", "")
	a.p = a.serve()
	a.awaits(t)
	served := a.shown(t)
	a.ca.Freeze()
	began := time.Now()
	type answer struct {
		text string
		err  error
		took time.Duration
	}
	answers := make(chan answer, 1)
	go func() { // ends with the program, or with the node
		text, err := a.usher("cert", "renew", a.names[0], "--force")
		answers <- answer{text, err, since(began)}
	}()
	return func(t *testing.T) {
		t.Helper()
		stays := func() {
			t.Helper()
			for what, leaf := range a.shown(t) {
				if !leaf.Equal(served[what]) {
					t.Errorf("%s: another certificate is served", what)
				}
			}
			a.logsIn(t, "the CA is frozen")
			a.ready(t)
		}
		stays()
		select {
		case got := <-answers:
			t.Logf("a frozen CA is given up after %v", got.took)
			for _, want := range []string{"slow.example.net: under way for", "the CA does not answer: check this machine's way to it"} {
				if got.err == nil || !strings.Contains(got.text, want) {
					t.Errorf("a frozen CA: got %v, %s, want %q", got.err, got.text, want)
				}
			}
		case <-time.After(2 * patience):
			t.Fatal("usher cert renew waits for a frozen CA without end")
		}
		stays()
		if out := a.must(t, "cert", "show", a.names[0]); !strings.Contains(out, "the CA does not answer") {
			t.Errorf("a frozen CA: usher cert show says\n%s", out)
		}
		a.ca.Thaw()
		a.renews(t, "the frost", served)
	}
}
