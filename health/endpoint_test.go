package health

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

func why(reasons ...string) Condition {
	return As("test", func() []string { return reasons })
}

func TestEndpoint(t *testing.T) {
	var fresh, good, bad, dirty, poor, poorer Endpoint
	good.Add("listeners", why())
	good.Add("pools", why())
	bad.Add("serving", why("draining"))
	bad.Add("listeners", why("listener imaps: not open", "listener pop3s: not open"))
	bad.Add("config", why())
	bad.Add("pools", why("pool main: no back end up"))
	poor.Add("listeners", why())
	poor.AddDegraded("disk", why())
	poor.AddDegraded("fleet", why("isolated", "old"))
	poorer.Add("listeners", why("no listener open"))
	poorer.AddDegraded("fleet", why("isolated"))
	dirty.Add("a\r\nb", why("x\r\nHTTP/1.1 200 OK\x00\x7f"))

	for _, tt := range []struct {
		name   string
		e      *Endpoint
		method string
		target string
		status int
		body   string
	}{
		{"alive", &bad, "GET", "/healthz", 200, "alive\n"},
		{"alive by its other name", &bad, "GET", "/livez", 200, "alive\n"},
		{"alive before it is ready", &fresh, "GET", "/livez", 200, "alive\n"},
		{"not ready before anything is registered", &fresh, "GET", "/readyz", 503, "starting\n"},
		{"ready", &good, "GET", "/readyz", 200, "ready\n"},
		{"ready, in parts", &good, "GET", "/readyz?verbose", 200, "[+] listeners\n[+] pools\n"},
		{"one reason a line", &bad, "GET", "/readyz", 503, "draining\nlistener imaps: not open\nlistener pop3s: not open\npool main: no back end up\n"},
		{"not ready, in parts", &bad, "GET", "/readyz?verbose=1", 503, "[-] serving: draining\n[-] listeners: listener imaps: not open\n[-] listeners: listener pop3s: not open\n[+] config\n[-] pools: pool main: no back end up\n"},
		{"a reason stays one line", &dirty, "GET", "/readyz", 503, "x??HTTP/1.1 200 OK??\n"},
		{"a part stays one line", &dirty, "GET", "/readyz?verbose", 503, "[-] a??b: x??HTTP/1.1 200 OK??\n"},
		{"degraded is ready, and says why below", &poor, "GET", "/readyz", 200, "ready\ndegraded: isolated\ndegraded: old\n"},
		{"degraded, in parts", &poor, "GET", "/readyz?verbose", 200, "[+] listeners\n[+] disk\n[~] fleet: isolated\n[~] fleet: old\n"},
		{"who is not ready is not degraded", &poorer, "GET", "/readyz", 503, "no listener open\n"},
		{"but in parts", &poorer, "GET", "/readyz?verbose", 503, "[-] listeners: no listener open\n[~] fleet: isolated\n"},
		{"HEAD", &good, "HEAD", "/readyz", 200, ""},
		{"HEAD, not ready", &bad, "HEAD", "/readyz", 503, ""},
		{"other methods", &good, "POST", "/readyz", 405, "method not allowed\n"},
		{"other paths are not repeated", &good, "GET", "//readyz/<script>", 404, "not found\n"},
		{"a query is not repeated", &bad, "GET", "/livez?x=<script>", 200, "alive\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(tt.e.Handler())
			defer srv.Close()
			req, err := http.NewRequestWithContext(t.Context(), tt.method, srv.URL+tt.target, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var body strings.Builder
			if err := resp.Write(&body); err != nil {
				t.Fatal(err)
			}
			head, got, _ := strings.Cut(body.String(), "\r\n\r\n")
			if resp.StatusCode != tt.status || got != tt.body {
				t.Errorf("got %d %q, want %d %q", resp.StatusCode, got, tt.status, tt.body)
			}
			for _, want := range []string{"Content-Type: text/plain; charset=utf-8", "Cache-Control: no-store", "X-Content-Type-Options: nosniff"} {
				if !strings.Contains(head, want) {
					t.Errorf("no %q in %s", want, head)
				}
			}
			if tt.status == 405 && resp.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("Allow is %q", resp.Header.Get("Allow"))
			}
		})
	}
	if got := bad.Reasons(); len(got) != 4 || got[0] != "draining" {
		t.Errorf("Reasons() = %q", got)
	}
	if got, want := poor.Degraded(), []string{"isolated", "old"}; !slices.Equal(got, want) || len(poor.Reasons()) != 0 {
		t.Errorf("degraded by %q, not ready by %q; want %q and nothing", got, poor.Reasons(), want)
	}
	if got := good.Reasons(); len(got) != 0 {
		t.Errorf("Reasons() = %q, want none", got)
	}
}

func TestAddWhileServing(t *testing.T) {
	var e Endpoint
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { e.Add("part", why()) })
		wg.Go(func() { e.AddDegraded("part", why()) })
		wg.Go(func() { e.Reasons() })
		wg.Go(func() { e.Degraded() })
	}
	wg.Wait()
	if got := e.Reasons(); len(got) != 0 || len(e.conditions) != 8 {
		t.Errorf("reasons %q of %d conditions, want none of 8", got, len(e.conditions))
	}
}
