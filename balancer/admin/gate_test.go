package admin_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher.example/balancer/admin"
)

func TestTokensOverTCP(t *testing.T) {
	p := openPort(t, nil)
	c := p.client("")
	const kick = `{"user":"joe"}`
	for _, tt := range []struct {
		method, path, token, body string
		code                      int
		want                      string
	}{
		{"GET", admin.WhoamiPath, p.read, "", 200, `"name":"ann","role":"read","via":"token"`},
		{"GET", admin.WhoamiPath, p.operate, "", 200, `"name":"bob","role":"operate","via":"token"`},
		{"GET", admin.StatusPath, p.read, "", 200, `"version"`},
		{"GET", admin.SessionsPath, p.read, "", 403, "this needs the role operate, and ann has the role read"},
		{"GET", admin.SessionsPath, p.operate, "", 200, `"sessions"`},
		{"POST", admin.UserKickPath, p.operate, kick, 200, `"kicked":2`},
		{"POST", admin.UserKickPath, p.read, kick, 403, "needs the role operate"},
		{"POST", admin.CertificateExportPath, p.operate, `{"name":"a.example"}`, 200, "CERT"},
		{"POST", admin.CertificateExportPath, p.operate, `{"name":"a.example","key":true}`, 403, "private keys"},
		{"POST", admin.CertificateImportPath, p.operate, `{"certificate":"-","key":"-"}`, 403, "for the unix socket only"},
		{"GET", admin.StatusPath, "", "", 401, "no token and no certificate"},
		{"POST", admin.UserKickPath, "", kick, 401, "no token"},
		{"GET", "/v1/nothing", "", "", 401, "no token"}, // nobody learns which paths there are
		{"GET", "/v1/nothing", p.read, "", 404, "nothing is served"},
		{"GET", "/", "", "", 401, "no token"},
		{"GET", "/metrics", "", "", 401, "no token"},
		{"GET", "/metrics", p.read, "", 200, "usher_api_refused_total"},
		{"GET", "/readyz", "", "", 401, "no token"},
		{"GET", "/readyz", p.read, "", 200, "fine"},
		{"GET", "/healthz", "", "", 200, "fine"},
		{"POST", admin.UserKickPath, p.operate, `{"user":"` + strings.Repeat("x", 3500) + `"}`, 413, "at most"}, // in one record: what lies unread at a close is told as a reset
	} {
		code, body := p.ask(c, tt.method, tt.path, tt.token, tt.body)
		if code != tt.code || !strings.Contains(body, tt.want) {
			t.Errorf("%s %s with %.9s: got %d %.300s, want %d and %s", tt.method, tt.path, tt.token, code, body, tt.code, tt.want)
		}
	}
	log := p.log.String()
	for _, want := range []string{`msg="order over TCP" by=bob role=operate via=token client=127.0.0.1:`, `msg="kicked on all nodes" event=user_kicked user=joe sessions=2 by=bob`, `msg="the export of a private key was refused" event=key_export_refused name=a.example by=bob peer=bob`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %q:\n%s", want, log)
		}
	}
	for _, secret := range []string{p.read, p.operate} {
		if strings.Contains(log, secret) {
			t.Error("a token is in the log")
		}
	}
}

