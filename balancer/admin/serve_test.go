package admin_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"usher.example/balancer/admin"
)

// overSocket asks as a command does.
func overSocket(path string) *http.Client {
	var d net.Dialer
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", path)
		},
	}}
}

func TestRun(t *testing.T) {
	n := newNode(t)
	path := filepath.Join(t.TempDir(), "usher.sock")
	l := listen(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx, l) }()
	r, err := overSocket(path).Get("http://usher" + admin.StatusPath)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if err != nil || !strings.Contains(string(body), `"version":"1.2.3"`) {
		t.Errorf("got %v, %s", err, body)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if answers(path) {
		t.Error("it still answers")
	}
	if got := entries(t, filepath.Dir(path)); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

// TestServeEndsAnswers: one that hangs cannot keep the process from ending.
func TestServeEndsAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	hang := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	ended := make(chan error, 1)
	go func() { ended <- admin.Serve(ctx, l, hang, slog.New(slog.DiscardHandler)) }()
	if r, err := http.Get("http://" + l.Addr().String()); err == nil {
		_ = r.Body.Close()
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestServeOfBrokenListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := admin.Serve(t.Context(), l, http.NotFoundHandler(), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("got no error")
	}
}
