package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher.example/balancer/admin"
	"usher.example/balancer/certs"
)

// A keeper has one certificate, and is slow to renew it.
type keeper struct{ slow time.Duration }

func (keeper) List() []certs.Status {
	return []certs.Status{{ID: "aaaa", Names: []string{"a.example"}}}
}

func (k keeper) Renew(ctx context.Context, _ string, _ bool) error {
	select {
	case <-time.After(k.slow):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k keeper) Import(_ context.Context, chain, _ []byte) (certs.Import, error) {
	if len(chain) == 0 {
		return certs.Import{}, fmt.Errorf("%w: there is no certificate", certs.ErrUnfit)
	}
	return certs.Import{Status: k.List()[0]}, nil
}

func (k keeper) Remove(context.Context, string) (certs.Status, error) { return k.List()[0], nil }

func (k keeper) Export(_ string, key bool) (certs.Export, error) {
	e := certs.Export{Status: k.List()[0], Certificate: []byte("CERT"), Chain: []byte("CHAIN")}
	if key {
		e.Key = []byte("SECRET")
	}
	return e, nil
}

// TestKeysGoToRootOnly asks by a unix socket, where the kernel says who asks, and
// without one.
func TestKeysGoToRootOnly(t *testing.T) {
	var log bytes.Buffer
	n := admin.New(admin.Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Node: newNode(t).balancer, Places: alone(t), Keeper: keeper{}})
	path := filepath.Join(t.TempDir(), "usher.sock")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	l := listen(t, path)
	go func() { ended <- n.Run(ctx, l) }()
	post := func(body string) (int, string) {
		t.Helper()
		r, err := overSocket(path).Post("http://usher"+admin.CertificateExportPath, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(text)
	}
	if code, text := post(`{"name":"a.example","key":true,"by":"ann"}`); code != http.StatusOK || !strings.Contains(text, "SECRET") {
		t.Errorf("got %d, %s", code, text)
	}
	if code, text := post(`{"name":"a.example"}`); code != http.StatusOK || strings.Contains(text, "SECRET") {
		t.Errorf("got %d, %s", code, text)
	}
	if code, text := post(`{}`); code != http.StatusBadRequest || !strings.Contains(text, "which name") {
		t.Errorf("got %d, %s", code, text)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if want := fmt.Sprintf(`id=aaaa with_key=true by=ann peer="uid %d, pid %d"`, os.Getuid(), os.Getpid()); !strings.Contains(log.String(), want) {
		t.Errorf("no %s in %s", want, &log)
	}
	if strings.Contains(log.String(), "SECRET") {
		t.Error("the log has the key")
	}
	stranger := &node{Server: n}
	w := stranger.ask(http.MethodPost, admin.CertificateExportPath, "application/json", `{"name":"a.example","key":true}`)
	if w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), "SECRET") || !strings.Contains(w.Body.String(), "run this as root") {
		t.Errorf("got %d, %s", w.Code, w.Body)
	}
}

// TestFailedOrders wants the log not to call done what was not, and no stranger root.
func TestFailedOrders(t *testing.T) {
	var log strings.Builder
	n := &node{Server: admin.New(admin.Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Node: newNode(t).balancer, Places: alone(t), Keeper: keeper{}})}
	n.ask(http.MethodPost, admin.CertificateImportPath, "application/json", `{"certificate":"","key":"y"}`)
	if got := log.String(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, "came to nothing") || strings.Contains(got, "certificate imported") {
		t.Errorf("got %s", got)
	}
	log.Reset()
	n.ask(http.MethodPost, admin.CertificateImportPath, "application/json", `{"certificate":"x","key":"y"}`)
	if got := log.String(); !strings.Contains(got, "level=INFO msg=\"certificate imported\"") || strings.Contains(got, "err=") {
		t.Errorf("got %s", got)
	}
	log.Reset()
	n.ask(http.MethodPost, admin.CertificateExportPath, "application/json", `{"name":"a.example","key":true}`)
	if got := log.String(); !strings.Contains(got, "peer=unknown") || strings.Contains(got, "uid 0") {
		t.Errorf("got %s", got)
	}
}

func TestCertificateOrders(t *testing.T) {
	n := &node{Server: admin.New(admin.Options{Log: slog.New(slog.DiscardHandler), Node: newNode(t).balancer, Places: alone(t), Keeper: keeper{}})}
	large, err := json.Marshal(admin.CertificateImport{Certificate: strings.Repeat("x\n", 200<<10)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, body string
		code       int
		want       string
	}{
		{admin.CertificateImportPath, `{"certificate":"x","key":"y"}`, http.StatusOK, `"warnings":[]`},
		{admin.CertificateImportPath, `{"certificate":"","key":"y"}`, http.StatusBadRequest, "nothing was changed"},
		{admin.CertificateImportPath, string(large), http.StatusRequestEntityTooLarge, "at most"},
		{admin.CertificateImportPath, `{"password":"y"}`, http.StatusBadRequest, "unknown field"},
		{admin.CertificateRemovePath, `{"name":"a.example"}`, http.StatusOK, `"id":"aaaa"`},
		{admin.CertificateRemovePath, `{}`, http.StatusBadRequest, "which name"},
		{admin.CertificateRenewPath, `{"name":"a.example"}`, http.StatusOK, `"done":true`},
		{admin.CertificateRenewPath, `{"name":"` + strings.Repeat("x", 600) + `"}`, http.StatusBadRequest, "512"},
	} {
		if w := n.ask(http.MethodPost, c.path, "application/json", c.body); w.Code != c.code || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: got %d, %s; want %d, %s", c.path, w.Code, w.Body, c.code, c.want)
		}
	}
	if list := get[admin.CertificateList](t, n, admin.CertificatesPath); len(list.Certificates) != 1 || list.Certificates[0].Names[0] != "a.example" {
		t.Errorf("got %+v", list)
	}
	without := &node{Server: admin.New(admin.Options{Log: slog.New(slog.DiscardHandler), Node: newNode(t).balancer, Places: alone(t)})}
	if w := without.ask(http.MethodGet, admin.CertificatesPath, "", ""); w.Code != http.StatusNotImplemented {
		t.Errorf("a node without any: got %d, %s", w.Code, w.Body)
	}
}

// pipes is a listener whose connections are in memory, so that their deadlines are
// by the clock of a bubble.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// TestSlowRenewal wants an order to be waited for beyond the bounds that a
// connection has otherwise.
func TestSlowRenewal(t *testing.T) {
	server := newNode(t)
	places := alone(t)
	synctest.Test(t, func(t *testing.T) {
		n := admin.New(admin.Options{Log: slog.New(slog.DiscardHandler), Node: server.balancer, Places: places, Keeper: keeper{slow: 5 * time.Minute}})
		ctx, cancel := context.WithCancel(t.Context())
		l := make(pipes)
		ended := make(chan error, 1)
		go func() { ended <- n.Run(ctx, l) }()
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			l <- there
			return here, nil
		}}}
		r, err := client.Post("http://usher"+admin.CertificateRenewPath, "application/json", strings.NewReader(`{"name":"a.example"}`))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil || string(text) != "{\"done\":true}\n" {
			t.Errorf("got %v, %s", err, text)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