// TestCertificatesOverTCP shows certificates of all kinds.
func TestCertificatesOverTCP(t *testing.T) {
	p := openPort(t, nil)
	dir, stranger := t.TempDir(), newAuthority(t, "clients") // the same name, another key
	n := 0
	crt := func(a *authority, subject pkix.Name, change func(*x509.Certificate)) string {
		n++
		return a.issue(filepath.Join(dir, fmt.Sprint(n)), subject, change)
	}
	carol := pkix.Name{CommonName: "carol"}
	for _, tt := range []struct {
		name string
		file string
		code int // 0: no handshake
		want string
	}{
		{"of no unit", crt(p.clients, carol, nil), 200, `"name":"carol","role":"read","via":"certificate"`},
		{"of the unit", crt(p.clients, pkix.Name{CommonName: "dan", OrganizationalUnit: []string{"x", "mail"}}, nil), 200, `"name":"dan","role":"operate"`},
		{"of a unit that only looks like it", crt(p.clients, pkix.Name{CommonName: "OU=mail"}, nil), 403, "common name"},
		{"nameless", crt(p.clients, pkix.Name{}, nil), 403, "common name"},
		{"expired", crt(p.clients, carol, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), 0, ""},
		{"not yet valid", crt(p.clients, carol, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), 0, ""},
		{"of another CA", crt(stranger, carol, nil), 0, ""},
		{"of the server's CA", crt(p.ca, carol, nil), 0, ""},
		{"of a server", crt(p.clients, carol, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), 0, ""},
	} {
		code, body := p.ask(p.client(tt.file), "GET", admin.WhoamiPath, "", "")
		if code != tt.code || !strings.Contains(body, tt.want) {
			t.Errorf("%s: got %d %s, want %d and %s", tt.name, code, body, tt.code, tt.want)
		}
	}
	if code, body := p.ask(p.client(crt(p.clients, carol, nil)), "GET", admin.WhoamiPath, p.operate, ""); code != 200 || !strings.Contains(body, `"name":"bob"`) {
		t.Errorf("a token goes before a certificate: got %d %s", code, body)
	}
	if code, body := p.ask(p.client(crt(p.clients, carol, nil)), "GET", admin.WhoamiPath, "wrong", ""); code != 401 {
		t.Errorf("a certificate makes a wrong token good: got %d %s", code, body)
	}
	_, text := p.ask(p.client(""), "GET", "/metrics", p.read, "")
	for _, want := range []string{`{reason="certificate"} 5`, `{reason="subject"} 2`, `{reason="token"} 1`} {
		if !strings.Contains(text, "usher_api_refused_total"+want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	if log := p.log.String(); strings.Count(log, "was not let in") != 1 || !strings.Contains(log, "event=api_refused client=127.0.0.1:") {
		t.Errorf("want one line for all of it:\n%s", log)
	}
}

// TestCertificateRequired: without tokens nobody gets past the handshake who has none.
func TestCertificateRequired(t *testing.T) {
	p := openPort(t, func(o *admin.GateOptions, _ *admin.Options) { o.TokenFile, o.Readers = "", []string{"CN=carol"} })
	if code, body := p.ask(p.client(""), "GET", "/healthz", "", ""); code != 0 {
		t.Errorf("got %d %s", code, body)
	}
	dir := t.TempDir()
	if code, body := p.ask(p.client(p.clients.issue(filepath.Join(dir, "carol"), pkix.Name{CommonName: "carol"}, nil)), "GET", admin.StatusPath, "", ""); code != 200 {
		t.Errorf("carol: got %d %s", code, body)
	}
	if code, body := p.ask(p.client(p.clients.issue(filepath.Join(dir, "dave"), pkix.Name{CommonName: "dave"}, nil)), "GET", admin.StatusPath, "", ""); code != 403 || !strings.Contains(body, "has no role here") {
		t.Errorf("dave: got %d %s", code, body)
	}
}

func TestNoOldTLSAndNoPlaintext(t *testing.T) {
	p := openPort(t, nil)
	address := strings.TrimPrefix(p.url, "https://")
	for version, good := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}) //nolint:gosec // what is tested is the server
		if (err == nil) != good {
			t.Errorf("TLS %x: got %v", version, err)
		}
		if err == nil {
			_ = c.Close()
		}
	}
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /v1/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", p.read)
	if text, _ := io.ReadAll(c); strings.Contains(string(text), "200 OK") || strings.Contains(string(text), "version") {
		t.Errorf("plaintext is answered: %q", text)
	}
}

