package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"usher.example/balancer/certs/pebble"
)

// A selfMade certificate, with its key, is its own authority.
func selfMade(t *testing.T, from, to time.Time, names ...string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(from.Unix()), Subject: pkix.Name{CommonName: "self"}, NotBefore: from, NotAfter: to, DNSNames: names,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// parts are a certificate as the storage has it.
func parts(t *testing.T, c tls.Certificate) (chain, key, meta []byte) {
	t.Helper()
	key, err := certmagic.PEMEncodePrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), key, []byte(`{"sans":["x"],"issuer_data":{}}`)
}

// putStored stores a certificate as if the issuer had given it.
func putStored(t *testing.T, s certmagic.Storage, ca, name string, c tls.Certificate) {
	t.Helper()
	chain, key, meta := parts(t, c)
	k := certmagic.StorageKeys
	for _, part := range []struct {
		key   string
		value []byte
	}{{k.SitePrivateKey(ca, name), key}, {k.SiteCert(ca, name), chain}, {k.SiteMeta(ca, name), meta}} {
		if err := s.Store(t.Context(), part.key, part.value); err != nil {
			t.Fatal(err)
		}
	}
}

// young is a certificate that nobody would renew.
func young(t *testing.T, names ...string) tls.Certificate {
	t.Helper()
	c, _ := selfMade(t, time.Now().Add(-time.Hour), time.Now().Add(90*24*time.Hour), names...)
	return c
}

// A hostile CA does as ACME says up to a point.
type hostile struct {
	url    string
	nonces atomic.Uint64
	orders atomic.Uint64
	// at decides what is answered at a path; false: as ACME says.
	at func(path string, w http.ResponseWriter) bool
}

