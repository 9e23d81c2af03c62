package admin_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"usher.example/balancer"
	"usher.example/balancer/admin"
	"usher.example/balancer/balancertest"
	"usher.example/balancer/certs"
	"usher.example/balancer/forward"
	"usher.example/cluster"
	"usher.example/cluster/table"
	"usher.example/health"
	"usher.example/sniff/imap"
)

// A node is a real balancer with a place for everybody on one back end, which
// knows no password that is "wrong".
type node struct {
	*admin.Server
	balancer *balancer.Server
	places   *cluster.Fleet
	reloads  *admin.Reloads
	draining atomic.Bool
	degraded atomic.Bool
	log      strings.Builder
	ended    endings
}

// endings gets one for every session line of the log: its counts are settled.
type endings chan struct{}

func (e endings) Enabled(context.Context, slog.Level) bool { return true }
func (e endings) WithAttrs([]slog.Attr) slog.Handler       { return e }
func (e endings) WithGroup(string) slog.Handler            { return e }

func (e endings) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "session" {
		e <- struct{}{}
	}
	return nil
}

// alone is a fleet of one with two back ends, of which one drains.
func alone(t *testing.T) *cluster.Fleet {
	t.Helper()
	f, err := cluster.OpenFleet(cluster.FleetOptions{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait(); f.Close() })
	err = f.Update([]cluster.Pool{{Name: "main", Backends: []cluster.Backend{{Name: "mail1", Weight: 100}, {Name: "mail2", Weight: 100}}}})
	if err == nil {
		err = f.Await(t.Context())
	}
	if err == nil {
		err = f.SetAdmin(t.Context(), "main", "mail2", table.Draining, "test")
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{places: alone(t), reloads: new(admin.Reloads), ended: make(endings, 100)}
	engine := new(forward.Copy)
	n.balancer = balancer.New(balancer.Deps{Engine: engine, Placer: n.places, Log: slog.New(n.ended)})
	ports := map[string]int{"imap": balancertest.NewBackend(t, balancertest.IMAP("mail1")).Port()}
	if err := n.balancer.Apply(balancer.Options{
		Hostname: "usher.test",
		Listeners: []balancer.ListenerOptions{{
			Name: "imap", Address: "127.0.0.1:0", Protocol: imap.Protocol{}, Pool: "main", PlaintextLogin: true,
		}},
		Pools: []balancer.PoolOptions{{Name: "main", Backends: []balancer.BackendOptions{
			{Name: "mail1", Host: "127.0.0.1", Ports: ports}, {Name: "mail2", Host: "127.0.0.1", Ports: ports},
		}}},
	}); err != nil {
		t.Fatal(err)
	}
	checked := &health.Stats{}
	checked.Probes.Add(5)
	checked.Failed.Add(2)
	checked.Falls.Add(1)
	n.Server = admin.New(admin.Options{
		Version: "1.2.3", Started: time.Now().Add(-time.Hour), Log: slog.New(slog.NewTextHandler(&n.log, nil)),
		Node: n.balancer, Places: n.places, Draining: n.draining.Load, Spliced: engine.Spliced, Adopted: engine.Adopted, Reloads: n.reloads,
		Reasons: func() []string {
			if n.draining.Load() {
				return []string{"draining"}
			}
			return nil
		},
		Keeper: dated{},
		Degraded: func() []string {
			if n.degraded.Load() {
				return []string{"isolated"}
			}
			return nil
		},
		Health: func() []admin.BackendHealth {
			return []admin.BackendHealth{{Pool: "main", Backend: "mail1", Stats: checked, Status: health.Status{
				State: health.Up, Since: time.Now().Add(-time.Minute), Err: errors.New("dial: \x1b[2Jrefused"),
			}}}
		},
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nobody is waited for
		n.balancer.Drain(ctx)
	})
	return n
}

// A mailer is a client's connection.
type mailer struct {
	net.Conn
	in *bufio.Reader
}

// connect reads the greeting.
func (n *node) connect(t *testing.T) *mailer {
	t.Helper()
	c, err := net.Dial("tcp", n.balancer.Addr("imap").String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	m := &mailer{c, bufio.NewReader(c)}
	if line := m.line(t); !strings.HasPrefix(line, "* OK") {
		t.Fatalf("greeting %q", line)
	}
	return m
}

func (m *mailer) line(t *testing.T) string {
	t.Helper()
	line, err := m.in.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// login logs in, or tries to. When it returns, a session that was let in is
// being forwarded: only then has the answer to a second command come.
func (m *mailer) login(t *testing.T, user, password string) {
	t.Helper()
	if strings.HasPrefix(m.command(t, "LOGIN "+user+" "+password), "a OK") {
		m.command(t, "NOOP")
	}
}

// command returns the tagged answer.
func (m *mailer) command(t *testing.T, text string) string {
	t.Helper()
	fmt.Fprintf(m, "a %s\r\n", text)
	for {
		if line := m.line(t); strings.HasPrefix(line, "a ") {
			return line
		}
	}
}

// ended waits for the end of the connection.
func (m *mailer) ended(t *testing.T) {
	t.Helper()
	if _, err := io.Copy(io.Discard, m.in); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is still open")
	}
}

// ask has the handler of the unix socket answer.
func (n *node) ask(method, target, kind, body string) *httptest.ResponseRecorder {
	return askOf(n.Handler(), method, target, kind, body)
}

// askOf has a handler of the API answer, and holds the answer to the document.
func askOf(h http.Handler, method, target, kind, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body == "" {
		r = httptest.NewRequest(method, target, http.NoBody)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	r.Header.Set("Accept", "application/json") // and no stream, which would go on
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	heard(method, target, w.Code, w.Body.Bytes())
	return w
}

// scrape returns what Prometheus sees.
func (n *node) scrape(t *testing.T) string {
	t.Helper()
	w := httptest.NewRecorder()
	n.Public(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	if w.Code != http.StatusOK {
		t.Fatalf("got %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func repository(name string) string { return filepath.Join("..", "..", name) }

// dated is a keeper with certificates that have dates.
type dated struct{ keeper }

func (dated) List() []certs.Status {
	end := time.Unix(1800000000, 0)
	return []certs.Status{
		{Names: []string{"mail.example.org", "*.example.org"}, Listeners: []string{"imaps", "pop3s"}, Source: "file", Key: "ECDSA P-256", NotAfter: end},
		{Names: []string{"mail.example.org"}, Listeners: []string{"imaps"}, Source: "file", Key: "ECDSA P-384", NotAfter: end.Add(-time.Hour), Problem: "old"},
		{From: "/etc/usher/\xff.pem", Listeners: []string{"imaps"}, Source: "file", Problem: "cannot be read"},
		{Names: []string{"a.made-up.example"}, Listeners: []string{"imaps"}, Source: "acme", Key: "ECDSA P-256", OnDemand: true, NotAfter: end},
		{Names: []string{"b.made-up.example"}, Listeners: []string{"imaps"}, Source: "acme", Key: "ECDSA P-256", OnDemand: true, NotAfter: end.Add(-time.Hour)},
	}
}