// TestGateReload: a new certificate is taken up without an order, tokens and CAs with
// one, and what is not good changes nothing.
func TestGateReload(t *testing.T) {
	p := openPort(t, nil)
	shown := func() string {
		t.Helper()
		c, err := tls.Dial("tcp", strings.TrimPrefix(p.url, "https://"), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // we look at it ourselves
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if got := shown(); got != "first" {
		t.Errorf("got %s", got)
	}
	p.ca.issue(p.options.CertFile, pkix.Name{CommonName: "the second"}, nil)
	p.Look()
	if got := shown(); got != "the second" {
		t.Errorf("got %s", got)
	}
	write(t, p.options.CertFile, []byte("half a file"))
	p.Look()
	if got := shown(); got != "the second" || !strings.Contains(p.log.String(), "event=api_certificate_bad") {
		t.Errorf("got %s, %s", got, p.log.String())
	}
	p.ca.issue(p.options.CertFile, pkix.Name{CommonName: "third"}, nil)

	eve, line := newToken(t, "eve", admin.RoleRead)
	write(t, p.options.TokenFile, []byte("not a token\n"))
	if _, err := p.Prepare(p.options); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("got %v", err)
	}
	if code, _ := p.ask(p.client(""), "GET", admin.WhoamiPath, p.read, ""); code != 200 {
		t.Errorf("a bad file has changed who is let in: got %d", code)
	}
	write(t, p.options.TokenFile, []byte(line))
	if code, _ := p.ask(p.client(""), "GET", admin.WhoamiPath, p.read, ""); code != 200 {
		t.Errorf("a file is taken up before the reload: got %d", code)
	}
	carol := p.client(p.clients.issue(filepath.Join(t.TempDir(), "carol"), pkix.Name{CommonName: "carol"}, nil))
	carol.Transport.(*http.Transport).DisableKeepAlives = false
	if code, body := p.ask(carol, "GET", admin.WhoamiPath, "", ""); code != 200 {
		t.Errorf("got %d %s", code, body)
	}
	p.options.ClientCAFile = newAuthority(t, "others").file
	commit, err := p.Prepare(p.options)
	if err != nil {
		t.Fatal(err)
	}
	commit()
	if code, body := p.ask(carol, "GET", admin.WhoamiPath, "", ""); code != 401 {
		t.Errorf("a connection of before the CA was exchanged goes on: got %d %s", code, body)
	}
	if code, _ := p.ask(p.client(""), "GET", admin.WhoamiPath, p.read, ""); code != 401 {
		t.Errorf("a token that was taken out: got %d", code)
	}
	if code, body := p.ask(p.client(""), "GET", admin.WhoamiPath, eve, ""); code != 200 || shown() != "third" {
		t.Errorf("a token that was put in: got %d %s", code, body)
	}
	if err := os.Chmod(p.options.TokenFile, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Prepare(p.options); err == nil || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("a file that everybody can read: got %v", err)
	}
}

// TestStreamsEnd: what was opened with a token does not outlive it, nor what was opened
// with a certificate that.
func TestStreamsEnd(t *testing.T) {
	p := openPort(t, nil)
	for _, path := range []string{admin.EventsPath, admin.BoardPath} {
		stream := p.stream(p.client(""), path, p.read)
		if stream == nil {
			t.Fatalf("%s: no stream", path)
		}
		ended := make(chan struct{})
		go func() { _, _ = io.Copy(io.Discard, stream); close(ended) }()
		commit, err := p.Prepare(p.options)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
			t.Errorf("%s ends before the reload", path)
		default:
		}
		commit()
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			t.Errorf("%s goes on", path)
		}

		var certified io.Reader
		life := 2 * time.Second
		for ; certified == nil && life < time.Minute; life *= 2 { // a machine may need longer for a handshake
			file := p.clients.issue(filepath.Join(t.TempDir(), "carol"), pkix.Name{CommonName: "carol"}, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(life) })
			certified = p.stream(p.client(file), path, "")
		}
		if certified == nil {
			t.Fatalf("%s: no stream with a certificate", path)
		}
		over := make(chan struct{})
		go func() { _, _ = io.Copy(io.Discard, certified); close(over) }()
		select {
		case <-over:
		case <-time.After(life + 20*time.Second): // less than the client's patience
			t.Errorf("%s outlives the certificate", path)
		}
	}
}

// stream opens one, and returns what comes after its first octet; nil if it cannot.
func (p *port) stream(c *http.Client, path, token string) io.Reader {
	p.t.Helper()
	c.Timeout = 0
	ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Minute)
	p.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, http.NoBody)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w, err := c.Do(r)
	if err != nil {
		return nil
	}
	p.t.Cleanup(func() { _ = w.Body.Close() })
	if _, err := w.Body.Read(make([]byte, 1)); w.StatusCode != http.StatusOK || err != nil {
		return nil
	}
	return w.Body
}

// TestOrdersAreLogged: as what they are.
func TestOrdersAreLogged(t *testing.T) {
	p := openPort(t, nil)
	c := p.client("")
	p.ask(c, http.MethodPost, admin.LookupPath, p.operate, `{"users":["joe"]}`)
	if log := p.log.String(); strings.Contains(log, "over TCP") {
		t.Errorf("a question is logged as an order:\n%s", log)
	}
	p.ask(c, http.MethodPost, admin.UserKickPath, p.read, `{"user":"joe"}`)
	if log := p.log.String(); strings.Contains(log, `msg="order over TCP"`) || !strings.Contains(log, `msg="an order over TCP was refused" by=ann role=read`) || !strings.Contains(log, "status=403") {
		t.Errorf("what is refused is logged as an order:\n%s", log)
	}
	p.ask(c, http.MethodPost, admin.UserKickPath, p.operate, `{"user":"joe"}`)
	if log := p.log.String(); !strings.Contains(log, `msg="order over TCP" by=bob`) || !strings.Contains(log, "status=200") {
		t.Errorf("no order in the log:\n%s", log)
	}
}