func (h *hostile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Replay-Nonce", fmt.Sprint("nonce", h.nonces.Add(1)))
	if r.URL.Path == "/order" {
		h.orders.Add(1)
	}
	at := r.URL.Path
	if strings.HasPrefix(at, "/dir") {
		at = "/dir"
	}
	if h.at(at, w) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch at {
	case "/dir":
		_ = json.NewEncoder(w).Encode(map[string]string{"newNonce": h.url + "/nonce", "newAccount": h.url + "/account", "newOrder": h.url + "/order"})
	case "/account":
		w.Header().Set("Location", h.url+"/account/1")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"status":"valid"}`)
	}
}

// directory is a path that no CA of another test has had: acmez remembers what it read
// at a URL, and ports come again.
func directory() string { return "/dir" + rand.Text() }

func problemAt(path string, status int, kind, detail string, header ...string) func(string, http.ResponseWriter) bool {
	return func(at string, w http.ResponseWriter) bool {
		if at != path {
			return false
		}
		w.Header().Set("Content-Type", "application/problem+json")
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"type": "urn:ietf:params:acme:error:" + kind, "status": status, "detail": detail})
		return true
	}
}

func answerAt(path, kind, body string) func(string, http.ResponseWriter) bool {
	return func(at string, w http.ResponseWriter) bool {
		if at != path {
			return false
		}
		w.Header().Set("Content-Type", kind)
		_, _ = io.WriteString(w, body)
		return true
	}
}

// Whatever a CA does, what is served stays, and the words say what it was and what
// to do.
func TestHostileCA(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		at     func(string, http.ResponseWriter) bool
		spoil  func(*httptest.Server, *Issuer)
		said   string // the CA's words, or ours for them
		advice string
	}{
		{"down", nil, func(s *httptest.Server, _ *Issuer) { s.Close() }, "connection refused", "nobody listens at the CA's address"},
		{"no such name", nil, func(_ *httptest.Server, i *Issuer) { i.Directory = "https://ca.invalid/dir" }, "ca.invalid", "the CA's name does not resolve"},
		{"rate limit", problemAt("/order", 429, "rateLimited", "too many certificates already issued", "Retry-After", "3600"), nil, "too many certificates already issued", "the CA limits its rate"},
		{"web page", answerAt("/dir", "text/html", "<html>welcome to nginx</html>"), nil, "text/html", "that is no ACME server"},
		{"bad JSON", answerAt("/order", "application/json", "{\"status\":"), nil, "JSON", "that is no ACME server"},
		{"endless answer", answerAt("/dir", "application/json", strings.Repeat(" ", maxAnswer+2)), nil, "more than 1048576 bytes", "that is no ACME server"},
		{"cut off", func(at string, w http.ResponseWriter) bool {
			if at != "/order" {
				return false
			}
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "{")
			return true
		}, nil, "unexpected EOF", "that is no ACME server"},
		{"error page", func(at string, w http.ResponseWriter) bool {
			if at == "/order" {
				http.Error(w, "<html>\n"+strings.Repeat("sorry ", 1000), http.StatusForbidden)
			}
			return at == "/order"
		}, nil, "HTTP 403", "that is no ACME server"},
		{"nonces", problemAt("/account", 400, "badNonce", "that nonce is old"), nil, "that nonce is old", "takes none of its own nonces"},
		{"elsewhere", func(at string, w http.ResponseWriter) bool {
			if at == "/dir" {
				w.Header().Set("Location", "http://127.0.0.1:1/dir")
				w.WriteHeader(http.StatusFound)
			}
			return at == "/dir"
		}, nil, "no https URL", "that is no ACME server"},
		{"CAA", problemAt("/order", 403, "caa", "CAA record for mail.example.org prevents issuance"), nil, "CAA record for mail.example.org", "the CAA record of the name forbids this CA"},
		{"stranger", nil, func(_ *httptest.Server, i *Issuer) { i.Roots = x509.NewCertPool() }, "unknown authority", "set ca_file"},
		{"clock", nil, func(s *httptest.Server, i *Issuer) {
			c, pool := selfMade(t, time.Now().Add(time.Hour), time.Now().Add(24*time.Hour))
			s.TLS.Certificates, i.Roots = []tls.Certificate{c}, pool
		}, "not yet valid", "check this machine's clock"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ca := &hostile{at: tt.at}
			if ca.at == nil {
				ca.at = func(string, http.ResponseWriter) bool { return false }
			}
			own, pool := selfMade(t, time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour))
			server := httptest.NewUnstartedServer(ca)
			server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
			server.TLS = &tls.Config{Certificates: []tls.Certificate{own}}
			server.StartTLS()
			t.Cleanup(server.Close)
			ca.url = server.URL
			i := Issuer{Name: "hostile", Directory: ca.url + directory(), Roots: pool, Challenges: []Challenge{HTTP01}}
			if tt.spoil != nil {
				tt.spoil(server, &i)
			}
			s := newMemory()
			served := young(t, "mail.example.org")
			putStored(t, s, i.key(), "mail.example.org", served)
			r := newRig(t, s, 0, 0)
			r.wants(acmeOf(i), []string{"mail.example.org", "new.example.org"}, nil)
			r.has("mail.example.org")
			var err error
			for range 2 {
				err = r.Renew(t.Context(), "mail.example.org", true)
				if err == nil || !strings.Contains(err.Error(), tt.said) || !strings.Contains(err.Error(), tt.advice) {
					t.Errorf("got %v, want it to have %q and %q", err, tt.said, tt.advice)
				}
			}
			if err != nil && len(err.Error()) > 2*maxWords {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			if !r.has("mail.example.org").Leaf.Equal(served.Leaf) {
				t.Error("what was served is gone")
			}
			r.says("certificate not obtained") // of the other name, in the background
			list := r.shelf([]string{"mail.example.org", "new.example.org"}, nil).list()
			if len(list) != 2 || list[0].NotAfter.IsZero() || !list[1].NotAfter.IsZero() || !strings.Contains(list[1].Problem, tt.advice) {
				t.Errorf("listed as %+v", list)
			}
			if n := r.log.count("level=WARN"); n != 1 {
				t.Errorf("%d warnings, want one", n)
			}
		})
	}
}

// A CA that wants to be left alone is, until it said or an administrator wants it.
func TestRetryAfter(t *testing.T) {
	own, pool := selfMade(t, time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour))
	ca := &hostile{at: problemAt("/order", 429, "rateLimited", "slow down", "Retry-After", "3600")}
	server := httptest.NewUnstartedServer(ca)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{own}}
	server.StartTLS()
	defer server.Close()
	ca.url = server.URL
	r := newRig(t, newMemory(), 0, 0)
	r.wants(acmeOf(Issuer{Name: "busy", Directory: ca.url + directory(), Roots: pool, Challenges: []Challenge{HTTP01}}), []string{"a.example.org"}, nil)
	r.says("not before")
	before := ca.orders.Load()
	if err := r.Renew(t.Context(), "a.example.org", false); err == nil || !strings.Contains(err.Error(), "slow down") {
		t.Errorf("got %v, want the CA's words", err)
	}
	if got := ca.orders.Load(); got != before {
		t.Errorf("it was asked %d times more", got-before)
	}
	if err := r.Renew(t.Context(), "a.example.org", true); err == nil {
		t.Error("it was renewed")
	}
	if ca.orders.Load() == before {
		t.Error("it was not asked though an administrator wanted it")
	}
}

// Somebody else sits at the address of the name.
func TestWrongAnswer(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	ca := pebble.New(t, pebble.Options{HTTPPort: web.Listener.Addr().(*net.TCPAddr).Port})
	s := newMemory()
	i := issuerAt(ca, "pebble", HTTP01)
	served := young(t, "mail.example.org")
	putStored(t, s, i.key(), "mail.example.org", served)
	r := newRig(t, s, 0, 0)
	r.wants(acmeOf(i), []string{"mail.example.org"}, nil)
	r.has("mail.example.org")
	err := r.Renew(t.Context(), "mail.example.org", true)
	if err == nil || !strings.Contains(err.Error(), "http://mail.example.org:") || !strings.Contains(err.Error(), "port 80 or 443 leads to usher") {
		t.Errorf("got %v, want the address that the CA tried, and what to do", err)
	}
	if !r.has("mail.example.org").Leaf.Equal(served.Leaf) {
		t.Error("what was served is gone")
	}
}

// A disk that is full loses an order, and nothing else.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	s := newMemory()
	r := newRig(t, s, anyPort, 0)
	ca := r.aCA(pebble.Options{})
	i := issuerAt(ca, "pebble", HTTP01)
	served := young(t, "mail.example.org")
	putStored(t, s, i.key(), "mail.example.org", served)
	r.wants(acmeOf(i), []string{"mail.example.org"}, nil)
	full := &net.OpError{Op: "write", Err: syscall.ENOSPC}
	for _, suffix := range []string{"accounts/postmaster@example.org.json", "challenge_tokens/mail.example.org.json", "mail.example.org.whole"} {
		r.has("mail.example.org")
		s.failing(func(op, key string) error {
			if op == "store" && strings.HasSuffix(key, suffix) {
				return full
			}
			return nil
		})
		err := r.Renew(t.Context(), "mail.example.org", true)
		if err == nil || !strings.Contains(err.Error(), "the disk is full") {
			t.Errorf("no room for %s: got %v", suffix, err)
		}
		s.failing(nil)
		if !r.has("mail.example.org").Leaf.Equal(served.Leaf) {
			t.Errorf("no room for %s: what was served is gone", suffix)
		}
		if p, _, err := readStored(t.Context(), s, want{"mail.example.org", ECDSA}, []string{i.key()}); err != nil || !p.Leaf.Equal(served.Leaf) {
			t.Errorf("no room for %s: what was stored is gone: %v", suffix, err)
		}
	}
	if err := r.Renew(t.Context(), "mail.example.org", true); err != nil {
		t.Fatal(err)
	}
	if r.has("mail.example.org").Leaf.Equal(served.Leaf) {
		t.Error("nothing new, though there is room")
	}
}

// A certificate is written in three steps. One that stays torn is not served, and is
// made anew; what is served meanwhile stays.
func TestTorn(t *testing.T) {
	t.Parallel()
	s := newMemory()
	r := newRig(t, s, anyPort, 0)
	ca := r.aCA(pebble.Options{})
	i := issuerAt(ca, "pebble", HTTP01)
	served, other := young(t, "mail.example.org"), young(t, "mail.example.org")
	putStored(t, s, i.key(), "mail.example.org", served)
	r.wants(acmeOf(i), []string{"mail.example.org"}, nil)
	r.has("mail.example.org")
	_, key, meta := parts(t, other)
	for k, v := range map[string][]byte{
		certmagic.StorageKeys.SitePrivateKey(i.key(), "mail.example.org"): key,
		certmagic.StorageKeys.SiteMeta(i.key(), "mail.example.org"):       meta,
	} {
		if err := s.Store(t.Context(), k, v); err != nil {
			t.Fatal(err)
		}
	}
	late := newRig(t, s, 0, 0) // has nothing else
	late.wants(acmeOf(i), []string{"mail.example.org"}, nil)
	if !r.has("mail.example.org").Leaf.Equal(served.Leaf) {
		t.Error("what was served is gone")
	}
	for _, n := range []*rig{r, late} {
		until(t, "a new certificate", func() bool {
			list := n.registrar.at("mail.example.org")
			return list != nil && !list[0].Leaf.Equal(served.Leaf)
		})
		verify(t, ca, n.has("mail.example.org"), "mail.example.org")
	}
	if got := ca.Orders(); got != 1 {
		t.Errorf("got %d orders of two nodes, want 1", got)
	}
}

// A plan with another CA, and a restart, leave what there is until the new CA gives
// something.
func TestOtherCA(t *testing.T) {
	s := newMemory()
	served := young(t, "mail.example.org")
	putStored(t, s, "old.example.net-dir", "mail.example.org", served)
	r := newRig(t, s, 0, 0)
	r.wants(acmeOf(Issuer{Name: "new", Directory: "https://" + local(pebble.FreePort(t)) + "/dir", Challenges: []Challenge{HTTP01}}), []string{"mail.example.org"}, nil)
	if !r.has("mail.example.org").Leaf.Equal(served.Leaf) {
		t.Error("something else is served")
	}
	r.says("certificate not obtained")
}

// A certificate that could not be served is none.
func TestFits(t *testing.T) {
	now := time.Now()
	good := young(t, "a.example.org")
	csr := &x509.CertificateRequest{PublicKey: good.Leaf.PublicKey}
	chain := func(c tls.Certificate) []byte { p, _, _ := parts(t, c); return p }
	early, _ := selfMade(t, now.Add(time.Hour), now.Add(2*time.Hour), "a.example.org")
	for _, tt := range []struct {
		name  string
		chain []byte
		csr   *x509.CertificateRequest
		host  string
		want  func(error) bool
	}{
		{"good", chain(good), csr, "a.example.org", func(err error) bool { return err == nil }},
		{"another name", chain(good), csr, "b.example.org", is(errNonsense)},
		{"another key", chain(young(t, "a.example.org")), csr, "a.example.org", is(errNonsense)},
		{"no certificate", []byte("<html>"), csr, "a.example.org", is(errNonsense)},
		{"endless chain", append(chain(good), make([]byte, maxGiven)...), csr, "a.example.org", is(errNonsense)},
		{"not yet", chain(early), &x509.CertificateRequest{PublicKey: early.Leaf.PublicKey}, "a.example.org", clock},
	} {
		if err := fitsOrder(tt.chain, tt.csr, tt.host); !tt.want(err) {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
}

// A CA that takes connections and says nothing does not hold an administrator for
// longer than he waits, and the words are for that.
func TestSilentCA(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := newRig(t, newMemory(), 0, 0)
	i := Issuer{Name: "silent", Directory: "https://" + l.Addr().String() + "/dir", Challenges: []Challenge{HTTP01}}
	p, err := newPolicy(acmeOf(i), []string{"mail.example.org"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.registrar.apply(p)
	until(t, "the plan to be in force", func() bool {
		r.registrar.mu.Lock()
		defer r.registrar.mu.Unlock()
		return r.registrar.presses[ECDSA] != nil
	})
	press := r.registrar.presses[ECDSA]
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := press.config.ObtainCertSync(ctx, "other.example.org"); err == nil || !strings.Contains(advice(err), "the CA does not answer") {
		t.Errorf("got %v: %s", err, advice(err))
	}
}

// Whatever ended a request that took long, a CA that is not asked for a while after it
// does not answer.
func TestSilenceHasWords(t *testing.T) {
	now := time.Now()
	var l limits
	l.unanswered(errors.New("refused at once"), now.Add(-time.Second), now)
	if err := l.silence(now); err != nil {
		t.Errorf("after a quick error: %v", err)
	}
	l.unanswered(errors.New("net/http: request canceled"), now.Add(-answerTime), now)
	err := l.silence(now)
	if err == nil || !strings.Contains(err.Error(), "it has not answered for 30s: net/http: request canceled") || !strings.Contains(advice(err), "the CA does not answer") {
		t.Errorf("got %v: %s", err, advice(err))
	}
	if err := l.silence(now.Add(answerTime)); err != nil {
		t.Errorf("it is never asked again: %v", err)
	}
}

// A storage that does not answer yet, as on a node that has just begun, is asked again
// soon; what arrives by the feed is served though somebody waits for a lock.
func TestLateStorage(t *testing.T) {
	t.Parallel()
	s := newMemory()
	s.failing(func(string, string) error { return errors.New("no leader") })
	i := Issuer{Name: "ca", Directory: "https://" + local(pebble.FreePort(t)) + "/dir", Challenges: []Challenge{HTTP01}}
	r := newRig(t, s, 0, 0)
	if err := s.Lock(t.Context(), want{"b.example.org", ECDSA}.lock()); err != nil { // another node is at it
		t.Fatal(err)
	}
	r.wants(acmeOf(i), []string{"a.example.org", "b.example.org"}, nil)
	until(t, "a try", func() bool { return s.loaded() > 0 })
	s.failing(nil)
	putStored(t, s, i.key(), "a.example.org", young(t, "a.example.org"))
	r.has("a.example.org")
	until(t, "the other name to wait for the lock", func() bool { return r.log.count(`says="acquiring lock" identifier=b.example.org`) > 0 })
	putStored(t, s, i.key(), "b.example.org", young(t, "b.example.org"))
	r.has("b.example.org")
	if err := s.Unlock(t.Context(), want{"b.example.org", ECDSA}.lock()); err != nil {
		t.Fatal(err)
	}
	if n := r.log.count("level=WARN"); n != 0 {
		t.Errorf("%d warnings of what passes", n)
	}
}

// Without a place to keep certificates none is promised.
func TestNoStorage(t *testing.T) {
	i := Issuer{Name: "ca", Directory: "https://ca.example.org/dir", Challenges: []Challenge{HTTP01}}
	r := newRegistrar(Options{})
	if _, err := r.plan(Plan{ACME: acmeOf(i), Listeners: map[string]Listener{"l": {Sources: []Source{{Names: []string{"a.example.org"}}}}}}); err == nil {
		t.Error("a plan to obtain is good")
	}
	log := new(book)
	v := newRegistrar(Options{Storage: newMemory(), Volatile: true, Log: slog.New(slog.NewTextHandler(log, nil))})
	for _, names := range [][]string{nil, {"a.example.org"}, {"a.example.org"}} {
		p, err := newPolicy(acmeOf(i), names, nil)
		if err != nil {
			t.Fatal(err)
		}
		v.apply(p)
		if got := log.count("set fleet.state_dir"); got != min(1, len(names)) {
			t.Errorf("%v in a storage that is lost: %d warnings", names, got)
		}
	}
	if _, err := r.plan(Plan{Listeners: map[string]Listener{"l": {Sources: []Source{{CertFile: "a", KeyFile: "b"}}}}}); err != nil {
		t.Errorf("a plan of files: %v", err)
	}
}
