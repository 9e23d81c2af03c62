package admin_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"usher.example/balancer/admin"
)

// TestHosts: a page whose name was pointed at this address by somebody else is told
// nothing, on the socket and on the address of health; programs are, by whatever name they
// are used to write.
func TestHosts(t *testing.T) {
	s := newStage(2, 2).serverOf("edge-1.example.org", "Mail.Example.Org.")
	far := func(h http.Handler) http.Handler { // reached over the network
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			at := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 9180}
			h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(at))))
		})
	}
	fine := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	ways := map[string]http.Handler{"socket": s.Handler(), "public": s.Public(fine), "far": far(s.Public(fine))}
	for _, tt := range []struct {
		host, path string
		in         string // the ways that it is answered in
	}{
		{"usher", admin.StatusPath, "socket"},
		{"", admin.StatusPath, "socket"},
		{"localhost:8080", admin.StatusPath, "socket"},
		{"edge.localhost:8080", admin.StatusPath, "socket"},
		{"127.0.0.1:8080", admin.StatusPath, "socket"},
		{"[::1]:8080", admin.StatusPath, "socket"},
		{"evil.example:8080", admin.StatusPath, ""},
		{"evil.example", "/", ""},
		{"localhost.evil.example:8080", admin.BoardPath, ""},
		{"127.0.0.1.evil.example", admin.BoardPath, ""},
		{"203.0.113.5", admin.StatusPath, ""},
		{"203.0.113.5:9180", admin.CheckupPath, "public far"},
		{"[2001:db8::1]:9180", admin.CheckupPath, "public far"},
		{"edge-1:9180", "/", "socket public far"},
		{"edge-1.example.org:9180", "/", "public far"},
		{"mail.example.org", admin.CheckupPath, "public far"},
		{"evil.example:9180", "/metrics", "far"},
		{"evil.example:9180", "/readyz", "far"},
		{"evil.example:9180", "/healthz", "far"},
		{"evil.example:9180", "/", ""},
		{"evil.example:9180", admin.CheckupPath, ""},
	} {
		for way, h := range ways {
			r, w := httptest.NewRequest(http.MethodGet, "http://usher"+tt.path, http.NoBody), httptest.NewRecorder()
			r.Header.Set("Accept", "application/json")
			r.Host = tt.host
			h.ServeHTTP(w, r)
			told, want := w.Code != http.StatusMisdirectedRequest, slices.Contains(strings.Fields(tt.in), way)
			if way != "socket" && tt.path == admin.StatusPath {
				continue // is not there
			}
			if told != want {
				t.Errorf("%s: %q and %s: got %d %s", way, tt.host, tt.path, w.Code, w.Body)
			}
		}
	}
}