// TestWrongTokensWait, and those without one do not.
func TestWrongTokensWait(t *testing.T) {
	p := openPort(t, nil)
	synctest.Test(t, func(t *testing.T) {
		g, err := admin.NewGate(p.options, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		for said, want := range map[string]time.Duration{
			"": 0, "Bearer wrong": admin.WrongDelay, "Basic YTpi": admin.WrongDelay, "Bearer": admin.WrongDelay, "bearer " + p.read: 0,
		} {
			r, w := httptest.NewRequest(http.MethodGet, admin.StatusPath, http.NoBody), httptest.NewRecorder()
			if said != "" {
				r.Header.Set("Authorization", said)
			}
			from := time.Now()
			g.Known(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
			if took := time.Since(from); took != want {
				t.Errorf("%q: took %v, want %v", said, took, want)
			}
			if good := strings.Contains(said, p.read); (w.Code == http.StatusOK) != good || !good && (w.Header().Get("WWW-Authenticate") == "" || w.Header().Get("Connection") != "close") {
				t.Errorf("%q: got %d %v", said, w.Code, w.Header())
			}
		}
	})
}

// TestBrowsers: a page of another site gives no orders and reads nothing, and answers have
// what browsers go by.
func TestBrowsers(t *testing.T) {
	board := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'")
		_, _ = io.WriteString(w, "the page")
	})
	p := openPort(t, func(_ *admin.GateOptions, o *admin.Options) { o.Board = board })
	carol := p.client(p.clients.issue(filepath.Join(t.TempDir(), "dan"), pkix.Name{CommonName: "dan", OrganizationalUnit: []string{"mail"}}, nil))
	ask := func(method, path, site, origin string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, p.url+path, strings.NewReader(`{"user":"joe"}`))
		if err != nil {
			t.Fatal(err)
		}
		if method == http.MethodGet {
			r.Body, r.ContentLength = http.NoBody, 0
		}
		r.Header.Set("Content-Type", "application/json")
		if site != "" {
			r.Header.Set("Sec-Fetch-Site", site)
		}
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		w, err := carol.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = w.Body.Close()
		for name := range w.Header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: has %s", path, name)
			}
		}
		if h := w.Header; h.Get("X-Content-Type-Options") != "nosniff" || h.Get("X-Frame-Options") != "DENY" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cross-Origin-Resource-Policy") != "same-origin" {
			t.Errorf("%s: got %v", path, h)
		}
		return w
	}
	for _, tt := range []struct {
		method, path, site, origin string
		code                       int
	}{
		{"POST", admin.UserKickPath, "", "", 200}, // a program
		{"POST", admin.UserKickPath, "same-origin", p.url, 200},
		{"POST", admin.UserKickPath, "cross-site", "https://evil.example", 403},
		{"POST", admin.UserKickPath, "same-site", "https://evil.example.org", 403},
		{"POST", admin.UserKickPath, "", "https://evil.example", 403},
		{"POST", admin.UserKickPath, "", "null", 403},
		{"OPTIONS", admin.UserKickPath, "cross-site", "https://evil.example", 405},
		{"GET", admin.StatusPath, "cross-site", "https://evil.example", 200}, // that the page cannot read
	} {
		if w := ask(tt.method, tt.path, tt.site, tt.origin); w.StatusCode != tt.code {
			t.Errorf("%+v: got %d", tt, w.StatusCode)
		}
	}
	if got := ask(http.MethodGet, admin.StatusPath, "", "").Header.Get("Content-Security-Policy"); !strings.Contains(got, "default-src 'none'") {
		t.Errorf("got %q", got)
	}
	code, body := p.ask(p.client(""), "GET", "/", "", "")
	if code != 200 || body != "the page" {
		t.Errorf("the page: got %d %s", code, body)
	}
	if code, body := p.ask(p.client(""), "GET", "/v1/board", "", ""); code != 401 {
		t.Errorf("its data: got %d %s", code, body)
	}
}

func TestBadGates(t *testing.T) {
	p := openPort(t, nil)
	empty := filepath.Join(t.TempDir(), "empty")
	write(t, empty, nil)
	for name, tt := range map[string]struct {
		change func(*admin.GateOptions)
		want   string
	}{
		"nobody":      {func(o *admin.GateOptions) { o.ClientCAFile, o.TokenFile = "", "" }, "nobody could use the API"},
		"no pair":     {func(o *admin.GateOptions) { o.CertFile = empty }, "failed to find any PEM"},
		"no key":      {func(o *admin.GateOptions) { o.KeyFile = empty + "x" }, "no such file"},
		"no CA":       {func(o *admin.GateOptions) { o.ClientCAFile = empty }, "no certificate in PEM"},
		"no tokens":   {func(o *admin.GateOptions) { o.TokenFile = empty + "x" }, "no such file"},
		"a directory": {func(o *admin.GateOptions) { o.KeyFile = filepath.Dir(empty) }, "is no file"},
	} {
		o := p.options
		tt.change(&o)
		if _, err := admin.NewGate(o, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}
