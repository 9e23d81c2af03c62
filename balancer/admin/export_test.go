package admin

import (
	"net/http"
	"testing"
	"time"
)

// CountCompares counts the comparisons of hashes until the end of a test.
func CountCompares(t *testing.T) *int {
	was, n := equal, new(int)
	equal = func(a, b []byte) int { *n++; return was(a, b) }
	t.Cleanup(func() { equal = was })
	return n
}

// As has a handler of s serve one of that role.
func (s *Server) As(name string, role Role) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.inner.ServeHTTP(w, r.WithContext(withCaller(r.Context(), Caller{name, role, viaToken})))
	})
}

// Find is find.
func (t Tokens) Find(text string) (Caller, bool) { return t.find(text) }

// Bounds of the gate.
const (
	MaxGuests           = maxGuests
	MaxGuestsPerAddress = maxGuestsPerAddress
	WrongDelay          = wrongDelay
	HeaderTime          = headerTime
)

// Look has the gate look at its certificate's files at the next handshake.
func (g *Gate) Look() {
	p := g.rules.Load().pair
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looked = time.Time{}
}

// Known is known.
func (g *Gate) Known(h http.Handler) http.Handler { return g.known(h) }
